"""What requests are counted as."""

from typing import Any, cast

import pytest
from prometheus_client import REGISTRY

from services.ingestor.http import application
from services.ingestor.intake import Intake

POST = {
    "type": "http",
    "method": "POST",
    "path": "/api/v1/samples",
    "query_string": b"",
    "headers": [],
    "server": ("ingestor", 80),
}


class _Broken:
    def check(self, *_: str) -> bool:
        raise RuntimeError("a fault of ours")


def counted(status: str) -> float:
    return REGISTRY.get_sample_value("tideboard_ingestor_requests_total", {"status": status}) or 0.0


async def test_a_request_that_fails_by_a_fault_of_ours_is_counted_as_a_500() -> None:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    before = counted("500")
    with pytest.raises(RuntimeError):  # Starlette raises it again for the server's log, after the answer
        await application(cast("Intake", _Broken()))(dict(POST), receive, send)
    assert sent[0]["status"] == 500
    assert counted("500") == before + 1
