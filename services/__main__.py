"""`python -m services TARGET [--flags]`: the targets, and the only place that reads the environment.

A service's module has `create(...)`, whose annotations say which settings it takes; a parameter that is a Mapping takes the
environment whole, for `all` hands it on. Modules are loaded when their target is wanted, so that a process starts quickly.
"""

import importlib
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final, TypeVar, get_type_hints

from services.local.catalog import ADMIN_ORDER, ERRANDS, SERVICES, admin_port, sections
from services.runtime import tether
from services.runtime.service import Service, StartupError, refuse
from services.runtime.settings import SettingsError, load, parse_flags

Made = TypeVar("Made")

_PACKAGES: Final = {"all": "local"}
_ERRANDS: Final = {"check": "services.check.through", "token": "services.check.token"}
_DEFAULTS: Final[dict[str, dict[str, str]]] = {"all": {"TIDEBOARD_LOG_LEVEL": "warning"}}


def main(arguments: list[str], environ: Mapping[str, str]) -> int:
    target, *rest = arguments or ["--help"]
    if target in ("-h", "--help", "help") or {"-h", "--help"} & set(rest):
        from services.local.usage import usage

        print(usage(target), end="")
        return 0 if arguments else 2
    if target not in SERVICES and target not in ERRANDS and target != "all":
        return refuse(f"{target!r} is not a target; there are {', '.join([*SERVICES, 'all', *ERRANDS])}")
    try:
        if target in ERRANDS:
            return _do(importlib.import_module(_ERRANDS[target]).run, rest, environ)
        if parent := load(tether.TetherSettings, environ).parent:
            tether.tie(parent)
        return _run(target, rest, environ)
    except (SettingsError, StartupError) as error:
        return refuse(error)


def _run(target: str, arguments: list[str], environ: Mapping[str, str]) -> int:
    import structlog

    from services.local.embedded import free_ports
    from services.runtime import logs, process
    from services.runtime.admin import AdminSettings

    package = _PACKAGES.get(target, target)
    classes = [
        cls
        for section in sections()
        if section.target in ("", target) or (target == "all" and section.target not in ERRANDS)
        for cls in section.classes
    ]
    flags = parse_flags(arguments, classes)
    environ = {**_DEFAULTS.get(target, {}), **environ, **flags}
    if target == "all" and not load(AdminSettings, environ, flags).port:
        flags["TIDEBOARD_ADMIN_PORT"] = environ["TIDEBOARD_ADMIN_PORT"] = str(free_ports(len(ADMIN_ORDER)))
    logging = load(logs.LogSettings, environ, flags)
    logs.configure(target, console=logging.console, level=logging.level)
    try:
        service: Service = _given(importlib.import_module(f"services.{package}.service").create, environ, flags)
    except (SettingsError, StartupError):
        raise
    except Exception:
        structlog.get_logger().exception("failed", service=target)
        return 1
    admin = load(AdminSettings, environ, flags)
    return process.main(service, replace(admin, port=admin_port("all", admin.port)) if target == "all" else admin)


def _do(run: Callable[..., int], arguments: list[str], environ: Mapping[str, str]) -> int:
    """An errand, which `run` does and ends; its exit code."""
    return _given(
        run, environ, parse_flags(arguments, [kind for name, kind in get_type_hints(run).items() if name != "return"])
    )


def _given(called: Callable[..., Made], environ: Mapping[str, str], flags: Mapping[str, str]) -> Made:
    """What it gives, with the settings that its annotations ask for."""
    wanted = {name: kind for name, kind in get_type_hints(called).items() if name != "return"}
    return called(
        **{name: environ if kind == Mapping[str, str] else load(kind, environ, flags) for name, kind in wanted.items()}
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
