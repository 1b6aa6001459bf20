"""An image taken out of its archive: what it says of itself, its files, and processes in it as a container would have them.

Such a process sees a root that cannot be written, an empty /tmp, /proc of its own, and the machine's network. It gets no shell:
there is none left in the files.
"""

import json
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

_SHELLS: Final = ("sh", "bash", "dash", "rbash")
# Outside of the image: mounts, and then a process that takes the image's user, keeps no capability, and is the first of its own
# process namespace, as in a container. The shell around it is the first of another one: its end is the end of both.
_ENTER: Final = """
root=$1 folder=$2 user=$3 group=$4; shift 4
mount --bind "$root" "$root" && mount -o remount,bind,ro "$root" &&
mount -t tmpfs -o mode=1777,size=64m tmp "$root/tmp" && mount --rbind /dev "$root/dev" || exit 125
unshare --pid --fork --mount-proc --root="$root" --wd="$folder" --setgid="$group" --setuid="$user" -- "$@"
exit $?
"""


@dataclass(frozen=True)
class Image:
    """config: what the image says a container of it is like. layers: their hashes. root: where its files are."""

    config: Mapping[str, Any]
    layers: tuple[str, ...]
    root: Path

    @property
    def environ(self) -> dict[str, str]:
        return dict(item.split("=", 1) for item in self.config["Env"])

    def command(self, *arguments: str) -> list[str]:
        """Words that run the image with these arguments; whoever ends them ends all that they started."""
        user, group = self.config["User"].split(":")
        inner = [*self.config["Entrypoint"], *arguments]
        outer = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private"]
        return [*outer, "/bin/sh", "-c", _ENTER, "enter", str(self.root), self.config["WorkingDir"], user, group, *inner]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run it to its end, with nothing in its environment but what the image puts there."""
        return subprocess.run(self.command(*arguments), env=self.environ, capture_output=True, text=True, check=False)


def described(archive: Path, name: str, root: Path) -> Image:
    """An image of an archive, by its name. Nothing is unpacked."""
    with tarfile.open(archive) as tar:
        manifest = json.loads(_blob(tar, _manifests(tar)[name]))
        config = json.loads(_blob(tar, manifest["config"]["digest"]))["config"]
    return Image(config, tuple(layer["digest"] for layer in manifest["layers"]), root)


def unpacked(archive: Path, name: str, root: Path) -> Image:
    """The same with its files, but for the shells."""
    image = described(archive, name, root)
    root.mkdir()
    with tarfile.open(archive) as tar:
        for digest in image.layers:
            with tarfile.open(fileobj=tar.extractfile(_path(digest))) as layer:
                assert not [each for each in layer.getnames() if "/.wh." in each], (
                    "a layer that removes what a lower one brought"
                )
                layer.extractall(root, numeric_owner=True, filter="fully_trusted")  # noqa: S202, our own
    for folder in ("bin", "usr/bin", "usr/local/bin"):
        for shell in _SHELLS:
            (root / folder / shell).unlink(missing_ok=True)
    return image


def programs(root: Path) -> set[str]:
    """The names of what could be run from PATH."""
    folders = [
        root / path
        for path in ("bin", "sbin", "usr/bin", "usr/sbin", "usr/local/bin", "usr/local/sbin", "opt/tideboard/venv/bin")
    ]
    return {path.name for folder in folders if folder.is_dir() for path in folder.iterdir()}


def measured(paths: Sequence[Path]) -> int:
    """Bytes of files, without what they take up in blocks."""
    return sum(path.lstat().st_size for path in paths if path.is_file() and not path.is_symlink())


def _manifests(tar: tarfile.TarFile) -> dict[str, str]:
    file = tar.extractfile("index.json")
    assert file is not None
    listed = json.load(file)["manifests"]
    return {each["annotations"]["io.containerd.image.name"]: each["digest"] for each in listed}


def _blob(tar: tarfile.TarFile, digest: str) -> bytes:
    file = tar.extractfile(_path(digest))
    assert file is not None
    return file.read()


def _path(digest: str) -> str:
    return f"blobs/sha256/{digest.removeprefix('sha256:')}"
