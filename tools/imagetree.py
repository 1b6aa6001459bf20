"""The files of the image: what packages bring that nobody runs, and bytecode. The Dockerfile runs this; nothing of ours is imported.

Bytecode is of the kind that is not compared with its source: the files of an image do not change, and times of files do, from
one way of copying to another.
"""

import compileall
import importlib
import importlib.util
import pkgutil
import py_compile
import shutil
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

_FOLDERS = ("tests", "include", "__pycache__")
_SUFFIXES = (".c", ".cpp", ".h", ".pxd", ".pyi", ".pyx")
_MODE = py_compile.PycInvalidationMode.UNCHECKED_HASH


def prune(root: Path) -> None:
    """Remove what packages bring for those who develop or compile with them."""
    for packages in root.glob("lib/python3*/site-packages"):
        unused = [path for path in packages.rglob("*") if _unused(path)]
        for path in unused:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def _unused(path: Path) -> bool:
    return path.name in _FOLDERS if path.is_dir() else path.suffix in _SUFFIXES


def compile_tree(root: Path) -> None:
    """Bytecode for every source in a folder."""
    if not compileall.compile_dir(root, quiet=1, workers=0, invalidation_mode=_MODE):
        sys.exit(f"{root} cannot be compiled")


def standard(folder: Path) -> None:
    """Bytecode of what the services load from the standard library and has none: under `folder`, where it belongs under /."""
    import services

    for module in pkgutil.walk_packages(services.__path__, "services."):
        importlib.import_module(module.name)
    library = Path(sysconfig.get_path("stdlib"))
    for source, cached in _without_bytecode(list(sys.modules.values())):
        if source.is_relative_to(library):
            target = folder / cached.relative_to("/")
            py_compile.compile(str(source), str(target), doraise=True, invalidation_mode=_MODE)


def _without_bytecode(modules: Iterable[ModuleType]) -> Iterable[tuple[Path, Path]]:
    for module in modules:
        file = getattr(module, "__file__", None) or ""
        if file.endswith(".py"):
            source = Path(file).resolve()
            cached = Path(importlib.util.cache_from_source(str(source)))
            if not cached.exists():
                yield source, cached


if __name__ == "__main__":
    verb, place = sys.argv[1:]
    sys.dont_write_bytecode = True
    sys.path.insert(0, ".")
    {"prune": prune, "compile": compile_tree, "standard": standard}[verb](Path(place))
