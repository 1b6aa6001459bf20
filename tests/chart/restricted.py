"""What Pod Security "restricted" refuses, for pods that were rendered and not yet shown to an API server.

Written after the list of controls in Kubernetes' "Pod Security Standards". The API server's own word is asked in tests/cluster.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

_VOLUMES: Final = frozenset(
    {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
)
_HOST: Final = ("hostNetwork", "hostPID", "hostIPC")
_PROFILES: Final = ("RuntimeDefault", "Localhost")


def violations(spec: Mapping[str, Any]) -> list[str]:
    """What is wrong with a pod, a few words each."""
    return [*_pod(spec), *(said for container in _containers(spec) for said in _container(container, spec))]


def _pod(spec: Mapping[str, Any]) -> Iterator[str]:
    for name in _HOST:
        if spec.get(name):
            yield name
    for volume in spec.get("volumes", ()):
        if not set(volume) - {"name"} <= _VOLUMES:
            yield f"volume {volume['name']}"
    if spec.get("securityContext", {}).get("sysctls"):
        yield "sysctls"


def _containers(spec: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for kind in ("containers", "initContainers", "ephemeralContainers"):
        yield from spec.get(kind, ())


def _container(container: Mapping[str, Any], spec: Mapping[str, Any]) -> Iterator[str]:
    name, own = container["name"], container.get("securityContext", {})
    both = {**spec.get("securityContext", {}), **own}
    if own.get("privileged") or own.get("allowPrivilegeEscalation") is not False:
        yield f"{name}: privileges"
    capabilities = own.get("capabilities", {})
    if capabilities.get("drop") != ["ALL"] or not set(capabilities.get("add", ())) <= {"NET_BIND_SERVICE"}:
        yield f"{name}: capabilities"
    if both.get("runAsNonRoot") is not True:
        yield f"{name}: runAsNonRoot"
    if both.get("runAsUser") == 0:
        yield f"{name}: root"
    if both.get("seccompProfile", {}).get("type") not in _PROFILES:
        yield f"{name}: seccomp"
    if any(port.get("hostPort") for port in container.get("ports", ())):
        yield f"{name}: hostPort"
    if own.get("procMount", "Default") != "Default":
        yield f"{name}: procMount"
