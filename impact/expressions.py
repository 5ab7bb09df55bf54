"""Rules and terms: what a study may say about columns, read as a small language, never as Python.

Eligibility rules are evaluated by pandas and covariate terms by formulaic, and both evaluate
Python. A study can come from a file that somebody else wrote, so only comparisons, arithmetic
and the listed functions get through.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection
from typing import NamedTuple

TRANSFORMS = frozenset(
    "C I bs cs cr cc poly center scale standardize log log10 log1p exp sqrt abs".split()
)
_CODINGS = frozenset(["contr", "treatment", "sum", "helmert", "diff", "poly", "sas", "Treatment", "Sum"])
_QUOTED = re.compile(r"`([^`]+)`")
_SHARED = (
    ast.Expression, ast.Constant, ast.Name, ast.Load, ast.UnaryOp, ast.USub, ast.UAdd, ast.BinOp, ast.Add,
    ast.Sub, ast.Mult, ast.Div, ast.Pow, ast.Mod, ast.List, ast.Tuple, ast.Compare, ast.Lt, ast.LtE, ast.Gt,
    ast.GtE, ast.Eq, ast.NotEq, ast.In, ast.NotIn, ast.BoolOp, ast.And, ast.Or, ast.Not, ast.Invert,
    ast.BitAnd, ast.BitOr,
)  # fmt: skip
_TERM = (*_SHARED, ast.Call, ast.keyword, ast.Attribute)


class Term(NamedTuple):
    """A covariate term: the text formulaic is given, and the columns it reads."""

    formula: str
    columns: tuple[str, ...]
    plain: tuple[str, ...]
    """Columns used as they stand, outside any function: text there is a factor, numbers are numbers."""


def rule_columns(rule: str) -> tuple[str, ...]:
    """The columns that an eligibility rule compares; anything but a comparison is refused."""
    text, quoted = _unquote(rule)
    tree = _parse(text, f"The eligibility rule `{rule}`")
    for node in ast.walk(tree):
        if not isinstance(node, _SHARED):
            raise ValueError(
                f"The eligibility rule `{rule}` uses {_what(node)}, which rules may not: write comparisons of columns "
                "with values, joined by `and`, `or`, `not`, such as `age >= 30 and status in ['a', 'b']`."
            )
    return _names(tree, quoted)


def term(text: str, columns: Collection[str]) -> Term:
    """Read one covariate term against the columns of the table."""
    if text in columns:
        return Term(f"`{text}`", (text,), (text,))
    used: list[str] = []
    plain: list[str] = []
    for factor in _split(text):
        bare, quoted = _unquote(factor.strip())
        tree = _parse(bare, f"The covariate `{text}`")
        _refuse_code(tree, text)
        names = _names(tree, quoted)
        used += names
        if isinstance(tree.body, ast.Name):
            plain += names
    missing = sorted(set(used) - set(columns))
    if missing:
        raise KeyError(
            f"The covariate `{text}` reads columns that the data lack: {', '.join(f'`{m}`' for m in missing)}. "
            "Name columns of the data, with backticks around names that hold spaces."
        )
    return Term(text, tuple(dict.fromkeys(used)), tuple(dict.fromkeys(plain)))


def _refuse_code(tree: ast.Expression, text: str) -> None:
    for node in ast.walk(tree):
        called = isinstance(node, ast.Call) and (
            (isinstance(node.func, ast.Name) and node.func.id in TRANSFORMS)
            or (isinstance(node.func, ast.Attribute) and node.func.attr in _CODINGS)
        )
        named = isinstance(node, ast.Attribute) and node.attr in _CODINGS and _is_contr(node.value)
        if isinstance(node, _TERM) and not isinstance(node, ast.Call | ast.Attribute) or called or named:
            continue
        raise ValueError(
            f"The covariate `{text}` uses {_what(node)}, which terms may not: use columns, `:` between them, and "
            f"the functions {', '.join(sorted(TRANSFORMS))}."
        )


def _is_contr(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "contr"


def _split(text: str) -> list[str]:
    """Split at ``:`` and ``*`` that stand outside brackets and quotes."""
    parts, depth, start, quote = [], 0, 0, ""
    for i, c in enumerate(text):
        if quote:
            quote = "" if c == quote else quote
        elif c in "'\"`":
            quote = c
        elif c in "([{":
            depth += 1
        elif c in ")]}":
            depth -= 1
        elif c in ":*" and depth == 0:
            parts.append(text[start:i])
            start = i + 1
    return [*parts, text[start:]]


def _unquote(text: str) -> tuple[str, dict[str, str]]:
    quoted: dict[str, str] = {}

    def stand_in(match: re.Match[str]) -> str:
        name = f"_quoted_{len(quoted)}"
        quoted[name] = match.group(1)
        return name

    return _QUOTED.sub(stand_in, text), quoted


def _parse(text: str, subject: str) -> ast.Expression:
    try:
        return ast.parse(text.strip(), mode="eval")
    except SyntaxError:
        raise ValueError(
            f"{subject} is neither a column of the data nor an expression that can be read: check its spelling, "
            "and put backticks around names that hold spaces."
        ) from None


def _names(tree: ast.Expression, quoted: dict[str, str]) -> tuple[str, ...]:
    functions = {id(n.func) for n in ast.walk(tree) if isinstance(n, ast.Call)}
    names = [
        n for n in ast.walk(tree) if isinstance(n, ast.Name) and id(n) not in functions and n.id not in ("contr", "True", "False")
    ]
    names.sort(key=lambda n: (n.lineno, n.col_offset))
    return tuple(dict.fromkeys(quoted.get(n.id, n.id) for n in names))


def _what(node: ast.AST) -> str:
    if isinstance(node, ast.Call):
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        return f"the function `{name}`" if name else "a function call"
    if isinstance(node, ast.Attribute):
        return f"the attribute `.{node.attr}`"
    return f"a {type(node).__name__.lower()}"
