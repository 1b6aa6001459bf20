"""From objects as Helm renders them to folders of kustomize. Pure: objects in, texts out; `manifests` renders and writes.

A ConfigMap becomes a generator, so that its name ends with a hash of what is in it: who changes a setting in an overlay gets new pods.
With Helm an annotation does that.
"""

from collections.abc import Sequence
from typing import Any, Final

import yaml

Object = dict[str, Any]

MARK: Final = "# Written by `make manifests` from the Helm chart.\n"
UNLESS_POLICY: Final = ("NetworkPolicy",)
_HELMS: Final = ("helm.sh/chart", "app.kubernetes.io/managed-by")
_CHECKSUM: Final = "checksum/config"
_BASE: Final = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}
_COMPONENT: Final = {"apiVersion": "kustomize.config.k8s.io/v1alpha1", "kind": "Component"}


def plain(thing: Object, namespace: str) -> Object:
    """An object without what is Helm's: its labels, the namespace, names of services that have the namespace in them."""
    local = yaml.safe_load(yaml.safe_dump(thing, sort_keys=False).replace(f".{namespace}.svc.cluster.local", ""))
    metadata = local["metadata"]
    if (
        thing["kind"] != "ServiceAccount"
    ):  # kustomize finds a RoleBinding's subject by both, and then moves both to another namespace
        metadata.pop("namespace", None)
    for place in (metadata, local.get("spec", {}).get("template", {}).get("metadata", {})):
        for label in _HELMS:
            place.get("labels", {}).pop(label, None)
        place.get("annotations", {}).pop(_CHECKSUM, None)
        if not place.get("annotations", True):
            del place["annotations"]
    if thing["kind"] == "ServiceMonitor":
        del local["spec"]["namespaceSelector"]  # without one it is its own namespace
    for claim in local.get("spec", {}).get("volumeClaimTemplates", ()):
        claim["metadata"].get("labels", {}).pop("helm.sh/chart", None)
    return dict(local)


def folder(path: str, objects: Sequence[Object], *, component: bool = False, flat: bool = False) -> dict[str, str]:
    """A kustomization and its files, none where there are no objects. flat: files are named by the object, not by its kind."""
    if not objects:
        return {}
    found, resources, generators = dict[str, str](), list[str](), list[Object]()
    for each in objects:
        if each["kind"] == "ConfigMap":
            generator, files = _generator(each)
            generators.append(generator)
        else:
            name = _file(each, flat=flat)
            resources.append(name)
            files = {name: dump(each)}
        found |= {f"{path}/{name}": text for name, text in files.items()}
    body: Object = {**(_COMPONENT if component else _BASE)}
    if resources:
        body["resources"] = sorted(resources)
    if generators:
        body["configMapGenerator"] = generators
    return {f"{path}/kustomization.yaml": dump(body), **found}


def difference(path: str, before: Sequence[Object], after: Sequence[Object]) -> dict[str, str]:
    """A component that makes of one rendering the other: the settings that differ, and the volumes that pods have besides."""
    found, generators, patches = dict[str, str](), list[Object](), list[Object]()
    for old, new in _pairs(before, after):
        name, component = new["metadata"]["name"], new["metadata"]["labels"]["app.kubernetes.io/component"]
        if new["kind"] == "ConfigMap":
            changed = {key: value for key, value in new["data"].items() if old["data"].get(key) != value}
            if changed:
                found[f"{path}/{component}.env"] = MARK + _lines(changed)
                generators.append({"name": name, "behavior": "merge", "envs": [f"{component}.env"]})
        elif (pods := new["spec"].get("template")) and (added := _volumes(old["spec"]["template"], pods)):
            found[f"{path}/{component}.yaml"] = dump(added)
            patches.append({"target": {"kind": new["kind"], "name": name}, "path": f"{component}.yaml"})
    body = {**_COMPONENT, "configMapGenerator": generators, "patches": patches}
    return {f"{path}/kustomization.yaml": dump(body), **found}


def _pairs(before: Sequence[Object], after: Sequence[Object]) -> list[tuple[Object, Object]]:
    named = {(each["kind"], each["metadata"]["name"]): each for each in before}
    both = [(named.get((each["kind"], each["metadata"]["name"])), each) for each in after]
    return [(old, new) for old, new in both if old and new["kind"] in ("ConfigMap", "Deployment", "StatefulSet")]


def _volumes(before: Object, after: Object) -> list[Object]:
    """What adds the volumes and mounts that the other pod has not, as JSON patches."""
    old, new = before["spec"], after["spec"]
    volumes = [each for each in new["volumes"] if each not in old["volumes"]]
    mounts = [each for each in _mounts(new) if each not in _mounts(old)]
    return [
        *({"op": "add", "path": "/spec/template/spec/volumes/-", "value": each} for each in volumes),
        *({"op": "add", "path": "/spec/template/spec/containers/0/volumeMounts/-", "value": each} for each in mounts),
    ]


def _mounts(pod: Object) -> list[Object]:
    return list(pod["containers"][0]["volumeMounts"])


def gathering(resources: Sequence[str]) -> str:
    return dump({**_BASE, "resources": list(resources)})


def dump(thing: Object | list[Object]) -> str:
    return MARK + yaml.dump(thing, Dumper=_Dumper, sort_keys=False, width=130, allow_unicode=True)


def _generator(thing: Object) -> tuple[Object, dict[str, str]]:
    """The generator of a ConfigMap, and the files that it reads: settings as one file of lines, or each entry a file of its own."""
    name, data = thing["metadata"]["name"], thing["data"]
    labels = thing["metadata"]["labels"]
    if all(key.isupper() for key in data):
        return _options({"name": name, "envs": ["settings.env"]}, labels), {"settings.env": MARK + _lines(data)}
    return _options({"name": name, "files": sorted(data)}, labels), {key: _marked(key, text) for key, text in data.items()}


def _lines(data: Object) -> str:
    return "".join(f"{key}={value}\n" for key, value in data.items())


def _options(generator: Object, labels: dict[str, str]) -> Object:
    options: Object = {"labels": labels}
    if labels["app.kubernetes.io/component"] == "monitoring" or generator["name"].endswith("-shipped"):
        options["disableNameSuffixHash"] = (
            True  # nothing refers to it; or it owns what is made of it, and must stay the same one
        )
    return {**generator, "options": options}


def _marked(name: str, text: str) -> str:
    return text if name.endswith(".json") else MARK + text


def _file(thing: Object, *, flat: bool) -> str:
    """Named by the object's kind, and by what its name has besides the component's."""
    kind, name = thing["kind"].lower(), thing["metadata"]["name"].removeprefix("tideboard-")
    if flat:
        return f"{name}.yaml"
    component = thing["metadata"]["labels"]["app.kubernetes.io/component"]
    rest = name.removeprefix(component).strip("-") if component != "monitoring" else ""
    return f"{kind}-{rest}.yaml" if rest else f"{kind}.yaml"


class _Dumper(yaml.SafeDumper):
    """Texts of several lines as blocks, and no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)
