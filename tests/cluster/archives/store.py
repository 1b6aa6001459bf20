"""Buildah with a store of its own in the user's cache: what is in it, building into it, and archives out of it."""

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Final

from tests.cluster.archives import layout
from tests.cluster.archives.keeping import home
from tools.steps import run

TRUSTED: Final = Path("/etc/ssl/certs/ca-certificates.crt")
_MOST_IMAGES: Final = 1_500


class Store:
    """The images that were built here. Nothing of it is seen by the machine's own Buildah or Podman."""

    def __init__(self) -> None:
        self._folder = home() / "store"

    def has(self, image: str) -> bool:
        return self._asked("images", "--quiet", image)

    def build(self, words: Sequence[str | Path]) -> None:
        """words: a whole command of Buildah's, as `tools.image` makes it."""
        program, *rest = words
        run([program, *self._own, *rest], failing="the image cannot be built")

    def archive(self, images: Sequence[str], archive: Path) -> None:
        """Images in one archive, what they share once. Nothing is compressed: it is read on this machine only."""
        with tempfile.TemporaryDirectory(dir=archive.parent) as folder:
            folders = {image: Path(folder) / str(number) for number, image in enumerate(images)}
            for image, own in folders.items():  # Buildah's own archives are compressed, or of one image
                push = ["push", "--quiet", "--disable-compression", "--format", "oci", image, f"dir:{own}"]
                run(["buildah", *self._own, *push], failing="the image cannot be written")
            layout.write(archive, folders)

    def tidy(self) -> None:
        """Begin anew when too many steps of old builds lie here."""
        said = subprocess.run(
            ["buildah", *self._own, "images", "--all", "--quiet"], capture_output=True, text=True, check=False
        )
        if len(said.stdout.split()) > _MOST_IMAGES:
            run(["buildah", *self._own, "rmi", "--all", "--force"], failing="old images cannot be removed")

    @cached_property
    def _own(self) -> list[str]:
        """Overlays where the kernel can, copies where it cannot."""
        folders = ["--root", str(self._folder), "--runroot", str(self._folder / "running")]
        for driver in ("overlay", "vfs"):
            own = [*folders, "--storage-driver", driver]
            if subprocess.run(["buildah", *own, "info"], capture_output=True, check=False).returncode == 0:
                break
            shutil.rmtree(self._folder, ignore_errors=True)
        return own

    def _asked(self, *words: str) -> bool:
        return subprocess.run(["buildah", *self._own, *words], capture_output=True, check=False).returncode == 0
