"""A Redis Cluster of Valkey processes on this machine: three primaries, each with a replica that takes over when it is gone."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from redis import Redis
from redis.crc import key_slot

from services.local.embedded import free_port
from tests.servers import Valkey, running

PRIMARIES = 3
SLOTS = 16_384
NODE_TIMEOUT_MS = 1_000
LONG_MS = 10_000
"""Where nobody would take over: a machine that is slow for a moment takes no slot away."""
PATIENCE_S = 20.0


class Member(Valkey):
    """One server. Its file keeps who it is; its data are gone when it ends."""

    def __init__(self, folder: Path, number: int, timeout_ms: int) -> None:
        self.bus_port = free_port()
        options = {
            "--cluster-enabled": "yes",
            "--cluster-port": str(self.bus_port),
            "--cluster-config-file": f"nodes-{number}.conf",
            "--cluster-node-timeout": str(timeout_ms),
            "--cluster-replica-validity-factor": "0",
            "--dir": str(folder),
            "--repl-diskless-sync-delay": "0",
            "--enable-debug-command": "yes",
        }
        super().__init__(*(word for option in options.items() for word in option))

    def ask(self, *words: str | int) -> str:
        """The answer to a command."""
        with Redis(port=self.port, decode_responses=True, protocol=2) as client:
            answer = client.execute_command(*words)
        return str(answer)

    def order(self, *words: str | int) -> None:
        assert self.ask(*words) in ("OK", "True"), f"{words} is refused"

    @property
    def role(self) -> str:
        return self.ask("ROLE")

    def lag_behind(self, primary: "Member") -> None:
        """As a replica, get nothing any more of what is written."""
        self.order("CONFIG SET", "masteruser", "nobody", "masterauth", "nothing")
        primary.ask("CLIENT KILL", "TYPE", "replica")
        wait(lambda: "'connected'" not in self.role, "the replica goes on to follow")

    def hand_nothing_on(self, nothing: bool = True) -> None:
        """What is published on other servers does not get to those who subscribe to this one."""
        self.order("DEBUG", "DROP-CLUSTER-PACKET-FILTER", 4 if nothing else -1)

    def subscribers(self) -> int:
        """How many connections it has that listen to views."""
        return self.ask("CLIENT LIST", "TYPE", "pubsub").count("'id'")

    def nodes(self) -> list[list[str]]:
        """Whom it knows, itself included, as lines of words."""
        with Redis(port=self.port, protocol=2) as client:
            client.response_callbacks.clear()
            lines = client.execute_command("CLUSTER NODES").decode().splitlines()
        return [words for line in lines if "handshake" not in (words := line.split())[2]]

    def holds(self, slot: int) -> bool:
        """Whether it says that a slot is its own."""
        mine = next(words for words in self.nodes() if "myself" in words[2])
        ranges = [word.split("-") for word in mine[8:] if not word.startswith("[")]
        return any(int(parts[0]) <= slot <= int(parts[-1]) for parts in ranges)

    def whole(self) -> bool:
        """Whether it finds every slot held by a server that answers."""
        with Redis(port=self.port, protocol=2) as client:
            client.response_callbacks.clear()
            said = client.execute_command("CLUSTER INFO").decode()
        return "cluster_state:ok" in said and f"cluster_slots_ok:{SLOTS}" in said


@dataclass
class Servers:
    """members: the first three are the primaries at first, each of the others follows the one three before it."""

    members: list[Member]

    @property
    def url(self) -> str:
        return f"redis+cluster://{','.join(member.address for member in self.members)}"

    @property
    def running(self) -> list[Member]:
        return [member for member in self.members if member.runs]

    def holder(self, key: str) -> Member:
        """Which server holds a key."""
        return next(member for member in self.running if member.holds(key_slot(key.encode())))

    def replica_of(self, primary: Member) -> Member:
        """The one that follows it at first."""
        return self.members[self.members.index(primary) + PRIMARIES]

    def move(self, slot: int, to: Member) -> None:
        """A slot with its keys, as an operator does it while everything runs."""
        there = next(member for member in self.running if member.holds(slot))
        source, target = there.ask("CLUSTER MYID"), to.ask("CLUSTER MYID")
        to.order("CLUSTER SETSLOT", slot, "IMPORTING", source)
        there.order("CLUSTER SETSLOT", slot, "MIGRATING", target)
        with Redis(port=there.port, protocol=2) as client:
            while keys := client.execute_command("CLUSTER GETKEYSINSLOT", slot, 1):
                time.sleep(0.02)  # with part of a view here and part of it there
                client.execute_command("MIGRATE", "127.0.0.1", to.port, "", 0, 5000, "KEYS", *keys)
        for member in (to, there, *self.running):
            member.order("CLUSTER SETSLOT", slot, "NODE", target)

    def wait_until_whole(self) -> None:
        """Until every server that runs finds all slots held."""
        for member in self.running:
            wait(member.whole, f"server {member.port} does not find the cluster whole")


@contextlib.contextmanager
def clustered(folder: Path, replicas: bool = False) -> Iterator[Servers]:
    """Started, with all slots held."""
    with contextlib.ExitStack() as started:
        timeout_ms = NODE_TIMEOUT_MS if replicas else LONG_MS
        members = [Member(folder, number, timeout_ms) for number in range(PRIMARIES * (1 + replicas))]
        for member in members:
            started.enter_context(running(member))
        for number, member in enumerate(members):
            member.order("CLUSTER SET-CONFIG-EPOCH", number + 1)
            if number < PRIMARIES:
                first, behind = (SLOTS * n // PRIMARIES for n in (number, number + 1))
                member.order("CLUSTER ADDSLOTSRANGE", first, behind - 1)
            if number:
                members[0].order("CLUSTER MEET", "127.0.0.1", member.port, member.bus_port)
        for member in members:
            wait(lambda them=member: len(them.nodes()) == len(members), "the servers do not know each other")  # type: ignore[misc]
        for primary, replica in zip(members, members[PRIMARIES:], strict=False):
            replica.order("CLUSTER REPLICATE", primary.ask("CLUSTER MYID"))
        for replica in members[PRIMARIES:]:
            wait(partial(_follows, replica), "a replica does not follow")
        found = Servers(members)
        found.wait_until_whole()
        yield found


def _follows(member: Member) -> bool:
    return "'slave'" in member.role and "'connected'" in member.role


def wait(condition: Callable[[], bool], reason: str) -> None:
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until, reason
        time.sleep(0.05)
