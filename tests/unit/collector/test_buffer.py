"""The buffer keeps order and never grows past its limit; the back-off is patient; the governor keeps to its share."""

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from services.collector import buffer as module
from services.collector.buffer import Backoff, Buffer, Governor


def test_what_was_put_in_comes_out_in_order_and_once() -> None:
    buffer = Buffer(100)
    for body in (b"a", b"b", b"c"):
        buffer.add(2, body)
    assert buffer.take() == (6, b"abc")
    buffer.posted()
    assert (len(buffer), buffer.samples, buffer.take()) == (0, 0, (0, b""))


def test_what_failed_comes_first_again() -> None:
    buffer = Buffer(100)
    buffer.add(1, b"a")
    buffer.take()
    buffer.add(1, b"b")
    buffer.failed()
    assert buffer.take() == (2, b"ab")


def test_a_request_has_a_bounded_length_but_at_least_one_block() -> None:
    buffer = Buffer(100)
    big = b"x" * module.REQUEST_BYTES
    for body in (big, b"a", b"b", big):
        buffer.add(1, body)
    taken = []
    while len(buffer):
        taken.append(buffer.take()[1])
        buffer.posted()
    assert taken == [big, b"ab", big]


def test_the_oldest_is_dropped_and_counted() -> None:
    buffer = Buffer(10)
    for body in (b"a", b"b", b"c"):
        buffer.add(4, body)
    assert (buffer.samples, buffer.dropped) == (8, 4)
    assert buffer.take() == (8, b"bc")


def test_the_newest_block_stays_even_if_it_alone_is_too_much() -> None:
    buffer = Buffer(10)
    buffer.add(1, b"a")
    buffer.add(99, b"b")
    assert (buffer.take(), buffer.dropped) == ((99, b"b"), 1)


def test_nothing_is_no_block() -> None:
    buffer = Buffer(10)
    buffer.add(0, b"")
    assert len(buffer) == 0


class Life(RuleBasedStateMachine):
    """Blocks are numbered; what arrives must be in order, and what is missing must have been counted."""

    def __init__(self) -> None:
        super().__init__()
        self.buffer = Buffer(20)
        self.next = 0
        self.added = 0
        self.taken: list[int] = []
        self.arrived: list[int] = []
        self.arrived_samples = 0
        self.busy = 0

    @rule(samples=st.integers(1, 9))
    def add(self, samples: int) -> None:
        self.buffer.add(samples, b"%d," % self.next)
        self.next += 1
        self.added += samples

    @rule()
    def take(self) -> None:
        if not self.busy:
            self.busy, body = self.buffer.take()
            self.taken = [int(number) for number in body.split(b",") if number]

    @rule(arrives=st.booleans())
    def answer(self, arrives: bool) -> None:
        if not self.busy:
            return
        if arrives:
            self.buffer.posted()
            self.arrived += self.taken
            self.arrived_samples += self.busy
        else:
            self.buffer.failed()
        self.busy = 0

    @invariant()
    def order_is_kept_and_every_sample_is_accounted_for(self) -> None:
        assert self.arrived == sorted(set(self.arrived))
        assert self.added == self.arrived_samples + self.buffer.dropped + self.buffer.samples
        assert self.buffer.samples <= (20 + self.busy if self.busy else 20)


TestLife = Life.TestCase


def test_waits_double_up_to_a_bound_and_begin_anew_after_a_success() -> None:
    backoff = Backoff(1.0, 5.0, lambda: 1.0)
    assert [backoff.failed() for _ in range(5)] == [1.0, 2.0, 4.0, 5.0, 5.0]
    backoff.succeeded()
    assert backoff.failed() == 1.0


@given(st.floats(0, 1), st.integers(0, 2000))
def test_a_wait_is_anything_up_to_its_bound_and_what_was_asked_for_on_top(chance: float, failures: int) -> None:
    backoff = Backoff(0.25, 5.0, lambda: chance)
    for _ in range(failures):
        backoff.failed()
    assert 7.0 <= backoff.failed(7.0) <= 12.0


def test_something_cheap_happens_as_often_as_wanted_and_something_dear_as_rarely_as_it_must() -> None:
    governor = Governor(interval_s=0.25, share=0.01)
    assert governor.due(100.0)
    governor.spent(100.0, 0.001)
    assert not governor.due(100.24)
    assert governor.due(100.25)
    governor.spent(101.0, 0.05)
    assert not governor.due(105.9)
    assert governor.due(106.0)
