"""What a viewer of the check's dashboard knows: whether it has seen a value, and what is in its way. Pure: messages in."""

from typing import Any

import msgspec

METRIC = "tideboard_check_value"


class Watch:
    """Waits for one value. snapshot: whether the dashboard has been seen. fault: what the gateway says is wrong, as it last said it."""

    def __init__(self, dashboard: str, value: float) -> None:
        self._dashboard = dashboard
        self._value = value
        self.snapshot = False
        self.seen = False
        self.fault = ""

    def hear(self, message: bytes) -> None:
        """A message of docs/protocol.md."""
        said: dict[str, Any] = msgspec.json.decode(message)
        if said["type"] == "error":
            self.fault = str(said["reason"])
        elif said["type"] == "status" and said.get("dashboard") == self._dashboard:
            self.fault = "; ".join(
                f"{part['part']} is away: {part['reason']}" for part in said["parts"] if part["part"] != "samples"
            )
        elif said["type"] in ("snapshot", "delta") and said.get("dashboard") == self._dashboard:
            whole = said["type"] == "snapshot"
            self.snapshot = self.snapshot or whole
            self.fault = "" if whole else self.fault
            cells = [view["cells"] if whole else view[5] for view in said["views"]]
            self.seen = self.seen or any(self._value in values for view in cells for _, _, values in view)
