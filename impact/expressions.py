"""What a study may say about columns: a small language, read here and never run as Python.

A study can come from a file that somebody else wrote. So rules and terms are parsed into a tree, every
node of the tree is looked at, and only the tree is used afterwards: rules are worked out by
:mod:`impact.rules`, terms are written anew by :mod:`impact.terms`. The text itself goes nowhere.
"""

from __future__ import annotations

import ast
import re
import unicodedata
from collections.abc import Collection, Iterator
from typing import NamedTuple

LONGEST = 20_000  # characters: a list of every municipality fits, a bomb of brackets does not matter
DEEPEST = 50  # operations within operations

ARITHMETIC = (ast.BinOp, ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow, ast.Mod, ast.UnaryOp, ast.USub, ast.UAdd)
COMPARISON = (ast.Compare, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq)
ATOM = (ast.Name, ast.Load, ast.Constant)

_KINDS: dict[type[ast.AST], str] = {
    ast.Subscript: "an index in square brackets",
    ast.BinOp: "arithmetic",
    ast.UnaryOp: "arithmetic",
    ast.Compare: "a comparison",
    ast.BoolOp: "a comparison",
    ast.Lambda: "a function of its own",
    ast.JoinedStr: "a formatted text",
    ast.IfExp: "an `if`",
    ast.NamedExpr: "an assignment",
    ast.MatMult: "the sign `@`",
    ast.BitXor: "the sign `^`",
    ast.Is: "the word `is`",
    ast.IsNot: "the words `is not`",
    ast.BitAnd: "the sign `&`",
    ast.BitOr: "the sign `|`",
    ast.Invert: "the sign `~`",
    ast.And: "the word `and`",
    ast.Or: "the word `or`",
    ast.Not: "the word `not`",
    ast.List: "a list",
    ast.Tuple: "a list",
    ast.Dict: "a dictionary",
    ast.Set: "a set",
    **dict.fromkeys((ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp), "a comprehension"),
}

# A name in backticks, a text in quotes, or one character of anything else.
_TOKEN = re.compile(r"""`[^`]*`|'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|.""", re.DOTALL)


class Expression(NamedTuple):
    """A tree, and the columns that its names mean, in the order of their first use."""

    tree: ast.expr
    means: dict[str, str]

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self.means.values()))


def read(text: str, subject: str, columns: Collection[str], functions: Collection[str] = ()) -> Expression:
    """Parse one expression and look its names up among the columns of the table.

    ``subject`` begins the message of whatever is wrong, as in ``"The covariate `log(age)`"``.
    Names in ``functions`` may be called and are not columns where they are.
    """
    plain, quoted = _unquote(text)
    tree = _parse(plain, subject)
    called = {id(n.func) for n in ast.walk(tree) if isinstance(n, ast.Call)}
    spelt = {unicodedata.normalize("NFKC", c): c for c in columns if isinstance(c, str)}
    means: dict[str, str] = {}
    for node in sorted(_found(tree, ast.Name), key=lambda n: (n.lineno, n.col_offset)):
        if id(node) in called or node.id in functions and node.id not in spelt:
            continue
        # Python spells names in one form of Unicode; a column may be spelt in another.
        means[node.id] = quoted[node.id] if node.id in quoted else spelt.get(node.id, node.id)
    lacking = [m for m in dict.fromkeys(means.values()) if m not in columns]
    if lacking:
        raise KeyError(
            f"{subject} reads columns that the data lack: {', '.join(f'`{m}`' for m in lacking)}. Name columns of "
            "the data, with backticks around names that are not one plain word, and quotes around text."
        )
    return Expression(tree, means)


def split(text: str, at: str) -> list[str]:
    """Cut a text at single characters that stand outside brackets, backticks and quotes."""
    parts, depth = [""], 0
    for match in _TOKEN.finditer(text):
        token = match.group()
        depth += (token in tuple("([{")) - (token in tuple(")]}"))
        if token in tuple(at) and depth == 0:
            parts.append("")
        else:
            parts[-1] += token
    return parts


def refuse(tree: ast.AST, allowed: tuple[type[ast.AST], ...], subject: str, advice: str) -> None:
    """Refuse a tree with a node of another kind than those allowed."""
    for node in ast.walk(tree):
        if not isinstance(node, allowed):
            raise ValueError(f"{subject} uses {words(node)}, which is not allowed: {advice}.")


def words(node: ast.AST) -> str:
    """What a node of a tree is, for a message."""
    if isinstance(node, ast.Call):
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        return f"the function `{name}`" if name else "a function call"
    if isinstance(node, ast.Attribute):
        return f"the attribute `.{node.attr}`"
    if isinstance(node, ast.Constant):
        return "a text" if isinstance(node.value, str) else "a value"
    return _KINDS.get(type(node), f"Python's “{type(node).__name__}”")


def _unquote(text: str) -> tuple[str, dict[str, str]]:
    """Plain words in the place of names in backticks; backticks inside quoted text are left alone."""
    stem = "quoted"
    while stem in text:
        stem += "_"
    quoted: dict[str, str] = {}
    plain = []
    for match in _TOKEN.finditer(text):
        token = match.group()
        if len(token) > 2 and token[0] == token[-1] == "`":
            stand_in = f"{stem}{len(quoted)}"
            quoted[stand_in] = token[1:-1]
            token = f" {stand_in} "
        plain.append(token)
    return "".join(plain), quoted


def _parse(text: str, subject: str) -> ast.expr:
    if len(text) > LONGEST:
        raise ValueError(f"{subject} is {len(text):,} characters long: shorten it to {LONGEST:,}.")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # the last two: brackets beyond the parser's depth
        raise ValueError(
            f"{subject} cannot be read: check its spelling, and put backticks around names of columns that are not "
            "one plain word."
        ) from None
    if _depth(tree) > DEEPEST:
        raise ValueError(f"{subject} nests operations more than {DEEPEST} deep: write it more simply.")
    return tree


def _depth(tree: ast.AST) -> int:
    """Levels of a tree, counted without recursion."""
    depth, level = 0, [tree]
    while level:
        depth += 1
        level = [child for node in level for child in ast.iter_child_nodes(node)]
    return depth


def _found(tree: ast.AST, kind: type[ast.Name]) -> Iterator[ast.Name]:
    return (node for node in ast.walk(tree) if isinstance(node, kind))
