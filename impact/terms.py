"""Covariate terms: what a study may write, read into factors and written anew for formulaic.

formulaic runs what it is given as Python. What it is given is written here, from a tree of which every
node was looked at, with stand-ins for the names of columns. So a column may have any name, and nothing
that a study says is ever run.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Mapping
from itertools import chain, combinations
from typing import NamedTuple

from impact.expressions import ARITHMETIC, ATOM, COMPARISON, read, refuse, split, words

CURVES = frozenset("bs cs cr cc poly".split())
FUNCTIONS = CURVES | frozenset("I center scale standardize log log10 log1p exp sqrt abs".split())
WIDEST = 50  # columns of one curve
_ADVICE = (
    "use columns, `C(column)` for codes, `:` or `*` between them for interactions, and arithmetic inside the "
    f"functions {', '.join(sorted(FUNCTIONS))}, as in `I(age**2)` or `bs(income, 4)`"
)
_SIGNS: dict[type[ast.AST], str] = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Pow: "**", ast.Mod: "%", ast.USub: "-", ast.UAdd: "+",
    ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!=",
}  # fmt: skip


class Factor(NamedTuple):
    """One factor of a term: a column as it stands, codes in ``C(…)``, or a function of numbers."""

    shown: str
    columns: tuple[str, ...]
    kind: str  # "plain", "coded" or "computed"
    write: Callable[[Mapping[str, str]], str]
    """A function of numbers as formulaic is to read it, given stand-ins for the columns."""


class Term(NamedTuple):
    """A covariate term: its text, and its factors, multiplied with or without their main effects."""

    text: str
    factors: tuple[Factor, ...]
    crossed: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(c for f in self.factors for c in f.columns))

    @property
    def products(self) -> tuple[tuple[Factor, ...], ...]:
        """``a:b`` is one product; ``a*b`` is a, b and their product."""
        if not self.crossed:
            return (self.factors,)
        sizes = range(1, len(self.factors) + 1)
        return tuple(chain.from_iterable(combinations(self.factors, k) for k in sizes))


def term(text: str, columns: Collection[str]) -> Term:
    """Read one covariate term against the columns of the table."""
    if text in columns:
        return Term(text, (_column(text, "plain"),))
    subject = f"The covariate `{text}`"
    crossed = split(text, "*")
    multiplied = split(text, ":")
    if len(crossed) > 1 and len(multiplied) > 1 or max(len(crossed), len(multiplied)) > 4:
        raise ValueError(
            f"{subject} mixes `:` and `*`, or multiplies more than four factors: write its interactions as "
            "covariates of their own."
        )
    parts = crossed if len(crossed) > 1 else multiplied
    return Term(text, tuple(_factor(p.strip(), subject, columns) for p in parts), len(crossed) > 1)


def _column(name: str, kind: str) -> Factor:
    return Factor(name, (name,), kind, lambda names: names[name])


def _factor(text: str, subject: str, columns: Collection[str]) -> Factor:
    if text in columns:
        return _column(text, "plain")
    asked = read(text, subject, columns)
    match asked.tree:
        case ast.Name(id=name):
            return _column(asked.means[name], "plain")
        case ast.Call(func=ast.Name(id="C"), args=[ast.Name(id=name)], keywords=[]):
            return _column(asked.means[name], "coded")
        case ast.Call(func=ast.Name(id="C")):
            raise ValueError(f"{subject} has more in `C(…)` than the name of one column: {_ADVICE}.")
        case ast.Call() as call:
            _refuse_code(call, subject)
            if not asked.means:
                raise ValueError(f"{subject} names no column: {_ADVICE}.")
            shown = " ".join(text.replace("`", "").split())
            return Factor(shown, asked.columns, "computed", lambda names: _written(call, {
                spelt: names[column] for spelt, column in asked.means.items()
            }))  # fmt: skip
    raise ValueError(f"{subject} is {words(asked.tree)} outside a function: {_ADVICE}; each sum is two covariates.")


def _refuse_code(tree: ast.Call, subject: str) -> None:
    """Refuse everything but functions of arithmetic on columns, whose further arguments are plain settings."""
    allowed = (*ATOM, *ARITHMETIC, *COMPARISON, ast.Call, ast.keyword, ast.List, ast.Tuple)
    refuse(tree, allowed, subject, _ADVICE)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    for call in calls:
        name = call.func.id if isinstance(call.func, ast.Name) else ""
        if name not in FUNCTIONS:
            raise ValueError(f"{subject} uses {words(call)}, which is not allowed: {_ADVICE}.")
        settings = [(None, a) for a in call.args[1:]] + [(k.arg or "", k.value) for k in call.keywords]
        if not call.args or not all(_is_setting(k, v) for k, v in settings):
            raise ValueError(
                f"{subject} gives `{name}` something other than a column and plain settings (numbers of ordinary "
                f"size, at most {WIDEST} pieces): {_ADVICE}."
            )
        _refuse_other_than_numbers(call.args[0], subject)


def _is_setting(name: str | None, node: ast.expr) -> bool:
    """Whether an argument after the first is a number, a word, yes or no, or a short list of numbers."""
    if name is not None and (not name or name.startswith("_")):
        return False
    if isinstance(node, ast.List | ast.Tuple):
        return len(node.elts) <= WIDEST and all(_is_setting("knot", e) for e in node.elts)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return isinstance(node.operand, ast.Constant) and _is_setting(name, node.operand)
    match node:
        case ast.Constant(value=bool() | None):
            return True
        case ast.Constant(value=str() as word):
            return word.isidentifier() and len(word) < 20
        case ast.Constant(value=int() | float() as number):
            return abs(number) <= (WIDEST if name in (None, "df", "degree") else 1e300)
    return False


def _refuse_other_than_numbers(node: ast.expr, subject: str) -> None:
    match node:
        case ast.Name() | ast.Call() | ast.Constant(value=bool() | int() | float()):
            return
        case ast.BinOp(left=left, right=right) | ast.Compare(left=left, comparators=[right]):
            _refuse_other_than_numbers(left, subject)
            _refuse_other_than_numbers(right, subject)
        case ast.UnaryOp(operand=part):
            _refuse_other_than_numbers(part, subject)
        case _:
            raise ValueError(f"{subject} computes with {words(node)}, which is not a number: {_ADVICE}.")


def _written(node: ast.expr, names: Mapping[str, str]) -> str:
    """The tree as text for formulaic, every number in floating point, so that no power can fill the memory."""
    match node:
        case ast.Name(id=name):
            return names[name]
        case ast.Constant(value=bool() | int() | float() as number):
            return repr(float(number)) if abs(number) < 1e300 else "1e300"
        case ast.UnaryOp(op=op, operand=part):
            return f"({_SIGNS[type(op)]}{_written(part, names)})"
        case ast.BinOp(left=left, op=op, right=right):
            return f"({_written(left, names)} {_SIGNS[type(op)]} {_written(right, names)})"
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            return f"(1.0 * ({_written(left, names)} {_SIGNS[type(op)]} {_written(right, names)}))"
        case ast.Call(func=ast.Name(id=name), args=[first, *rest], keywords=keywords):
            settings = [ast.unparse(r) for r in rest] + [f"{k.arg}={ast.unparse(k.value)}" for k in keywords]
            return f"{name}({', '.join([_written(first, names), *settings])})"
    raise TypeError(f"{type(node).__name__} was not looked at.")
