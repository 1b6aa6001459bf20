"""All settings there are, by who reads them. For --help, for docs/settings.md, and for `all`, which hands them on."""

import importlib.util
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, is_dataclass
from typing import Any, Final

from services.runtime.settings import describe, load

SERVICES: Final = {
    "ingestor": "takes samples over HTTP and writes them to the log",
    "aggregator": "computes what dashboards show from the log, exactly",
    "gateway": "serves the wall and its live data to browsers",
    "operator": "writes the Dashboards and Sources of a Kubernetes cluster to the registry",
    "collector": "measures this machine and posts to the ingestor",
}
"""The targets that are one service each, with what each does."""

ERRANDS: Final = {
    "check": "posts a sample and waits to see it: exit code 0 when it was seen",
    "token": "prints a token for viewers, where gateways verify by a secret",
}
"""The targets that are done and end. Their settings are in `services.check`."""

LOCAL: Final = tuple(name for name in SERVICES if name != "operator")
"""Those that `all` consists of: on one machine the folder is what an operator is in a cluster."""

ADMIN_ORDER: Final = ("ingestor", "aggregator", "gateway", "operator", "collector", "all")


def admin_port(target: str, first: int) -> int:
    """The admin port of a target where all run on one machine."""
    return first + ADMIN_ORDER.index(target)


@dataclass(frozen=True, slots=True)
class Section:
    """Settings that one target, or every target, reads. classes: dataclasses of settings."""

    title: str
    target: str
    classes: tuple[type[Any], ...]


def sections() -> tuple[Section, ...]:
    """Every settings class, those of all targets first."""
    own = (Section(name.capitalize(), name, classes_of(f"services.{name}.settings")) for name in SERVICES)
    shared = ("services.runtime.tether", "services.runtime.admin", "services.runtime.logs")
    return (
        Section("Every target", "", tuple(cls for module in shared for cls in classes_of(module))),
        Section("The log and the feed", "", classes_of("services.transport.settings")),
        *own,
        Section("All", "all", classes_of("services.local.settings")),
        *(Section(name.capitalize(), name, _named(f"{name.capitalize()}Settings")) for name in ERRANDS),
    )


def _named(name: str) -> tuple[type[Any], ...]:
    return tuple(cls for cls in classes_of("services.check.settings") if cls.__name__ == name)


def classes_of(module: str) -> tuple[type[Any], ...]:
    """The settings classes that a module defines; none where there is no such module, for a service need not have any."""
    if importlib.util.find_spec(module) is None:
        return ()
    found = vars(importlib.import_module(module)).values()
    return tuple(
        cls for cls in found if isinstance(cls, type) and cls.__module__ == module and is_dataclass(cls) and describe(cls)
    )


def values(classes: Iterable[type[Any]], environ: Mapping[str, str]) -> dict[str, Any]:
    """What each setting is, by its variable. SettingsError names the first that is wrong."""
    found = {}
    for cls in classes:
        loaded = load(cls, environ)
        fields = getattr(cls, "__dataclass_fields__")  # noqa: B009, mypy does not know that it is a dataclass
        for (described, _), name in zip(describe(cls), fields, strict=True):
            found[described.env] = getattr(loaded, name)
    return found
