"""Paths: what is written is what is meant, and what cannot be read is told where."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.contract.paths import MAX_STEPS, Path, PathError, parse_path

names = st.text(st.characters(exclude_categories=["Cs"]), min_size=0, max_size=8).filter(
    lambda it: not ("'" in it and '"' in it)
)
steps = st.lists(names | st.integers(-999_999, 999_999) | st.none(), max_size=MAX_STEPS)


@given(steps, st.booleans())
def test_a_path_that_is_shown_is_read_as_the_same_path(taken: list[str | int | None], key: bool) -> None:
    path = Path(tuple(taken), key and bool(taken) and taken[-1] is None)
    assert parse_path(str(path)) == path


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        ("$", ()),
        ("$.a.b", ("a", "b")),
        ("$.a[0].b[-1]", ("a", 0, "b", -1)),
        ("$[*].price", (None, "price")),
        ("$.x-y.ö1", ("x-y", "ö1")),
        ("$['a.b'][\"it's\"]", ("a.b", "it's")),
    ],
)
def test_paths_are_read_as_everybody_writes_them(text: str, taken: tuple[object, ...]) -> None:
    assert parse_path(text) == Path(taken)  # type: ignore[arg-type]


def test_the_names_of_members_are_meant_by_a_tilde() -> None:
    assert parse_path("$.fields[*]~") == Path(("fields", None), key=True)


def test_a_path_goes_through_its_lists_one_in_the_other() -> None:
    assert parse_path("$.a[*].b[0].c[*].d").loops == (("a", None), ("a", None, "b", 0, "c", None))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a.b", "does not begin with"),
        ("", "does not begin with"),
        ("$a", "at character 2: expected .name"),
        ("$.", "a name should follow the dot"),
        ("$.a..b", "at character 4"),
        ("$.a[x]", r"at character 4: expected \[0\], \[-1\], \[\*\]"),
        ("$.a[1", "at character 4"),
        ("$.a b", "at character 4"),
        ("$.a.*", "at character 4"),
        ("$.a~", r"~ follows \[\*\] only"),
        ("$~", r"~ follows \[\*\] only"),
        ("$.a[*]~.b", "at character 7"),
        ("$" + ".a" * 33, "has 33 steps"),
    ],
)
def test_what_is_no_path_is_told_where(text: str, reason: str) -> None:
    with pytest.raises(PathError, match=reason):
        parse_path(text)


@given(st.text(st.sampled_from("$.[]*~'\"a0- "), max_size=12))
def test_any_text_is_a_path_or_a_path_error(text: str) -> None:
    try:
        parse_path("$" + text)
    except PathError as error:
        assert repr("$" + text) in str(error)
