"""Who gets the next connection."""

from tests.balancer import Backend, pick


def backend(name: str, opened: int, unready_at: float | None = None, serving: bool = True) -> Backend:
    return Backend(name, 1, 2, opened, unready_at, serving)


def picked(*backends: Backend, lag_s: float = 0.5) -> str:
    found = pick(list(backends), 100.0, lag_s)
    return found.name if found else ""


def test_the_one_with_the_fewest_gets_it() -> None:
    assert picked(backend("a", 3), backend("b", 2), backend("c", 4)) == "b"


def test_who_is_not_ready_gets_it_until_that_has_been_heard() -> None:
    assert picked(backend("a", 0, 99.8), backend("b", 5)) == "a"
    assert picked(backend("a", 0, 99.4), backend("b", 5)) == "b"


def test_who_serves_without_being_ready_gets_it_where_nobody_else_is_there() -> None:
    assert picked(backend("a", 0, 10, serving=False), backend("b", 5, 10)) == "b"
    assert picked(backend("a", 0, 10, serving=False)) == ""
