"""Which dashboards a token names: patterns of names, as they stand in its claim. Pure.

`*` stands for any run of characters, also an empty one; `?` for exactly one. Everything else stands for itself, upper and
lower case apart. A pattern is the whole name, not a part of it.
"""

from collections.abc import Iterable


def matches(pattern: str, name: str) -> bool:
    """In time of len(pattern) * len(name) at most: only the last star is ever tried again."""
    at = place = 0  # in the name, in the pattern
    star, resume = -1, 0  # the last star, and from where in the name it was tried last
    while at < len(name):
        wanted = pattern[place] if place < len(pattern) else ""
        if wanted == "*":
            star, resume = place, at
            place += 1
        elif wanted in ("?", name[at]):
            place, at = place + 1, at + 1
        elif star >= 0:
            resume += 1
            place, at = star + 1, resume
        else:
            return False
    return set(pattern[place:]) <= {"*"}


def any_matches(patterns: Iterable[str], name: str) -> bool:
    return any(matches(pattern, name) for pattern in patterns)
