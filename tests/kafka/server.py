"""Apache Kafka for tests: one real broker, which is its own controller, on free ports of this machine. It keeps its data over a kill."""

import asyncio
import contextlib
import shutil
import signal
import tempfile
from pathlib import Path
from typing import Final

from aiokafka import errors
from aiokafka.protocol.admin import DeleteTopicsRequest

from services.contract.names import DEAD_LETTER_TOPIC, LATE_TOPIC, LINEAGE_TOPIC, SAMPLES_TOPIC
from services.local.embedded import free_port, tethered
from services.transport.log_wire import Wire
from services.transport.settings import KafkaSettings
from tests.kafka import jars
from tests.servers import Server, connects

PATIENCE_S: Final = 60.0
OURS: Final = (SAMPLES_TOPIC, LINEAGE_TOPIC, LATE_TOPIC, DEAD_LETTER_TOPIC)
_SHOWN_LINES: Final = 40


class Kafka(Server):
    """A broker with its data and its log in a folder of its own."""

    def __init__(self, folder: Path, flags: tuple[str, ...] = ()) -> None:
        """flags: for the JVM, instead of what makes it start faster."""
        super().__init__("kafka", self._java, connects)
        self._controller = next(port for port in iter(free_port, None) if port != self.port)
        self._folder = folder
        self._flags = flags

    @property
    def bootstrap(self) -> str:
        return self.address

    @property
    def log(self) -> Path:
        return self._folder / "kafka.log"

    def start(self) -> None:
        """Start it, empty when it has no data yet, and wait until it answers; its log is told when it does not."""
        self.launch()
        try:
            self.wait(PATIENCE_S)
        except AssertionError as error:
            said = "\n".join(self.log.read_text(errors="replace").splitlines()[-_SHOWN_LINES:])
            raise AssertionError(f"{error}; its log:\n{said}") from None

    def launch(self) -> None:
        """Start it with the data that it had, and do not wait."""
        if not self._flags:
            prepare()
        if not self._data.is_dir():
            self._format()
        self._configure()
        with self.log.open("ab") as log:
            self._spawn(log, log)

    def _format(self) -> None:
        shutil.copytree(jars.formatted(), self._data)

    def _configure(self) -> None:
        self._config.write_text(jars.properties(self.port, self._controller, self._data))

    def restart(self, *, keep: bool = False) -> None:
        """Kill it and start it again on the same ports: empty, or with the data that it had."""
        self.kill()
        if not keep:
            shutil.rmtree(self._data, ignore_errors=True)
        self.start()

    def stop(self) -> None:
        """SIGTERM, and wait until it has put everything in order."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(PATIENCE_S)
            self._process = None

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    @property
    def _config(self) -> Path:
        return self._folder / "server.properties"

    def _java(self, _: int, parent: int) -> tuple[str, ...]:
        return tethered(parent, *jars.java("kafka.Kafka", str(self._config), flags=self._flags))


def prepare() -> None:
    """Fill the cache. KafkaMissingError where that cannot be done."""
    jars.fetch()
    if jars.archive().exists():
        return
    with tempfile.TemporaryDirectory(dir=jars.home(), prefix="archiving-") as folder:
        archive = Path(folder) / "classes.jsa"
        server = Kafka(Path(folder), (f"-XX:ArchiveClassesAtExit={archive}",))
        server.start()
        server.stop()
        with contextlib.suppress(FileNotFoundError):  # a JVM that has no such archives
            archive.rename(jars.archive())


async def empty(kafka: Kafka, *others: str) -> None:
    """Delete our topics, and these: the next test finds a log that nobody has begun."""
    topics = [*OURS, *others]
    settings = KafkaSettings(bootstrap_servers=kafka.bootstrap)
    wire = Wire(settings)
    try:
        await wire.open()
        request = DeleteTopicsRequest(topics, settings.request_timeout_ms)
        answer = await wire.ask(wire.any_node(), request)
        for topic, code in answer.topic_error_codes:
            error = errors.for_code(code)
            assert error in (errors.NoError, errors.UnknownTopicOrPartitionError), f"{topic}: {error.__name__}"
        async with asyncio.timeout(PATIENCE_S):
            while await wire.leaders(topics):  # noqa: ASYNC110, the broker hears of it from the controller
                await asyncio.sleep(0.01)
    finally:
        await wire.close()
