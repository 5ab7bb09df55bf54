"""The templates that lie beside this file, each filled with everything escaped for its language."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

from impact.show import escape


class Tex(str):
    """LaTeX that this package wrote itself, which a template sets as it stands."""


def html(template: str, **words: Any) -> str:
    """A template filled for HTML: every word is escaped unless it is marked as HTML already."""
    return str(_html_environment().get_template(template).render(**words))


def tex(template: str, **words: Any) -> str:
    """A template filled for LaTeX: every word is escaped unless it is :class:`Tex`."""
    return str(_tex_environment().get_template(template).render(**words))


def _read(name: str) -> str:
    return (files("impact.show") / name).read_text(encoding="utf-8")


@cache
def _html_environment() -> Any:
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FunctionLoader(_read), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip


@cache
def _tex_environment() -> Any:
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FunctionLoader(_read), autoescape=False, undefined=jinja2.StrictUndefined,
        block_start_string="<%", block_end_string="%>", variable_start_string="<<", variable_end_string=">>",
        comment_start_string="<#", comment_end_string="#>", trim_blocks=True, lstrip_blocks=True,
        finalize=lambda word: word if isinstance(word, Tex) else escape.latex(word),
    )  # fmt: skip
