"""Eligibility rules: which rows satisfy a comparison, and for which rows that cannot be told.

A missing value is neither above nor below anything, so a rule has three answers: yes, no and unknown.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Collection
from functools import reduce
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from impact import columns as col
from impact.expressions import ARITHMETIC, ATOM, COMPARISON, Expression, read, refuse

Array = np.ndarray
_ALLOWED = (
    *ATOM, *ARITHMETIC, *COMPARISON, ast.In, ast.NotIn, ast.List, ast.Tuple,
    ast.BoolOp, ast.And, ast.Or, ast.Not, ast.Invert, ast.BitAnd, ast.BitOr,
)  # fmt: skip
_ADVICE = (
    "write comparisons of columns with values, joined by `and`, `or`, `not`, such as "
    "`age >= 30 and status in ['a', 'b']`, with brackets around each comparison beside `&` and `|`"
)
_JOIN: dict[type[ast.AST], Callable[[Truth, Truth], Truth]] = {
    ast.And: lambda a, b: a & b,
    ast.Or: lambda a, b: a | b,
    ast.BitAnd: lambda a, b: a & b,
    ast.BitOr: lambda a, b: a | b,
}
_COMPARE: dict[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge, ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}  # fmt: skip
_COMPUTE: dict[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Add: np.add, ast.Sub: np.subtract, ast.Mult: np.multiply, ast.Div: np.divide, ast.Pow: np.power,
    ast.Mod: np.mod,
}  # fmt: skip


class Rule(NamedTuple):
    """A rule as the study writes it, and as it was read."""

    text: str
    expression: Expression

    @property
    def columns(self) -> tuple[str, ...]:
        return self.expression.columns


class Truth(NamedTuple):
    """For each row, whether something is known to hold, and whether it is known not to; if neither, unknown."""

    yes: Array
    no: Array

    def __invert__(self) -> Truth:
        return Truth(self.no, self.yes)

    def __and__(self, other: Truth) -> Truth:
        return Truth(self.yes & other.yes, self.no | other.no)

    def __or__(self, other: Truth) -> Truth:
        return Truth(self.yes | other.yes, self.no & other.no)

    @property
    def unknown(self) -> Array:
        return ~(self.yes | self.no)


class Operand(NamedTuple):
    """One side of a comparison: values of one kind for all rows, or one value for every row."""

    values: Any
    kind: str  # "a number", "text" or "a date"
    missing: Any = False
    column: str = ""
    order: tuple[str, ...] = ()  # of a column of ordered categories


def rule(text: Any, columns: Collection[str]) -> Rule:
    """Read an eligibility rule against the columns of the table; anything but a comparison is refused."""
    if not isinstance(text, str):
        raise ValueError(f"An eligibility rule is a text, not {type(text).__name__}: {_ADVICE}.")
    subject = f"The eligibility rule `{text}`"
    expression = read(text, subject, columns)
    refuse(expression.tree, _ALLOWED, subject, _ADVICE)
    if not expression.means:
        raise ValueError(f"{subject} names no column: {_ADVICE}.")
    return Rule(text, expression)


def holds(asked: Rule, rows: pd.DataFrame) -> Truth:
    """For which rows the rule holds, and for which it cannot be told."""
    with np.errstate(all="ignore"):  # what cannot be computed becomes unknown
        return _Reading(asked, rows).truth(asked.expression.tree)


class _Reading:
    """One rule worked out on one table."""

    def __init__(self, asked: Rule, rows: pd.DataFrame) -> None:
        self.means, self.rows = asked.expression.means, rows
        self.subject = f"The eligibility rule `{asked.text}`"

    def truth(self, node: ast.expr) -> Truth:
        match node:
            case ast.BoolOp(op=op, values=parts):
                return reduce(_JOIN[type(op)], [self.truth(p) for p in parts])
            case ast.BinOp(left=left, op=ast.BitAnd() | ast.BitOr() as op, right=right):
                return _JOIN[type(op)](self.truth(left), self.truth(right))
            case ast.UnaryOp(op=ast.Not() | ast.Invert(), operand=part):
                return ~self.truth(part)
            case ast.Compare(left=left, ops=ops, comparators=others):
                pairs = zip([left, *others[:-1]], ops, others, strict=True)
                return reduce(_JOIN[ast.And], [self.compared(a, op, b) for a, op, b in pairs])
            case ast.Name():
                return self.yes_or_no(self.means[node.id])
        raise ValueError(
            f"{self.subject} has a value where a comparison is needed: {_ADVICE}, with brackets around each comparison."
        )

    def yes_or_no(self, column: str) -> Truth:
        held = self.operand_of_column(column)
        if held.kind != "a number" or not np.isin(held.values[~held.missing], (0, 1)).all():
            raise ValueError(f"{self.subject} uses `{column}` as a yes or no, and it holds other values: compare it.")
        return Truth(held.values == 1, held.values == 0)

    def compared(self, left: ast.expr, op: ast.cmpop, right: ast.expr) -> Truth:
        a = self.operand(left)
        if isinstance(op, ast.In | ast.NotIn):
            if not isinstance(right, ast.List | ast.Tuple):
                raise ValueError(f"{self.subject} needs a list in square brackets after `in`: {_ADVICE}.")
            never = Truth(np.zeros(len(self.rows), bool), np.ones(len(self.rows), bool))
            any_of = reduce(_JOIN[ast.Or], [self.answer(a, ast.Eq(), self.operand(b)) for b in right.elts], never)
            return any_of if isinstance(op, ast.In) else ~any_of
        return self.answer(a, op, self.operand(right))

    def answer(self, a: Operand, op: ast.cmpop, b: Operand) -> Truth:
        a, b = self.alike(a, b, ordering=not isinstance(op, ast.Eq | ast.NotEq))
        known = np.broadcast_to(~(np.asarray(a.missing) | np.asarray(b.missing)), len(self.rows))
        holds = np.broadcast_to(np.asarray(_COMPARE[type(op)](a.values, b.values), dtype=bool), len(self.rows))
        return Truth(holds & known, ~holds & known)

    def alike(self, a: Operand, b: Operand, *, ordering: bool) -> tuple[Operand, Operand]:
        """Both sides as values that can be compared, or a sentence that says why they cannot."""
        if {a.kind, b.kind} == {"a date", "text"}:
            return self.date(a), self.date(b)
        if a.kind != b.kind:
            named = a if a.column else b
            raise ValueError(
                f"{self.subject} compares {a.kind} with {b.kind}: check whether `{named.column}` holds text, numbers "
                "or dates, and put quotes around text only."
            )
        if a.kind != "text" or not ordering:
            return a, b
        order = a.order or b.order
        if order and all(o.column == "" or o.order == order for o in (a, b)):
            return self.ranked(a, order), self.ranked(b, order)
        # Texts have no order of their own, unless they are dates; a value of the study is looked at first.
        first, second = sorted((a, b), key=lambda side: bool(side.column))
        dated = {id(side): self.date(side) for side in (first, second)}
        return dated[id(a)], dated[id(b)]

    def ranked(self, side: Operand, order: tuple[str, ...]) -> Operand:
        rank = {level: float(i) for i, level in enumerate(order)}
        if not side.column and side.values not in rank:
            raise ValueError(f"{self.subject} compares ordered categories with {side.values!r}, which is none of them.")
        values = [rank.get(v, np.nan) for v in ([side.values] if not side.column else side.values)]
        return side._replace(values=np.asarray(values))

    def date(self, side: Operand) -> Operand:
        if side.kind == "a date":
            return side
        if side.column:
            read = col.dates(pd.Series(side.values).mask(side.missing), side.column)
            return side._replace(values=read.to_numpy(), kind="a date")
        read = pd.to_datetime(pd.Series([side.values]), format="ISO8601", errors="coerce", utc=True)
        if read.isna().all():
            raise ValueError(
                f"{self.subject} asks which comes first of a text or date and {side.values!r}: dates are written as "
                "in '2020-01-31', and other text has no order, so compare it by `==` or `in`."
            )
        return side._replace(values=col.dates(pd.Series([side.values]), "").to_numpy(), kind="a date")

    # ---- operands -------------------------------------------------------------------------

    def operand(self, node: ast.expr) -> Operand:
        match node:
            case ast.Constant(value=bool() | int() | float() as number):
                return Operand(number if abs(number) < 2**63 else self.number(node), "a number")
            case ast.Constant(value=str() as text):
                return Operand(text, "text")
            case ast.Name():
                return self.operand_of_column(self.means[node.id])
        values = self.number(node)
        return Operand(values, "a number", ~np.isfinite(values), next(iter(self.means.values())))

    def operand_of_column(self, name: str) -> Operand:
        column = self.rows[name]
        missing = column.isna().to_numpy(dtype=bool)
        if col.is_date(column):
            return Operand(col.dates(column, name).to_numpy(), "a date", missing, name)
        if col.is_text(column):
            ordered = isinstance(column.dtype, pd.CategoricalDtype) and column.cat.ordered
            order = tuple(map(str, column.cat.categories)) if ordered else ()
            return Operand(column.astype(object).where(~missing, "").to_numpy(), "text", missing, name, order)
        if pd.api.types.is_integer_dtype(column.dtype) and not missing.any():
            return Operand(column.to_numpy(), "a number", missing, name)  # long numbers stay exact
        return Operand(col.numbers(column, name, "column", finite=False), "a number", missing, name)

    def number(self, node: ast.expr) -> Array:
        """Arithmetic in floating point, so that no power can fill the memory."""
        match node:
            case ast.Constant(value=bool() | int() | float() as number):
                try:
                    return np.asarray(number, dtype=float)
                except OverflowError:
                    return np.asarray(np.inf)
            case ast.Name():
                held = self.operand_of_column(self.means[node.id])
                if held.kind == "a number":
                    return np.where(held.missing, np.nan, held.values).astype(float)
            case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=part):
                return -self.number(part) if isinstance(sign, ast.USub) else self.number(part)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _COMPUTE:
                return np.asarray(_COMPUTE[type(op)](self.number(left), self.number(right)))
        raise ValueError(f"{self.subject} calculates with something that is not a number: {_ADVICE}.")
