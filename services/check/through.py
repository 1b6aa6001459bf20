"""`python -m services check`: post a sample, and see it come back over a WebSocket. What `helm test` runs.

Exit code 0 when it was seen; otherwise 1, and a sentence that says how far it came.
"""

import contextlib
import http.client
import json
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from services.check.frames import ClosedError
from services.check.settings import CheckSettings
from services.check.socket import Socket, SocketError
from services.check.watching import METRIC, Watch

_AGAIN_S = 1.0
_ANSWER_S = 15.0


class CheckError(Exception):
    """Why the sample was not seen."""


def run(check: CheckSettings) -> int:
    """The exit code."""
    try:
        through(check, _token(check.token_file), say)
    except CheckError as error:
        say(f"check: {error}")
        return 1
    return 0


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def through(check: CheckSettings, token: str, tell: Callable[[str], None]) -> None:
    """CheckError where the sample is not seen in time."""
    begun = time.monotonic()
    until = begun + check.timeout_s
    value = float(random.SystemRandom().randrange(1 << 50))
    watch = Watch(check.dashboard, value)
    posted = False
    last = ""
    while time.monotonic() < until:
        try:
            socket = Socket(check.gateway, "/api/v1/live", token, until)
            with contextlib.closing(socket):
                socket.send(json.dumps({"type": "subscribe", "dashboard": check.dashboard, "hz": 10, "since": None}).encode())
                for message in socket.messages():
                    watch.hear(message)
                    if watch.snapshot and not posted:
                        tell(f"the dashboard {check.dashboard!r} is shown after {time.monotonic() - begun:.1f} s")
                        posted = _post(check.ingestor, value)
                        tell(f"the sample was acknowledged after {time.monotonic() - begun:.1f} s")
                    if watch.seen:
                        tell(f"the sample was seen after {time.monotonic() - begun:.1f} s")
                        return
        except (SocketError, ClosedError, _PostError) as error:
            last = str(error)
        time.sleep(min(_AGAIN_S, max(0.0, until - time.monotonic())))
    raise CheckError(_sentence(watch, posted=posted, last=last, check=check))


def _sentence(watch: Watch, *, posted: bool, last: str, check: CheckSettings) -> str:
    why = "; ".join(word for word in (watch.fault, last) if word and word != "time is up") or "nothing is told to be wrong"
    if not watch.snapshot:
        return f"within {check.timeout_s:g} s the dashboard {check.dashboard!r} was not shown: {why}"
    if not posted:
        return f"within {check.timeout_s:g} s the sample was not taken: {why}"
    return f"the sample was acknowledged, but not seen within {check.timeout_s:g} s: {why}"


class _PostError(Exception):
    """The sample was not taken, for now."""


def _post(url: str, value: float) -> bool:
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=_ANSWER_S)
    body = json.dumps({"metric": METRIC, "value": value})
    try:
        with contextlib.closing(connection):
            connection.request("POST", "/api/v1/samples", body, {"content-type": "application/json"})
            answer = connection.getresponse()
            said = answer.read().decode("utf-8", "replace").strip()
    except (OSError, http.client.HTTPException) as error:
        raise _PostError(f"the ingestor at {url} does not answer: {error}") from None
    if answer.status != 202 or json.loads(said).get("accepted") != 1:
        raise _PostError(f"the ingestor answers {answer.status}: {said[:200]}")
    return True


def _token(file: str) -> str:
    """None is needed where no file is named."""
    try:
        return Path(file).read_text(encoding="utf-8").strip() if file else ""
    except OSError as error:
        raise CheckError(f"{error.filename} cannot be read: {error.strerror}") from None
