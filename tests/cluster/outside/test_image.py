"""The image as it will run: what is in it, what is not, and its targets on a root filesystem that cannot be written, without a shell."""

import os
import re
import subprocess
import sys
import tarfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from services.local.catalog import SERVICES
from services.local.embedded import free_port
from tests.cluster.archives import archives, names
from tests.cluster.archives.unpacked import Image, described, measured, programs, unpacked
from tests.servers import Broker, Valkey

pytestmark = pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="needs root and Linux")

_PATIENCE_S = 120.0
_COMPILERS = {"cc", "gcc", "c++", "g++", "clang", "as", "ld", "make", "cargo", "rustc", "go"}
_INSTALLERS = {"pip", "pip3", "uv", "npm", "node", "apt", "apt-get", "dpkg-buildpackage"}
_WRITTEN_BY_NOBODY = 0o022
_OWNER = 0
_USER = 10001
_MOST_BYTES = 180_000_000  # over the base


@pytest.fixture(scope="module")
def tideboard() -> Path:
    return next(archive for archive in archives() if archive.name.startswith("tideboard-"))


@pytest.fixture(scope="module")
def image(tideboard: Path, tmp_path_factory: pytest.TempPathFactory) -> Image:
    return unpacked(tideboard, names()["test-a"], tmp_path_factory.mktemp("image") / "root")


@pytest.fixture(scope="module")
def ours(image: Image) -> list[Path]:
    """What is there beside the base."""
    return [*(image.root / "opt" / "tideboard").rglob("*")]


def test_it_says_what_it_is(image: Image) -> None:
    assert image.config["Entrypoint"] == ["python", "-m", "services"]
    assert image.config["User"] == f"{_USER}:{_USER}"
    labels = {
        name.rpartition(".")[2]: text for name, text in image.config["Labels"].items() if name.startswith("org.opencontainers.")
    }
    assert labels.pop("description")
    assert labels == {
        "title": "Tideboard",
        "licenses": "Apache-2.0",
        "version": "test-a",
        "revision": "test",
        "created": "1970-01-01T00:00:00Z",
    }


def test_two_versions_share_every_layer(tideboard: Path, image: Image) -> None:
    other = described(tideboard, names()["test-b"], image.root)
    assert other.layers == image.layers
    assert other.config["Labels"]["org.opencontainers.image.version"] == "test-b"
    with tarfile.open(tideboard) as tar:
        assert len(tar.getmembers()) == 2 + 2 * 2 + len(image.layers), (
            "the index; two manifests and configurations; the layers once"
        )


def test_it_holds_no_compiler_and_nothing_that_installs(image: Image) -> None:
    there = programs(image.root)
    assert "python3" in there, "or the question is wrong"
    assert not there & (_COMPILERS | _INSTALLERS)
    assert not [
        path
        for path in image.root.glob("opt/tideboard/venv/lib/python3*/site-packages/*")
        if path.name in ("pip", "setuptools")
    ]


def test_what_it_adds_belongs_to_root_and_can_be_written_by_nobody_else(ours: list[Path]) -> None:
    """Whoever breaks into a process cannot change what the next one runs, even where the root could be written."""
    assert ours
    loose = [
        path
        for path in ours
        if not path.is_symlink() and (path.stat().st_uid != _OWNER or path.stat().st_mode & _WRITTEN_BY_NOBODY)
    ]
    assert not loose


def test_every_source_is_there_as_bytecode(ours: list[Path]) -> None:
    sources = [path for path in ours if path.suffix == ".py"]
    compiled = {(path.parent.parent, path.name.split(".")[0]) for path in ours if path.suffix == ".pyc"}
    assert len(sources) > 1_000
    assert not [path for path in sources if (path.parent, path.stem) not in compiled]


def test_nothing_has_to_be_compiled_at_a_start(image: Image) -> None:
    """Not of the standard library either, of which the base brings no bytecode. Python tells (-v) what it loads, and from where."""
    done = Image({**image.config, "Entrypoint": ["python", "-v", "-m", "services"]}, image.layers, image.root).run(
        "gateway", "--help"
    )
    loaded = re.findall(r"^# code object from (.+)$", done.stderr, re.MULTILINE)
    assert len(loaded) > 100, done.stderr
    compiled = {Path(path).name for path in loaded if path.endswith(".py")}  # those in quotation marks end with .pyc'
    assert compiled <= {"sitecustomize.py"}, "Debian's few lines, which no other Python has"


