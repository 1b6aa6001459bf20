"""A small campaign of `make fuzz`, with a seed that does not change, and what hypothesis makes of the same cores."""

import asyncio
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz import cores
from tests.fuzz.campaign import CORES, OVER_SOCKETS, run_core, run_sockets
from tests.fuzz.corpus import kept
from tests.fuzz.world import fuzzed
from tests.unit.gateway.steady import steady

INPUTS = 20_000
CHECKED = {name: core for name, core in CORES.items() if core.check}
KEPT = [(core, name) for core in CHECKED for name in kept(core)]


@pytest.mark.parametrize(("core", "name"), KEPT, ids=["/".join(each) for each in KEPT])
def test_what_was_kept_is_borne(core: str, name: str) -> None:
    check = CHECKED[core].check
    assert check
    for seed in range(20):  # each cuts it in other places
        check(kept(core)[name], Random(seed))


@pytest.mark.parametrize("core", CHECKED)
def test_a_core_bears_any_bytes(core: str) -> None:
    run_core(core, round(INPUTS * CORES[core].share), 1)


def test_a_gateway_bears_any_bytes_and_its_viewers_notice_nothing(tmp_path: Path) -> None:
    with fuzzed(tmp_path) as gateway:
        asyncio.run(run_sockets(gateway, round(INPUTS * sum(share for _, share in OVER_SOCKETS.values())), 1))


@steady(300)
@given(
    st.binary(max_size=300) | st.lists(st.sampled_from(sorted(kept("frames").values()))).map(b"".join),
    st.randoms(use_true_random=False),
)
def test_frames_are_heard_the_same_however_they_are_cut(data: bytes, chance: Random) -> None:
    cores.frames(data, chance)


@steady(300)
@given(st.text().map(str.encode) | st.text(alphabet='permessage-deflate;="\\,1 \t', max_size=80).map(str.encode))
def test_any_extensions_are_answered(data: bytes) -> None:
    cores.extensions(data, Random(1))
