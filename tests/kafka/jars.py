"""What it takes to start Apache Kafka: fetched by Maven and prepared once, kept in the cache under a name that follows from pom.xml.

Beside the jars lie a formatted data directory, which a broker begins with, and an archive of loaded classes, which halves the
time that a broker takes to start.
"""

import contextlib
import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
POM: Final = Path(__file__).parent / "pom.xml"
_FLAGS: Final = ("-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dlog4j2.level=WARN")
_CACHE: Final = ROOT / ".cache"
_CLUSTER: Final = "MkU3OEVBNTcwNTJENDM2Qg"
_SHOWN_LINES: Final = 20
_PATIENCE_S: Final = 300


class KafkaMissingError(Exception):
    """Real Kafka cannot run here. The message says what to do."""


def home() -> Path:
    """Where everything for this pom.xml is, or will be."""
    return _CACHE / f"kafka-{hashlib.sha256(POM.read_bytes()).hexdigest()[:12]}"


def formatted() -> Path:
    """A data directory as a broker begins with: copy it."""
    return home() / "formatted"


def archive() -> Path:
    """The archive of classes. A JVM that did not write it ignores it."""
    return home() / "classes.jsa"


def java(main: str, *arguments: str, libs: Path | None = None, flags: Sequence[str] = ()) -> tuple[str, ...]:
    """The command for one of Kafka's programs."""
    shared = (f"-XX:SharedArchiveFile={archive()}",) if archive().exists() else ()
    classes = ("-cp", str((libs or home() / "libs") / "*"))
    return (_program("java"), *_FLAGS, *(flags or shared), *classes, main, *arguments)


def properties(port: int, controller: int, data: Path, more: Mapping[str, object] | None = None) -> str:
    """server.properties of a cluster of one. What is not said is Kafka's default. more: other lines, or others instead."""
    lines: dict[str, object] = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@127.0.0.1:{controller}",
        "controller.listener.names": "CONTROLLER",
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}",
        "log.dirs": data,
        "offsets.topic.replication.factor": 1,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "group.initial.rebalance.delay.ms": 0,
        "log.cleaner.dedupe.buffer.size": 2 << 20,  # of 128 MB, in a heap of 512
        # A broker that was killed may come back when its session is over, by default after 9 s.
        "broker.session.timeout.ms": 2500,
        "broker.heartbeat.interval.ms": 200,
    }
    lines |= more or {}
    return "".join(f"{name}={value}\n" for name, value in lines.items())


def fetch() -> None:
    """Fill the cache where it is not filled. Whoever runs at the same time sees all of it or nothing."""
    if home().is_dir():
        return
    _CACHE.mkdir(exist_ok=True)
    _program("java")
    with tempfile.TemporaryDirectory(dir=_CACHE, prefix="kafka-fetching-") as folder:
        whole = Path(folder) / "whole"
        libs = whole / "libs"
        maven = (_program("mvn"), "-q", "-B", "-f", str(POM), "dependency:copy-dependencies", f"-DoutputDirectory={libs}")
        _run(maven, "Maven could not fetch Apache Kafka")
        config = Path(folder) / "server.properties"
        config.write_text(properties(1, 2, whole / "formatted"))
        format_data(config, libs=libs)
        with contextlib.suppress(OSError):  # somebody else was faster
            whole.rename(home())
    if not home().is_dir():
        raise KafkaMissingError(f"{home()} could not be made")


def format_data(config: Path, *more: str, libs: Path | None = None) -> None:
    """Make the data directory that a server.properties names."""
    _run(
        java("kafka.tools.StorageTool", "format", "-t", _CLUSTER, "-c", str(config), *more, libs=libs), "Kafka could not format"
    )


def _run(command: Sequence[str], failing: str) -> None:
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
            timeout=_PATIENCE_S,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise KafkaMissingError(f"{failing} within {_PATIENCE_S} s") from None
    if done.returncode:
        said = "\n".join(done.stdout.rstrip().splitlines()[-_SHOWN_LINES:])
        raise KafkaMissingError(f"{failing}:\n{said}")


def _program(name: str) -> str:
    """Where a program is."""
    if (found := shutil.which(name)) is None:
        raise KafkaMissingError(f"{name} is missing; the tests on Apache Kafka need Java 17 or newer and Maven")
    return found


if __name__ == "__main__":  # by any Python: nothing here needs our packages
    try:
        fetch()
    except KafkaMissingError as error:
        sys.exit(f"tideboard: {error}")
