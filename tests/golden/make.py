"""Writes the golden frames. They are the protocol: a change of them is a change of docs/protocol.md.

Run from the root: python -m tests.golden.make
"""

from pathlib import Path

from services.contract import live
from services.contract.dashboards import Threshold
from services.contract.history import Cells, NewGroup, Notes
from services.contract.layout import Grid

VIEW, OTHER = "55a58812079ba2b3", "09de97d8c545e3bb"

FRAMES: dict[str, live.ServerMessage | live.ClientMessage] = {
    "client_subscribe": live.Subscribe("host"),
    "client_subscribe_since": live.Subscribe("host", 10, live.Since("9f2c", {VIEW: 1795385021336000, OTHER: 1795385021286000})),
    "client_unsubscribe": live.Unsubscribe("host"),
    "client_rate": live.Rate(1),
    "client_ping": live.Ping(),
    "client_token": live.Token("eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJl"),
    "snapshot": live.Snapshot(
        v=live.VERSION,
        dashboard="host",
        epoch="9f2c",
        now=1795385021400,
        hz=10,
        title="This machine",
        window=300_000,
        versions={VIEW: 1795385021336000, OTHER: 1795385021286000},
        views=[
            live.ViewState(
                VIEW, 1000, 300_000, False, 1795385021000,
                [NewGroup(0, {"cpu": "0"}), NewGroup(1, {"cpu": "1"})],
                [Cells(1795385020000, [0, 1], [0.25, 0.5]), Cells(1795385021000, [0, 1], [0.125, None])],
            ),
            live.ViewState(OTHER, 1000, 300_000, True, 1795385021000, [NewGroup(0, {})], [Cells(1795385020000, [0], [1234.5])]),
        ],
        panels=[
            live.PanelInfo(
                "cpu", "CPU by core", "timeseries", "percentunit", 300_000, Grid(0, 0, 12, 8),
                (Threshold(0.8, "warning"), Threshold(0.95, "critical")), 0, 1, None, None, "", [live.LineInfo("a", "avg", 0)],
            ),
            live.PanelInfo(
                "net", "Received", "stat", "Bps", 300_000, Grid(12, 0, 4, 4), (), None, None, 1, None, "All devices",
                [live.LineInfo("a", "rate", 1)],
            ),
        ],
    ),
    "delta": live.Delta(
        "host", "9f2c", 1795385021500,
        [
            live.ViewDelta(
                0, 1795385021336000, 1795385021436000, 1795385021000, [NewGroup(2, {"cpu": "2"})],
                [Cells(1795385021000, [1, 2], [0.75, 0.0625])],
            )
        ],
    ),
    "delta_empty": live.Delta("host", "9f2c", 1795385022500, []),
    "delta_notes": live.Delta(
        "host", "9f2c", 1795385023500, [],
        [
            live.ViewNotes(
                0, Notes(at=1795385023400, late=12, late_at=1795385023336, pooled=1874, since=1795385020000, limit=666, partial=3)
            ),
            live.ViewNotes(1, Notes(at=1795385023400, left_out=40)),
        ],
    ),
    "status_fresh": live.Status("host", 1795385021500, False, 0, []),
    "status_stale": live.Status(
        "host", 1795385025500, True, 3200, [live.Part("log", 1795385022300, "Kafka does not answer: connection refused")],
        10, "", {"cpu": 3400, "memory": 3900},
    ),
    "status_reduced": live.Status("host", 1795385021500, False, 0, [], 2, "reader"),
    "moved": live.Moved(1500),
    "error_unknown": live.Error("hots", "unknown_dashboard", "there is no dashboard 'hots'"),
    "error_broken": live.Error(
        "host", "broken_dashboard", "'avgg' is not a function", "spec.panels[0].query.fn", 12, "dashboards/host.yaml"
    ),
    "error_forbidden": live.Error("payroll", "forbidden", "the token does not name this dashboard"),
    "error_token": live.Error("", "bad_token", "the token has ended"),
    "pong": live.Pong(1795385021500),
    "token": live.TokenEnds(1795385021500, 1795385321500),
}  # fmt: skip

if __name__ == "__main__":
    for name, message in FRAMES.items():
        Path(__file__).with_name(f"{name}.json").write_bytes(live.encode(message) + b"\n")
