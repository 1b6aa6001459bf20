"""Archives in the user's cache, each under a hash of what it was made from, so that every checkout shares them."""

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tools.clients import cache

_KEPT: Final = 3


@dataclass(frozen=True)
class Recipe:
    """How an archive is made. make: writes it to a path that is given."""

    name: str
    key: str
    make: Callable[[Path], None]


def home() -> Path:
    return cache() / "images"


def kept(recipe: Recipe) -> Path:
    """The archive, made where it is missing. Whoever runs at the same time waits, and sees all of it or nothing."""
    archive = home() / f"{recipe.name}-{recipe.key}.tar"
    with _alone():
        if not archive.exists():
            with tempfile.TemporaryDirectory(dir=home(), prefix="making-") as folder:
                made = Path(folder) / archive.name
                recipe.make(made)
                made.rename(archive)
        os.utime(archive)
        _forget(recipe.name, keep=_KEPT)
    return archive


def hashed(*said: str, files: Iterable[Path] = (), root: Path | None = None) -> str:
    """A hash of what is said, of files, and of their names (below root)."""
    found = hashlib.sha256(repr(said).encode())
    for path in sorted(files):
        found.update(f"\0{path.relative_to(root) if root else path.name}\0".encode())
        found.update(hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()[:16]


def _forget(name: str, keep: int) -> None:
    """Drop all but the last used ones."""
    archives = sorted(home().glob(f"{name}-*.tar"), key=lambda path: path.stat().st_mtime, reverse=True)
    for archive in archives[keep:]:
        archive.unlink()


@contextmanager
def _alone() -> Iterator[None]:
    home().mkdir(parents=True, exist_ok=True)
    with (home() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for left in home().glob("making-*"):  # by one that was killed
            shutil.rmtree(left, ignore_errors=True)
        yield
