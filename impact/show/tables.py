"""Tidy frames as tables in text, HTML, LaTeX, Markdown and CSV, escaped for each."""

from __future__ import annotations

import csv as _csv
import io
import textwrap
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from impact.show import cells, escape, templates
from impact.show.cells import Column
from impact.show.glossary import percent_unit

LONG = 40  # rows from which a table runs over pages in LaTeX and scrolls in HTML
_WIDE_CELL = 34  # characters from which a text cell wraps in LaTeX
_FIGURE_SPACE, _POINT_SPACE = "\u2007", "\u2008"  # as wide as a digit, and as a point


def text(
    frame: pd.DataFrame,
    caption: str = "",
    notes: Sequence[str] = (),
    percent: bool | str = False,
    level: float = 0.95,
    headings: Mapping[str, str] | None = None,
    max_rows: int | None = 60,
) -> str:
    """The table for a terminal.

    Parameters
    ----------
    frame : tidy frame, one row a value, columns of the glossary first among others.
    caption, notes : words above and below the table.
    percent : True shows what is in the outcome's unit times 100, in percentage points; a string
        does the same under another unit, such as ``"%"`` for shares.
    level : the confidence level that the limits in the frame have; it goes into the heading.
    headings : other headings for some columns.
    max_rows : rows shown before the middle is left out; None shows all.

    Labels that are the same in every row stand below the table instead of in it, except in CSV.
    """
    columns, said = _prepared(frame, notes, percent, level, headings)
    ready = [Column(escape.plain(c.heading), [_clip(escape.plain(v)) for v in c.cells], c.numeric) for c in columns]
    ready = [c._replace(cells=[v + " " * len(tail) for v, tail in zip(c.cells, c.tails, strict=True)]) for c in ready]
    widths = [max(map(_width, [c.heading, *c.cells])) for c in ready]
    rows = [[c.cells[i] for c in ready] for i in range(len(frame))]
    lines = [_line(row, widths, ready) for row in rows]
    if max_rows is not None and len(lines) > max_rows:
        half = max(max_rows // 2, 1)
        lines = [*lines[:half], f"... {len(lines) - 2 * half} rows more ...", *lines[-half:]]
    head = _line([c.heading for c in ready], widths, ready)
    body = [head, "-" * _width(head), *(lines or ["(no rows)"])]
    return "\n".join([*_said(caption), *body, *(line for n in said for line in _said(n))])


def html(
    frame: pd.DataFrame,
    caption: str = "",
    notes: Sequence[str] = (),
    percent: bool | str = False,
    level: float = 0.95,
    headings: Mapping[str, str] | None = None,
) -> str:
    """The table as an HTML fragment: caption, scoped headers, a container that scrolls.

    Parameters as :func:`text`.
    """
    columns, said = _prepared(frame, notes, percent, level, headings)
    ready = [c._replace(cells=[v + _padding(t) for v, t in zip(c.cells, c.tails, strict=True)]) for c in columns]
    return templates.html(
        "table.html",
        caption=caption,
        columns=[{"heading": escape.plain(c.heading), "class": "number" if c.numeric else "word"} for c in ready],
        rows=[[_html_text(c.cells[i]) for c in ready] for i in range(len(frame))],
        long=len(frame) > LONG,
        notes=said,
    ).strip()


def latex(
    frame: pd.DataFrame,
    caption: str = "",
    notes: Sequence[str] = (),
    percent: bool | str = False,
    level: float = 0.95,
    headings: Mapping[str, str] | None = None,
    label: str | None = None,
) -> str:
    r"""The table in LaTeX with booktabs; beyond forty rows a ``longtable``. Parameters as :func:`text`.

    It needs ``booktabs``, ``longtable`` and, for letters such as ą or þ, ``[T1]{fontenc}``. ``label`` names
    it for ``\ref``; without one it is ``tab:`` and the caption.
    """
    ready, said = _prepared(frame, notes, percent, level, headings)
    label = label or (escape.latex_label(caption, "tab") if caption else "")
    size, spec, wraps = _layout(ready)
    head = " & ".join(_tex_heading(c) for c in ready) + r" \tabularnewline"
    body = [_tex_row([c.cells[i] for c in ready], [c.tails[i] for c in ready], wraps) for i in range(len(frame))]
    title = [rf"\caption{{{escape.latex(caption)}}}" + (rf"\label{{{label}}}" if label else "")] if caption else []
    foot = [rf"\par\smallskip\parbox{{\linewidth}}{{\footnotesize {escape.latex(n)}}}" for n in said]
    if len(frame) > LONG:
        lines = _longtable(size, spec, title, head, body, foot)
    else:
        table = [
            rf"\begin{{tabular}}{{{spec}}}",
            r"\toprule",
            head,
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
        ]
        space = [r"\par\smallskip"] if title else []
        lines = [r"\begin{table}[htbp]", r"\centering", size, *title, *space, *table, *foot, r"\end{table}"]
    return "\n".join(line for line in lines if line)


def markdown(
    frame: pd.DataFrame,
    caption: str = "",
    notes: Sequence[str] = (),
    percent: bool | str = False,
    level: float = 0.95,
    headings: Mapping[str, str] | None = None,
) -> str:
    """The table as GitHub-flavoured Markdown. Parameters as :func:`text`."""
    ready, said = _prepared(frame, notes, percent, level, headings)
    lines = [
        "| " + " | ".join(escape.markdown(c.heading) for c in ready) + " |",
        "|" + "|".join("---:" if c.numeric else ":---" for c in ready) + "|",
        *("| " + " | ".join(escape.markdown(c.cells[i]) for c in ready) + " |" for i in range(len(frame))),
    ]
    parts = ["\n".join(lines), *(escape.markdown(n) for n in said)]
    return "\n\n".join([f"**{escape.markdown(caption)}**", *parts] if caption else parts)


def csv(
    frame: pd.DataFrame,
    caption: str = "",
    notes: Sequence[str] = (),
    percent: bool | str = False,
    level: float = 0.95,
    headings: Mapping[str, str] | None = None,
) -> str:
    """The table as data: the frame's own columns, every number in full precision, no text that is a formula.

    ``caption``, ``notes``, ``percent`` and ``level`` are taken so that all five kinds are called alike; a
    file of data holds none of them, and no number in it is rounded or scaled.
    """
    given = dict(headings or {})
    stream = io.StringIO()
    writer = _csv.writer(stream, lineterminator="\n")
    writer.writerow([escape.csv_cell(given.get(c, c)) for c in map(str, frame)])
    writer.writerows(zip(*([_datum(v) for v in frame[c]] for c in frame), strict=True) if len(frame.columns) else [])
    return stream.getvalue()


# Text -----------------------------------------------------------------------------------------


def _prepared(
    frame: pd.DataFrame,
    notes: Iterable[str],
    percent: bool | str,
    level: float,
    headings: Mapping[str, str] | None,
) -> tuple[list[Column], list[str]]:
    """The columns in words, and what is to be said below them."""
    unit = percent_unit(map(str, frame), percent)
    shown, same = cells.without_repeats(frame)
    ready = cells.columns(shown, unit, level, headings)
    explained = ["pp: percentage points."] if any(c.heading.endswith("(pp)") for c in ready) else []
    return ready, [*([same] if same else []), *(str(n) for n in notes if str(n)), *explained]


def _said(words: str) -> list[str]:
    return [escape.plain(words)] if words else []


def _width(word: str) -> int:
    """Columns that a word takes in a terminal."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in word)


def _clip(word: str, longest: int = 60) -> str:
    return word if len(word) <= longest else word[: longest - 1] + "\u2026"


def _line(row: list[str], widths: list[int], ready: list[Column]) -> str:
    pads = [" " * (width - _width(word)) for word, width in zip(row, widths, strict=True)]
    set_ = [p + w if c.numeric else w + p for w, p, c in zip(row, pads, ready, strict=True)]
    return "  ".join(set_).rstrip()


def _padding(tail: str) -> str:
    return tail.replace(".", _POINT_SPACE).replace("0", _FIGURE_SPACE)


def _html_text(word: str) -> str:
    """Cleaned as everywhere, except that the padding at the end of a number stays."""
    kept = word.rstrip(_POINT_SPACE + _FIGURE_SPACE)
    return escape.plain(kept) + word[len(kept) :]


def _datum(value: object) -> str:
    if value is None or value is pd.NA or value is pd.NaT:
        return ""
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value))
    if isinstance(value, (int, np.integer)):
        return str(int(value))
    if isinstance(value, (float, np.floating)):
        return "" if np.isnan(value) else repr(float(value))
    return escape.csv_cell(value)


# LaTeX ----------------------------------------------------------------------------------------


def _layout(ready: list[Column]) -> tuple[str, str, list[bool]]:
    """The size of the letters, the columns, and which of them wrap.

    A line of an article holds about 70 characters, 88 in footnotes; text columns wrap when their cells are
    long or the numbers leave too little room.
    """
    widths = [max([*map(len, _heading_lines(c)), *map(len, c.cells)], default=0) + 2 for c in ready]
    total = sum(widths)
    size = "" if total <= 68 else r"\small" if total <= 76 else r"\footnotesize"
    room = {"": 68, r"\small": 76, r"\footnotesize": 88}[size]
    wraps = [not c.numeric and (w > _WIDE_CELL or total > room and w > 14) for c, w in zip(ready, widths, strict=True)]
    fixed = sum(w for w, wrap in zip(widths, wraps, strict=True) if not wrap)
    flexible = sum(w for w, wrap in zip(widths, wraps, strict=True) if wrap)
    left = max(min(flexible, room - fixed), 12 * sum(wraps)) / room
    shares = [min(w, 80) if wrap else 0 for w, wrap in zip(widths, wraps, strict=True)]
    spec = "".join(
        ("r" if c.numeric else "l") if not wrap else f"p{{{0.92 * left * share / sum(shares):.2f}\\linewidth}}"
        for c, wrap, share in zip(ready, wraps, shares, strict=True)
    )
    return size, spec, wraps


def _heading_lines(column: Column) -> list[str]:
    """A heading over numbers stands on as many lines as keep it from being much wider than they are."""
    words, bracket, unit = column.heading.partition(" (")
    widest = max([*map(len, column.cells), 9], default=9)
    if not column.numeric or len(column.heading) <= widest + 1:
        return [column.heading]
    return [*textwrap.wrap(words, widest, break_long_words=False), *([f"({unit}"] if bracket else [])]


def _tex_heading(column: Column) -> str:
    lines = [escape.latex(line) for line in _heading_lines(column)]
    if len(lines) == 1:
        return lines[0]
    return r"\begin{tabular}[b]{@{}r@{}}" + r"\tabularnewline ".join(lines) + r"\end{tabular}"


def _tex_row(words: list[str], tails: list[str], wraps: list[bool]) -> str:
    said = [
        (r"\raggedright " if wrap else "") + escape.latex(w) + (rf"\phantom{{{tail}}}" if tail else "")
        for w, tail, wrap in zip(words, tails, wraps, strict=True)
    ]
    return " & ".join(said) + r" \tabularnewline"


def _longtable(size: str, spec: str, title: list[str], head: str, body: list[str], foot: list[str]) -> list[str]:
    named = [title[0] + r"\tabularnewline"] if title else []
    return [
        "{" + (size or r"\normalsize"),
        rf"\begin{{longtable}}{{{spec}}}",
        *named,
        r"\toprule",
        head,
        r"\midrule",
        r"\endfirsthead",
        r"\toprule",
        head,
        r"\midrule",
        r"\endhead",
        r"\bottomrule",
        r"\endfoot",
        *body,
        r"\end{longtable}",
        *foot,
        r"\par}",
    ]
