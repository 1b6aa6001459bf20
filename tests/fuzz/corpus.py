"""Inputs that are kept, one file each, in a folder by what they are given to. What once broke something is copied here and stays."""

from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent / "corpus"


def kept(core: str) -> dict[str, bytes]:
    """By the name of its file."""
    return {path.name: path.read_bytes() for path in sorted((FOLDER / core).iterdir())}
