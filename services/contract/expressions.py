"""Expressions of a panel: arithmetic over its queries, such as `rx / (rx + tx) * 100`.

Python's own parser reads them; only names, numbers, + - * / and brackets are let through.
"""

import ast
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

MAX_LENGTH: Final = 500
_OPERATORS: Final = {ast.Add: np.add, ast.Sub: np.subtract, ast.Mult: np.multiply, ast.Div: np.divide}


class ExpressionError(ValueError):
    """An expression that is refused; the message names the part."""


@dataclass(frozen=True, slots=True)
class Expression:
    """A checked expression. names: the queries it reads."""

    text: str
    names: frozenset[str]
    _body: ast.expr

    def evaluate(self, columns: Mapping[str, npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
        """The value per row; columns: one array of shape (n,) per name, NaN where a query has nothing. What is not finite becomes NaN."""
        with np.errstate(all="ignore"):
            result = np.asarray(_evaluate(self._body, columns), dtype=np.float64)
        return np.where(np.isfinite(result), result, np.nan)


def parse_expression(text: str) -> Expression:
    """The expression, or ExpressionError."""
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"has {len(text)} characters, {MAX_LENGTH} at most")
    text = text.strip()
    try:
        body = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ExpressionError(f"{text!r} is not an expression") from None
    names: set[str] = set()
    _check(body, text, names)
    if not names:
        raise ExpressionError(f"{text!r} names no query")
    return Expression(text, frozenset(names), body)


def _check(node: ast.expr, text: str, names: set[str]) -> None:
    match node:
        case ast.Name():
            names.add(node.id)
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            if abs(number) > sys.float_info.max:
                raise ExpressionError(f"{_source(node, text)!r} is too large a number")
        case ast.UnaryOp(op=ast.USub() | ast.UAdd()):
            _check(node.operand, text, names)
        case ast.BinOp() if type(node.op) in _OPERATORS:
            _check(node.left, text, names)
            _check(node.right, text, names)
        case _:
            raise ExpressionError(
                f"{_source(node, text)!r} is not allowed; use names of queries, numbers, + - * / and brackets"
            )


def _source(node: ast.expr, text: str) -> str:
    """The part of the text; ast.unparse would go as deep as the expression does, which may be too deep."""
    return ast.get_source_segment(text, node) or text


def _evaluate(node: ast.expr, columns: Mapping[str, npt.NDArray[np.float64]]) -> npt.NDArray[np.float64] | float:
    match node:
        case ast.Name():
            return columns[node.id]
        case ast.Constant(value=int() | float() as number):
            return float(number)
        case ast.UnaryOp():
            value = _evaluate(node.operand, columns)
            return -value if isinstance(node.op, ast.USub) else value
        case ast.BinOp():
            result: npt.NDArray[np.float64] = _OPERATORS[type(node.op)](
                _evaluate(node.left, columns), _evaluate(node.right, columns)
            )
            return result
    raise AssertionError(f"{node} passed the check")
