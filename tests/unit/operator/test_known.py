"""What is known, from lists and from the watch, in whatever order they come."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.operator.known import DELETED, Known
from services.operator.resources import KINDS
from tests.unit.operator.objects import BAD_BOARD, body


def known(*namespaces: str) -> Known:
    return Known(KINDS, namespaces or ("a",))


def names(found: Known) -> set[str]:
    return {resource.name for resource in found.of("Dashboard")}


def test_everything_is_known_when_every_list_has_come() -> None:
    found = known("a", "b")
    for kind, namespace in (("Dashboard", "a"), ("Source", "a"), ("Source", "b")):
        found.listed("Source" if kind == "Source" else "Dashboard", namespace, [], found.begin())
    assert (found.listed_all("Source"), found.listed_all("Dashboard")) == (True, False)
    found.listed("Dashboard", "b", [], found.begin())
    assert found.listed_all("Dashboard")


def test_the_watch_tells_of_what_comes_changes_and_goes() -> None:
    found = known()
    first = body()
    assert found.hear("Dashboard", "ADDED", first)
    assert found.hear("Dashboard", "MODIFIED", body(spec=BAD_BOARD, generation=2))
    assert [item.generation for item in found.of("Dashboard")] == [2]
    assert found.hear("Dashboard", DELETED, body(generation=2))
    assert names(found) == set()


def test_a_status_is_no_news_but_is_known() -> None:
    found = known()
    found.hear("Dashboard", "ADDED", body())
    assert not found.hear("Dashboard", "MODIFIED", body(status={"panels": 1}))
    assert found.of("Dashboard")[0].status == {"panels": 1}


def test_what_is_older_than_what_is_known_is_passed_over() -> None:
    found, older, newer = known(), body(), body(generation=2)
    found.hear("Dashboard", "MODIFIED", newer)
    assert not found.hear("Dashboard", "ADDED", older)
    assert found.listed("Dashboard", "a", [older], found.begin()) == 0
    assert found.of("Dashboard")[0].generation == 2


def test_the_end_of_one_that_has_been_made_anew_is_not_the_end_of_the_new_one() -> None:
    found = known()
    found.hear("Dashboard", "ADDED", body(uid="old"))
    assert found.hear("Dashboard", "ADDED", body(uid="new"))
    assert not found.hear("Dashboard", DELETED, body(uid="old"))
    assert [item.uid for item in found.of("Dashboard")] == ["new"]


def test_a_list_tells_of_what_the_watch_has_missed() -> None:
    found = known("a", "b")
    for name in ("stays", "goes"):
        found.hear("Dashboard", "ADDED", body(name))
    found.hear("Dashboard", "ADDED", body("elsewhere", namespace="b"))
    found.hear("Source", "ADDED", body("goes", {}, kind="Source"))
    assert found.listed("Dashboard", "a", [body("stays"), body("new")], found.begin()) == 2
    assert names(found) == {"stays", "new", "elsewhere"}
    assert len(found.of("Source")) == 1
    assert found.listed("Dashboard", "", [body("new")], found.begin()) == 2
    assert names(found) == {"new"}


def test_a_watch_that_does_not_tell_what_a_list_has_brought_is_deaf() -> None:
    found = known()
    found.listed("Dashboard", "a", [body("there")], found.begin())
    assert not found.deaf("Dashboard")  # before the first list nobody watches
    new = body("new")
    found.listed("Dashboard", "a", [body("there"), new], found.begin())
    assert (found.deaf("Dashboard"), found.deaf("Source")) == (True, False)
    found.written("Dashboard", body("new", status={"panels": 1}))  # which says nothing of the watch
    assert found.deaf("Dashboard")
    found.hear("Dashboard", "ADDED", new)  # late, but it tells
    assert not found.deaf("Dashboard")
    found.listed("Dashboard", "a", [body("there"), new, body("newer")], found.begin())
    found.hear("Dashboard", "ADDED", body("another"))
    assert found.deaf("Dashboard")
    found.listed("Dashboard", "a", [body("there"), new], found.begin())
    assert not found.deaf("Dashboard")  # what is gone is waited for by nobody


def test_what_the_watch_tells_while_a_list_is_under_way_goes_before_it() -> None:
    found = known()
    gone = body("gone")
    found.hear("Dashboard", "ADDED", gone)
    since = found.begin()
    listed = [gone]  # as it was when the list was made
    found.hear("Dashboard", "ADDED", body("new"))
    found.hear("Dashboard", DELETED, gone)
    assert found.listed("Dashboard", "a", listed, since) == 0
    assert names(found) == {"new"}


def test_other_programs_views_of_objects_are_not_kept() -> None:
    found, written = known(), body(spec={"panels": []})
    found.hear("Dashboard", "ADDED", written)
    written["spec"]["panels"].append(1)
    assert found.of("Dashboard")[0].spec == {"panels": []}


steps = st.lists(st.tuples(st.sampled_from("xyz"), st.sampled_from(["apply", "delete", "list", "begin"]), st.booleans()), max_size=30)  # fmt: skip


@given(steps)
def test_whatever_the_watch_misses_a_list_puts_right(steps: list[tuple[str, str, bool]]) -> None:
    """A server whose watch loses events; lists may be in flight while things happen. In the end one more list is made."""
    found, there = known(), dict[str, dict[str, Any]]()
    flying: tuple[int, list[dict[str, Any]]] | None = None
    for turn, (name, what, heard) in enumerate(steps):
        if what == "apply":
            there[name] = body(name, uid=there[name]["metadata"]["uid"] if name in there else f"{name}{turn}", generation=turn)
            if heard:
                found.hear("Dashboard", "MODIFIED", there[name])
        elif what == "delete" and name in there:
            gone = there.pop(name)
            if heard:
                found.hear("Dashboard", DELETED, gone)
        elif what == "begin":
            flying = found.begin(), list(there.values())
        elif flying is not None:
            since, bodies = flying
            found.listed("Dashboard", "a", bodies, since)
            flying = None
    found.listed("Dashboard", "a", list(there.values()), found.begin())
    assert {(item.name, item.uid, item.generation) for item in found.of("Dashboard")} == {
        (item["metadata"]["name"], item["metadata"]["uid"], item["metadata"]["generation"]) for item in there.values()
    }
