"""What is counted of messages: every value that changed is either sent to a viewer or known not to have been."""

import pytest
from msgspec.structs import replace

from services.gateway.content import NOTHING, Content, content
from tests.unit.gateway.test_audience import Narrow, Seat, World
from tests.unit.gateway.test_dashboard import NOW
from tests.unit.gateway.test_dashboard import World as Board


def test_a_message_without_cells_has_nothing_to_count() -> None:
    board = Board()
    assert content(board.picture, board.picture.alive(NOW)) is NOTHING
    assert content(board.picture, board.picture.snapshot(NOW)) is NOTHING


def test_a_snapshot_has_all_cells_and_passes_over_none() -> None:
    board = Board()
    board.write(0, {(28_000, 0): 1.0, (28_000, 1): 1.0, (29_000, 0): 1.0})
    board.write(1, {(26_000, 0): 1.0})
    found = content(board.picture, board.picture.snapshot(NOW))
    # Panels: load and again show view 0, net shows views 1 and 2. A bucket's samples are as old as its end at least.
    assert found == Content(cells=4, overtaken=0, newest=30_000, panels=((30_000, 2), (27_000, 1)))


def test_a_delta_counts_values_that_came_and_went_since_what_its_readers_have() -> None:
    board = Board()
    board.write(0, {(0, 0): 1.0, (0, 1): 1.0})
    mark = board.picture.mark
    board.write(0, {(0, 0): 2.0, (0, 1): 2.0})
    board.write(0, {(0, 0): 3.0, (1_000, 0): 1.0})
    delta = board.picture.delta(mark, NOW)
    assert delta
    found = content(board.picture, delta, mark)
    assert (found.cells, found.overtaken) == (3, 1)
    assert found.panels == ((2_000, 2),), "only panels that show something new"


def test_a_resume_says_nothing_of_what_was_passed_over() -> None:
    board = Board()
    board.write(0, {(1_000, 0): 1.0})
    board.write(0, {(1_000, 0): 2.0})
    mark = board.picture.mark
    board.write(0, {(1_000, 0): 3.0})
    board.write(0, {(1_000, 0): 4.0})
    delta = board.picture.delta(mark, NOW)
    assert delta
    assert content(board.picture, delta) == Content(1, 0, 2_000, ((2_000, 2),))


def test_the_newest_sample_is_as_old_as_its_arrival_where_its_bucket_is_not_over() -> None:
    board = Board()
    board.write(0, {(0, 0): 1.0})
    view, state = next(iter(board.states.items()))
    for bucket, arrived, sampled in ((5_000, 5_400, 5_400), (5_000, 7_000, 6_000), (6_000, 6_900, 7_000)):
        change = board.merges[view].write({(bucket, 0): 1.0})
        state.apply(replace(change, newest=arrived))
        assert state.sampled == sampled, "arrival never goes back, and no bucket holds a sample after its end"


@pytest.mark.parametrize("kind", [Seat, Narrow])
@pytest.mark.parametrize("hz", [20, 5, 1])
def test_each_value_that_changed_is_either_sent_or_counted_as_passed_over(hz: int, kind: type[Seat]) -> None:
    world = World()
    seat = world.join(hz, seat=kind(world))
    world.tick()
    before = sum(state.written for state in world.states.values())
    for turn in range(60):
        world.write(turn, {(turn // 20 * 1_000, group): float(turn) for group in range(3)})
        world.pass_(50)
        if turn % 20 == 19:
            seat.clogged = False
    seat.clogged = False
    world.pass_(2_000)
    seat.clogged = False
    world.pass_(2_000)
    assert world.shows(seat)
    heard = [message.content for _, _, message in seat.heard[1:]]
    written = sum(state.written for state in world.states.values()) - before
    assert written == 180
    assert sum(one.cells + one.overtaken for one in heard) == written
    if kind is Narrow or hz < 20:
        assert sum(one.overtaken for one in heard) > 0