def test_the_gateway_sends_by_what_was_compiled_for_it(image: Image) -> None:
    asks = "from services.gateway import sends; assert sends.best() is not sends.in_python"
    done = Image({**image.config, "Entrypoint": ["python", "-c"]}, image.layers, image.root).run(asks)
    assert done.returncode == 0, done.stderr


def test_it_stays_small(image: Image, ours: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    whole, added = measured([*image.root.rglob("*")]), measured(ours)
    with capsys.disabled():
        print(f"\nthe image: {whole / 1e6:.0f} MB, of which {added / 1e6:.0f} MB above its base")
    assert 0 < added < _MOST_BYTES


@pytest.mark.parametrize("target", SERVICES)
def test_every_target_explains_itself_without_a_shell(image: Image, target: str) -> None:
    done = image.run(target, "--help")
    assert done.returncode == 0, done.stderr
    assert "TIDEBOARD_ADMIN_PORT" in done.stdout
    assert f"TIDEBOARD_{target.upper()}_" in done.stdout


def test_a_wrong_setting_is_told_in_one_sentence(image: Image) -> None:
    done = image.run("gateway", "--gateway-port", "many")
    assert done.returncode == 2
    assert done.stderr == "tideboard: --gateway-port: 'many' is not a whole number\n"


def test_the_embedded_servers_are_left_out_and_missed_in_one_sentence(image: Image) -> None:
    done = image.run("all", "--admin-port", "0")
    assert done.returncode != 0
    assert "KAFKA_BOOTSTRAP_SERVERS" in done.stderr or "REDIS_URL" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_whole_engine_starts_on_roots_that_cannot_be_written(
    image: Image, broker: Broker, valkey: Valkey, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One after the other, since the ingestor makes the topics that the aggregator waits for."""
    with ExitStack() as stack:
        for target in ("ingestor", "aggregator", "gateway"):
            port, admin = free_port(), free_port()
            environ = {
                **image.environ,
                "KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap,
                "REDIS_URL": valkey.url,
                "TIDEBOARD_ADMIN_PORT": str(admin),
                f"TIDEBOARD_{target.upper()}_PORT": str(port),
            }
            container = stack.enter_context(_running(image, target, environ, tmp_path / target))
            alive, ready = (container.answers(f"http://127.0.0.1:{admin}/{path}") for path in ("livez", "readyz"))
            spent = container.inner.cpu_times()
            with capsys.disabled():
                print(
                    f"\n{target}: alive after {alive:.1f} s, ready after {ready:.1f} s and {spent.user + spent.system:.2f} s of CPU"
                )
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
            assert b"<html" in answer.read(), "the wall is built in"
        container.inner.terminate()
        assert container.process.wait(_PATIENCE_S) == 0, "SIGTERM ends it in order, though it is the first process there"


@dataclass(frozen=True)
class _Container:
    """process: what was started here. inner: what runs the image, under its user."""

    process: subprocess.Popen[bytes]
    said: Path

    @property
    def inner(self) -> psutil.Process:
        children = psutil.Process(self.process.pid).children(recursive=True)
        return next(child for child in children if child.uids().real == _USER)

    def answers(self, url: str) -> float:
        """Seconds since the process began until it says 200. Waiting, not judging: the figure is for people."""
        begun = psutil.Process(self.process.pid).create_time()
        while True:
            assert self.process.poll() is None, self.said.read_text()
            assert time.time() - begun < _PATIENCE_S, self.said.read_text()
            try:
                with urllib.request.urlopen(url, timeout=5):
                    return time.time() - begun
            except OSError:
                time.sleep(0.02)


@contextmanager
def _running(image: Image, target: str, environ: dict[str, str], said: Path) -> Iterator[_Container]:
    with said.open("wb") as log:
        process = subprocess.Popen(image.command(target), env=environ, stdout=log, stderr=log)
    try:
        yield _Container(process, said)
    finally:
        process.kill()
        process.wait()
