"""An OCI image layout as a tar: an index, manifests, and the blobs that they name, each once. `ctr images import` reads it."""

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
_NAME: Final = "io.containerd.image.name"


def write(archive: Path, images: Mapping[str, Path]) -> None:
    """images: by name, a folder with manifest.json and what that names, by its hash."""
    manifests = {name: (folder / "manifest.json").read_bytes() for name, folder in images.items()}
    found = {digest: images[name] / digest for name, manifest in manifests.items() for digest in named(manifest)}
    found |= {_hash(manifest): images[name] / "manifest.json" for name, manifest in manifests.items()}
    with tarfile.open(archive, "w") as tar:
        _add(tar, "oci-layout", json.dumps({"imageLayoutVersion": "1.0.0"}).encode())
        _add(tar, "index.json", index(manifests))
        for digest, path in found.items():
            tar.add(path, f"blobs/sha256/{digest}")


def index(manifests: Mapping[str, bytes]) -> bytes:
    """What images there are, in the words that containerd reads."""
    images = [
        {"mediaType": _MANIFEST, "digest": f"sha256:{_hash(manifest)}", "size": len(manifest), "annotations": {_NAME: name}}
        for name, manifest in manifests.items()
    ]
    return json.dumps({"schemaVersion": 2, "manifests": images}).encode()


def named(manifest: bytes) -> list[str]:
    """The hashes of a manifest's configuration and layers."""
    read: dict[str, Any] = json.loads(manifest)
    return [blob["digest"].removeprefix("sha256:") for blob in (read["config"], *read["layers"])]


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))
