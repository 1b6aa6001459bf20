"""Which versions a view's history consists of: the terms of the merges that wrote it. Pure.

A feed that fails over to a replica that was behind has lost versions that somebody has seen. Versions are made of time, so that those that follow are
higher, and a number alone does not tell a lost one from one that is there. So the history keeps in what terms it was written. A term is what one merge
wrote in one go, each version known to have been taken before the next: all versions between its first and its last are there, and none is that
another merge made, since versions of a term have the same last three digits, its tag. What is in no term has been lost, or is from too long ago to say.

Stored by `services/transport/history.py`; merges begin terms (`aggregator/viewmerge`), gateways ask what is known (`gateway/viewstate`).
"""

from typing import Final

import msgspec

STEP: Final = 1_000
"""Versions of a term are so far apart, or a multiple: what a millisecond is in versions."""

KEPT: Final = 32
"""So many terms are remembered. Who has a version from before reads everything again."""


class Term(msgspec.Struct, frozen=True, array_like=True):
    """Versions from `first` to `last` by `step`. last 0: it goes on, to the version of the history. step 1: written by a version that keeps no terms."""

    first: int
    last: int = 0
    step: int = STEP

    def has(self, version: int, newest: int) -> bool:
        """newest: the version of the history."""
        return self.first <= version <= (self.last or newest) and (version - self.first) % self.step == 0


Terms = tuple[Term, ...]
"""By time, the last one goes on. None: nobody says."""


def knows(terms: Terms, newest: int, version: int) -> bool:
    """Whether a history at version `newest` has had this version, so that its rows after it are all that a reader of it lacks.

    True of every version up to the newest where nobody says: where versions that keep no terms wrote last.
    """
    if not 0 < version <= newest:
        return version == 0
    if not terms or not terms[-1].has(newest, newest):
        return True
    return any(term.has(version, newest) for term in reversed(terms))


def begun(terms: Terms, newest: int, first: int) -> Terms:
    """The terms of a history at version `newest`, 0 where it has none, after a merge has begun another one with version `first`."""
    if terms and terms[-1].has(newest, newest):
        before: Terms = (*terms[:-1], Term(terms[-1].first, newest, terms[-1].step))
    elif terms:
        before = (*terms[:-1], Term(terms[-1].first, newest, 1))
    else:
        before = (Term(1, newest, 1),) if newest else ()
    return (*before, Term(first))[-KEPT:]


def free_tag(terms: Terms, chance: int) -> int:
    """A tag that no known term has, 1 to STEP - 1. chance: a number that other merges do not come to."""
    taken = {term.first % STEP for term in terms}
    tags = (1 + (chance + more) % (STEP - 1) for more in range(STEP - 1))
    return next(tag for tag in tags if tag not in taken)


def next_version(newest: int, now_ms: int, tag: int) -> int:
    """The least version with this tag that is higher than the newest one, and not before now."""
    least = max(newest + 1, now_ms * STEP)
    return least + (tag - least) % STEP
