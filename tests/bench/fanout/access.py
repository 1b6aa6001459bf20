"""The gateway as it is deployed asks for tokens; all viewers of a bench come with the same one, so limits per viewer are off."""

import time
from typing import Final

import jwt

from services.contract.live import SUBPROTOCOL
from tests.servers import ROOT

_SECRET: Final = "a secret that is known to everybody who reads this line"
SUBPROTOCOLS: Final = (
    SUBPROTOCOL,
    "tideboard.token." + jwt.encode({"sub": "bench", "dashboards": ["*"], "exp": int(time.time()) + 86_400}, _SECRET, "HS256"),
)


def settings() -> dict[str, str]:
    """Of a gateway that takes the token."""
    file = ROOT / ".cache" / "bench" / "secret"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(_SECRET)
    return {
        "TIDEBOARD_GATEWAY_AUTH": "jwt",
        "TIDEBOARD_GATEWAY_SECRET_FILE": str(file),
        "TIDEBOARD_GATEWAY_CONNECTIONS_PER_TOKEN": "0",
        "TIDEBOARD_GATEWAY_ACCEPTS": "0",
        "TIDEBOARD_GATEWAY_ACCEPTS_PER_TOKEN": "0",
    }
