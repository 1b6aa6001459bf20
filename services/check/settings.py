"""Settings of the errands `check` and `token`. What they share with the gateway is in `signing`."""

from dataclasses import dataclass

from services.runtime.settings import setting


@dataclass(frozen=True, slots=True)
class TokenSettings:
    """What the token that `python -m services token` makes is for, and where it goes."""

    hours: float = setting(12.0, "TIDEBOARD_TOKEN_HOURS", "For how long it holds", "h", between=(0.01, 8_784))
    dashboards: tuple[str, ...] = setting(
        ("*",), "TIDEBOARD_TOKEN_DASHBOARDS", "Which dashboards it shows, as patterns such as team-*"
    )
    subject: str = setting("operations", "TIDEBOARD_TOKEN_SUBJECT", "Whose it is (sub), for limits and logs")
    file: str = setting("", "TIDEBOARD_TOKEN_FILE", "File that it is written to, for its owner alone; empty: standard output")


@dataclass(frozen=True, slots=True)
class CheckSettings:
    """Where `python -m services check` posts a sample, and where it waits to see it."""

    ingestor: str = setting("http://127.0.0.1:8081", "TIDEBOARD_CHECK_INGESTOR", "Address of an ingestor")
    gateway: str = setting("http://127.0.0.1:8080", "TIDEBOARD_CHECK_GATEWAY", "Address of a gateway")
    dashboard: str = setting(
        "check", "TIDEBOARD_CHECK_DASHBOARD", "Dashboard that shows the last value of the metric tideboard_check_value"
    )
    timeout_s: float = setting(60.0, "TIDEBOARD_CHECK_TIMEOUT", "Within which the sample must be seen", "s", between=(1, 3_600))
    token_file: str = setting("", "TIDEBOARD_CHECK_TOKEN_FILE", "File of a token to look with, where gateways ask for one")
