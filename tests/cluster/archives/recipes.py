"""What goes into which archive, and how it is built. Keys are made here, so that nothing is built whose inputs are as they were."""

import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from services.local.embedded import valkey_binary
from tests.cluster.archives import rootfs
from tests.cluster.archives.keeping import Recipe, hashed, home
from tests.cluster.archives.rootfs import Base
from tests.cluster.archives.store import TRUSTED, Store
from tests.kafka import jars
from tools import image, machine
from tools.image import Plan
from tools.steps import ROOT, StepError, step

_HERE: Final = Path(__file__).parent
_NODE_LOCK: Final = ROOT / "requirements-node.lock"
# What .dockerignore lets in.
_PARTS: Final = (
    "Dockerfile",
    ".dockerignore",
    "LICENSE",
    "requirements-image.lock",
    "requirements-compiler.lock",
    "tools/imagetree.py",
    "services",
    "frontend",
)
_NOT_PARTS: Final = {"__pycache__", "node_modules", "dist", "test", "test-results"}
_KEYRING: Final = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


def tideboard(versions: Mapping[str, str]) -> Recipe:
    """Tideboard's own image, under some tags (tag -> version). They differ in their labels only, and share every layer."""
    ours = hashed(repr(sorted(versions.items())), _key_of_node(), files=_parts(), root=ROOT)
    return Recipe("tideboard", ours, lambda archive: _tideboard(versions, archive))


def servers(kafka: str, valkey: str) -> Recipe:
    """Kafka and Valkey on one base, under these names."""
    files = [*_HERE.glob("*.Dockerfile"), jars.POM, Path(valkey_binary())]
    return Recipe(
        "servers", hashed(kafka, valkey, rootfs.SERVERS.key, files=files), lambda archive: _servers(kafka, valkey, archive)
    )


def _tideboard(versions: Mapping[str, str], archive: Path) -> None:
    store = _store()
    base = _base(store, rootfs.PYTHON)
    arguments = {"PYTHON_IMAGE": base, "NODE_IMAGE": _node(store, base)}
    with step("Tideboard's image"):
        for tag, version in versions.items():
            _build(store, replace(_plan(tag, ROOT, arguments), version=version))
    with step("Its archive"):
        store.archive(list(versions), archive)


def _servers(kafka: str, valkey: str, archive: Path) -> None:
    store = _store()
    with step("Apache Kafka's jars"):
        try:
            jars.fetch()
        except jars.KafkaMissingError as error:
            raise StepError(str(error)) from None
    arguments = {"SERVERS_IMAGE": _base(store, rootfs.SERVERS)}
    with step("Kafka's and Valkey's images"), tempfile.TemporaryDirectory(dir=home(), prefix="making-") as folder:
        shutil.copyfile(valkey_binary(), Path(folder) / "valkey-server")
        _build(store, _plan(valkey, Path(folder), arguments, "valkey.Dockerfile"))
        _build(store, _plan(kafka, jars.home(), arguments, "kafka.Dockerfile"))
    with step("Their archive"):
        store.archive([kafka, valkey], archive)


def _base(store: Store, base: Base) -> str:
    """The image of a root filesystem."""
    if not store.has(base.image):
        with tempfile.TemporaryDirectory(dir=home(), prefix="making-") as folder:
            base.make(Path(folder) / "rootfs.tar")
            _build(store, _plan(base.image, Path(folder), {}, "base.Dockerfile"))
    return base.image


def _node(store: Store, base: str) -> str:
    """The image with Node."""
    name = f"localhost/tideboard-test/node:{_key_of_node()}"
    if not store.has(name):
        with step("Node"), tempfile.TemporaryDirectory(dir=home(), prefix="making-") as folder:
            shutil.copy(_NODE_LOCK, folder)
            _build(store, _plan(name, Path(folder), {"PYTHON_IMAGE": base}, "node.Dockerfile"))
    return name


def _key_of_node() -> str:
    return hashed(rootfs.PYTHON.key, files=[_NODE_LOCK, _HERE / "node.Dockerfile"])


def _build(store: Store, plan: Plan) -> None:
    store.build(image.build_command("buildah", plan))


def _plan(tag: str, folder: Path, arguments: Mapping[str, str], file: str = "") -> Plan:
    """Trusting whom this machine trusts. Everything bears the same time, so that the same files give the same image."""
    ca = TRUSTED if TRUSTED.exists() else None
    return Plan((tag,), "test", "test", 0, arguments, ca, folder, _HERE / file if file else None)


def _store() -> Store:
    """The store, on a machine that has what it takes."""
    if os.geteuid():
        raise StepError("images for the test cluster are built by root only")
    needed = {
        "buildah": shutil.which("buildah"),
        "mmdebstrap": shutil.which("mmdebstrap"),
        "debian-archive-keyring": _KEYRING.exists(),
    }
    machine.debian(needed, "images for the test cluster need")
    store = Store()
    store.tidy()
    return store


def _parts() -> Iterable[Path]:
    for part in _PARTS:
        top = ROOT / part
        if top.is_file():
            yield top
        for folder, folders, names in os.walk(top):
            folders[:] = [name for name in folders if name not in _NOT_PARTS]
            yield from (Path(folder) / name for name in names if not name.startswith("libsends."))
