"""Other engines on the same bytes and the same broker, each in a process and an environment of their own. One that is not there is said so."""

import hashlib
import json
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.bench.report import rate
from tests.servers import ROOT

PINS: Final = Path(__file__).with_name("rivals.txt")
SCRIPTS: Final = Path(__file__).parent / "rivals_scripts"
ENGINES: Final = {"Quix Streams": "quix.py", "Bytewax": "wax.py"}
EVENTS: Final = 30_000
PATIENCE_S: Final = 300


def measure(bootstrap: str, events: Sequence[bytes]) -> list[tuple[str, str]]:
    """(engine, samples per core second or why not). events: JSON objects of one sample each."""
    python = _python()
    if python is None:
        return [(name, "not installed here") for name in ENGINES]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "events.ndjson")
        file.write_bytes(b"\n".join(events[-EVENTS:]))
        return [(name, _run(python, script, bootstrap, file, Path(folder))) for name, script in ENGINES.items()]


def _run(python: Path, script: str, bootstrap: str, file: Path, folder: Path) -> str:
    command = [str(python), str(SCRIPTS / script), bootstrap, str(file)]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        found = json.loads(done.stdout.splitlines()[-1])
        return rate(found["samples"] / found["cpu_s"])
    except (subprocess.TimeoutExpired, ValueError, IndexError, KeyError) as error:
        return f"did not finish: {type(error).__name__}"


def _python() -> Path | None:
    """Python with the rivals, made once; None where they cannot be installed."""
    name = hashlib.sha256(PINS.read_bytes() + sys.version.encode()).hexdigest()[:12]
    home = ROOT / ".cache" / f"rivals-{name}"
    python = home / "bin" / "python"
    ready = home / "ready"
    if ready.exists():
        return python
    venv.create(home, clear=True, with_pip=True)
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", "-r", str(PINS)]
    if subprocess.run(install, capture_output=True, check=False).returncode:
        return None
    ready.touch()
    return python
