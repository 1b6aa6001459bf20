"""Folders of the user's cache, each there whole or not at all: made once, by one at a time, and what one that was killed has left is removed."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_PREFIX: Final = "making-"


def whole(home: Path, make: Callable[[Path], None]) -> Path:
    """The folder `home`. make: fills an empty one that becomes it; whoever needs it meanwhile waits."""
    if not home.is_dir():
        home.parent.mkdir(parents=True, exist_ok=True)
        with _alone(home.parent):
            if not home.is_dir():  # nobody has made it while we waited
                _make(home, make)
    return home


def _make(home: Path, make: Callable[[Path], None]) -> None:
    with tempfile.TemporaryDirectory(dir=home.parent, prefix=_PREFIX) as folder:
        made = Path(folder) / home.name
        made.mkdir()
        make(made)
        made.rename(home)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """The lock is the folder's own: no file is left in it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        for left in folder.glob(f"{_PREFIX}*"):
            shutil.rmtree(left, ignore_errors=True)
        yield
    finally:
        os.close(descriptor)
