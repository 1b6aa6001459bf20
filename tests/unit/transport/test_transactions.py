"""Which batches of an answer a reader of committed records passes over."""

from types import SimpleNamespace

from services.transport.transactions import Aborted


def batch(offset: int, producer: int = 1, *, control: bool = False, transactional: bool = True) -> SimpleNamespace:
    return SimpleNamespace(base_offset=offset, producer_id=producer, is_control_batch=control, is_transactional=transactional)


def read(aborted: list[tuple[int, int]], *batches: SimpleNamespace) -> list[int]:
    held = Aborted(aborted)
    return [item.base_offset for item in batches if not held.holds(item)]


def test_what_is_no_transaction_is_read_and_ends_of_transactions_are_not() -> None:
    assert read([], batch(0, -1, transactional=False), batch(1), batch(2, control=True), batch(3)) == [0, 1, 3]


def test_an_aborted_transaction_lasts_until_its_producers_next_end() -> None:
    assert read([(1, 2)], batch(0), batch(1, control=True), batch(2), batch(3), batch(4, control=True), batch(5)) == [0, 5]


def test_transactions_of_others_go_on_beside_it() -> None:
    assert read(
        [(1, 0)], batch(0, 1), batch(1, 2), batch(2, -1, transactional=False), batch(3, 1, control=True), batch(4, 1)
    ) == [1, 2, 4]


def test_a_producer_may_abort_again_and_again() -> None:
    answer = [batch(0), batch(1, control=True), batch(2), batch(3, control=True), batch(4), batch(5, control=True)]
    assert read([(1, 4), (1, 0)], *answer) == [2]


def test_an_answer_that_begins_with_the_end_of_a_transaction_knows_that_it_is_over() -> None:
    assert read([(1, 7)], batch(9, control=True), batch(10)) == [10]


def test_an_answer_may_begin_in_the_middle_of_a_transaction() -> None:
    assert read([(1, 3)], batch(5), batch(6, control=True), batch(7)) == [7]
