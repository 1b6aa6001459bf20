"""What `all` is made of, as data: who, with which command, reached where. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

VALKEY: Final = "valkey"
BROKER: Final = "broker"


@dataclass(frozen=True, slots=True)
class Command:
    """What starts a child. environ: its whole environment."""

    arguments: tuple[str, ...]
    environ: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Member:
    """One child. admin: port of its admin server, 0 for a server that has none. host, port: where it serves, port 0 for nowhere."""

    name: str
    command: Command
    host: str
    port: int
    admin: int = 0


@dataclass(frozen=True, slots=True)
class Composition:
    members: tuple[Member, ...]
    redis_url: str
    wall: str

    def member(self, name: str) -> Member | None:
        return next((member for member in self.members if member.name == name), None)
