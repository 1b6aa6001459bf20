import pytest

from services.contract.terms import KEPT, STEP, Term, Terms, begun, free_tag, knows, next_version

NOW = 1_795_385_021_336


def test_a_version_is_of_now_or_after_the_newest_and_has_the_tag_of_its_term() -> None:
    assert next_version(0, NOW, 7) == NOW * STEP + 7
    assert next_version(NOW * STEP + 7, NOW, 7) == (NOW + 1) * STEP + 7
    assert next_version(NOW * STEP + 6, NOW, 7) == NOW * STEP + 7
    assert next_version(NOW * STEP + 900, NOW - 9_000, 7) == (NOW + 1) * STEP + 7


def test_a_term_ends_where_the_next_one_begins_and_what_is_between_them_is_not_known() -> None:
    terms = begun((), 0, 1_001)
    assert terms == (Term(1_001),)
    terms = begun(terms, 5_001, 9_002)
    assert terms == (Term(1_001, 5_001), Term(9_002))
    known = [version for version in range(12_003) if knows(terms, 11_002, version)]
    assert known == [0, 1_001, 2_001, 3_001, 4_001, 5_001, 9_002, 10_002, 11_002]


def test_a_version_that_another_merge_made_within_a_term_is_not_known() -> None:
    assert knows((Term(1_001),), 9_001, 3_001)
    assert not knows((Term(1_001),), 9_001, 3_002)


def test_what_is_still_to_come_is_not_known() -> None:
    assert not knows((Term(1_001),), 9_001, 10_001)
    assert not knows((), 9_001, 9_002)


@pytest.mark.parametrize("terms", [(), (Term(1_001),), (Term(1_001, 2_001), Term(3_002))])
def test_where_a_version_that_keeps_no_terms_wrote_last_everything_is_known(terms: Terms) -> None:
    """Versions that it makes are multiples of 1,000, and some more."""
    assert knows(terms, 9_000, 4_444)
    after = begun(terms, 9_000, 12_007)
    assert knows(after, 13_007, 4_444)
    assert not knows(after, 13_007, 9_001)
    assert not knows(after, 13_007, 12_006)


def test_so_many_terms_are_kept_and_what_was_before_them_is_not_known() -> None:
    terms: Terms = ()
    newest = 0
    for number in range(KEPT + 5):
        first = next_version(newest, 10 * number, free_tag(terms, 3))
        terms, newest = begun(terms, newest, first), first
    assert len(terms) == KEPT
    assert knows(terms, newest, terms[0].first)
    assert not knows(terms, newest, terms[0].first - 1)


def test_no_two_known_terms_have_a_tag_and_none_has_that_of_versions_without_terms() -> None:
    terms: Terms = ()
    for number in range(KEPT):
        tag = free_tag(terms, STEP - 3)
        assert tag not in {term.first % STEP for term in terms} | {0}
        terms = begun(terms, 5_000 * number, next_version(5_000 * number, 0, tag))
