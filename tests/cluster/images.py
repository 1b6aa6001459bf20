"""Images for the nodes: loading archives into their containerd, and making the small ones that hold one static program.

Tideboard's own images are built elsewhere; here they are only archives.
"""

import hashlib
import io
import json
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.cluster.daemons import DaemonError
from tests.cluster.files import CONTAINERD_SOCKET, PAUSE
from tests.cluster.objects import DNS_IMAGE

PROBE: Final = "localhost/probe:1"
SMALL: Final = {PAUSE: "pause", DNS_IMAGE: "coredns", PROBE: "probe"}


def of_program(name: str, program: Path, archive: Path) -> None:
    """An image of one static program and nothing else, as `docker save` would write it: a configuration, a layer, a manifest."""
    layer = _tar({program.name: program.read_bytes()})
    digest = hashlib.sha256(layer).hexdigest()
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Entrypoint": [f"/{program.name}"], "User": "65532:65532"},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
    }
    written = json.dumps(config).encode()
    config_name = f"{hashlib.sha256(written).hexdigest()}.json"
    manifest = [{"Config": config_name, "RepoTags": [name], "Layers": [f"{digest}.tar"]}]
    archive.write_bytes(_tar({config_name: written, f"{digest}.tar": layer, "manifest.json": json.dumps(manifest).encode()}))


def small(programs: Path, folder: Path, names: Sequence[str] = tuple(SMALL)) -> list[Path]:
    """Archives of the images that the cluster and its own tests need."""
    folder.mkdir(exist_ok=True)
    archives = [folder / f"{SMALL[name]}.tar" for name in names]
    for name, archive in zip(names, archives, strict=True):
        of_program(name, programs / SMALL[name], archive)
    return archives


def load(machine: Sequence[str], archives: Sequence[Path]) -> None:
    """Give archives to the containerd of one node. machine: what a command is preceded by to be run there."""
    for archive in archives:
        command = [*machine, "ctr", f"--address={CONTAINERD_SOCKET}", "--namespace=k8s.io", "images", "import", str(archive)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise DaemonError(f"{archive.name} cannot be loaded: {done.stderr.strip()}")


def names_on(machine: Sequence[str]) -> set[str]:
    """The names of the images that a node has."""
    command = [*machine, "ctr", f"--address={CONTAINERD_SOCKET}", "--namespace=k8s.io", "images", "list", "--quiet"]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


def _tar(files: dict[str, bytes]) -> bytes:
    """Without times or owners, so that the same files give the same image."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o755
            archive.addfile(entry, io.BytesIO(content))
    return written.getvalue()
