"""Writes the definitions: to where the chart takes them from, and the same bytes to the plain manifests."""

import re
from pathlib import Path
from typing import Any, Final

import yaml

from tools.crds.dashboards import dashboard
from tools.crds.sources import source

PLACES: Final = (Path("deploy/helm/tideboard/files/crds"), Path("deploy/k8s/base/crds"))
_HEAD: Final = "# Written by `make crds` from services/contract and tools/crds.\n---\n"


def files() -> dict[str, str]:
    """Text by the file's name."""
    return {f"{made['spec']['names']['plural']}.yaml": _HEAD + _yaml(made) for made in (dashboard(), source())}


def main() -> None:
    for place in PLACES:
        place.mkdir(parents=True, exist_ok=True)
        for name, text in files().items():
            (place / name).write_text(text, encoding="utf-8")


def _yaml(made: dict[str, Any]) -> str:
    return yaml.dump(made, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=140)


class _Dumper(yaml.SafeDumper):
    """Writes what occurs twice twice: many readers of definitions know no anchors."""

    def ignore_aliases(self, data: object) -> bool:
        return True


# To Python's writer y is a text, to Go's reader a truth.
_Dumper.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"[yYnN]\Z"), list("yYnN"))


if __name__ == "__main__":
    main()
