"""Expressions: arithmetic over the queries of a panel, and nothing else."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.contract.expressions import MAX_LENGTH, ExpressionError, parse_expression


def value(text: str, **columns: float) -> float:
    return float(parse_expression(text).evaluate({name: np.array([number]) for name, number in columns.items()})[0])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a", 6),
        ("a + b", 8),
        ("a - b - b", 2),
        ("a / b", 3),
        ("a * 1e3", 6_000),
        ("-a + +b", -4),
        ("(a + b) / (a - b) * 100", 200),
        ("  100 * a  ", 600),
        ("a * 1_000", 6_000),
    ],
)
def test_expressions_are_arithmetic(text: str, expected: float) -> None:
    assert value(text, a=6, b=2) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is not an expression"),
        ("a +", "is not an expression"),
        ("a; b", "is not an expression"),
        ("a\x00", "is not an expression"),
        ("1 + 2", "names no query"),
        ("f(a)", "'f(a)' is not allowed"),
        ("a.real", "'a.real' is not allowed"),
        ("a[0]", "'a[0]' is not allowed"),
        ("a ** b", "'a ** b' is not allowed"),
        ("a // b", "'a // b' is not allowed"),
        ("a % b", "'a % b' is not allowed"),
        ("a if b else a", "is not allowed"),
        ("a and b", "is not allowed"),
        ("a < b", "'a < b' is not allowed"),
        ("not a", "'not a' is not allowed"),
        ("~a", "'~a' is not allowed"),
        ("lambda: a", "is not allowed"),
        ("[a for a in b]", "is not allowed"),
        ("(a := b)", "is not allowed"),
        ("a + 'b'", "is not allowed"),
        ("a + True", "'True' is not allowed"),
        ("a + 1j", "'1j' is not allowed"),
        ("a + " + "9" * 400, "is too large"),
        ("a" + " + a" * MAX_LENGTH, f"{MAX_LENGTH} at most"),
    ],
)
def test_everything_else_is_refused_by_name(text: str, reason: str) -> None:
    with pytest.raises(ExpressionError) as refused:
        parse_expression(text)
    assert reason in str(refused.value)


@pytest.mark.parametrize("text", ["~" * 490 + "a", "(" * 240 + "a" + ")" * 240, "-" * 490 + "a", "not " * 120 + "a"])
def test_deep_nesting_is_an_answer_not_a_crash(text: str) -> None:
    try:
        parse_expression(text).evaluate({"a": np.zeros(1)})
    except ExpressionError as error:
        assert len(str(error)) < 1_200


@given(st.text(alphabet="ab +-*/().0123456789~[]{}:=<>,'\"\n\\#@", max_size=60) | st.text(max_size=30))
def test_any_text_is_an_expression_or_refused(text: str) -> None:
    try:
        found = parse_expression(text)
    except ExpressionError:
        return
    result = found.evaluate({name: np.array([1.5, np.nan]) for name in found.names})
    assert np.broadcast_shapes(result.shape, (2,)) == (2,)


@pytest.mark.parametrize(
    ("text", "a", "b"),
    [("a / b", 1, 0), ("a / b", 0, 0), ("a * b", 1e300, 1e300), ("a + b", math.nan, 1), ("a / (b - b)", -1, 5)],
)
def test_what_is_not_finite_is_no_value(text: str, a: float, b: float) -> None:
    assert math.isnan(value(text, a=a, b=b))


def test_an_expression_knows_the_queries_it_reads() -> None:
    assert parse_expression("rx / (rx + tx) * 100").names == {"rx", "tx"}
