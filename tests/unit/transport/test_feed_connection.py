"""What a connection to the feed sends is what redis-py would send."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import DataError

from services.transport.feed import connect
from services.transport.settings import RedisSettings

CONNECTION = connect(RedisSettings()).connection_pool.make_connection()  # type: ignore[no-untyped-call]
arguments = st.lists(st.binary(max_size=9_000) | st.text(max_size=50) | st.integers(-(2**63), 2**64), max_size=20)


@given(st.sampled_from(["GET", "CONFIG RESETSTAT", b"SCRIPT LOAD", b"EVALSHA"]), arguments)
def test_commands_are_packed_as_redis_py_packs_them(name: str | bytes, rest: list[bytes | str | int]) -> None:
    expected = AbstractConnection.pack_command(CONNECTION, name, *rest)
    assert b"".join(CONNECTION.pack_command(name, *rest)) == b"".join(expected)


def test_what_redis_does_not_take_is_refused() -> None:
    with pytest.raises(DataError):
        CONNECTION.pack_command("SET", "a", None)
