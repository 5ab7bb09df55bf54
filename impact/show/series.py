"""Which rows of a tidy frame belong together: panels, series and the names of rows, in the order of the frame."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from impact.show import digits
from impact.show.canvas import COLOURS, DASHES, MARKERS
from impact.show.glossary import GLOSSARY, LABELS, heading

_SCALES_APART = 20  # times by which outcomes' errors differ before they get axes of their own


class Look(NamedTuple):
    number: int

    @property
    def line(self) -> dict[str, Any]:
        i = self.number % len(COLOURS)
        return {"color": COLOURS[i], "linestyle": DASHES[i]}

    @property
    def marker(self) -> str:
        return MARKERS[self.number % len(MARKERS)]

    def shift(self, step: float, count: int) -> float:
        """How far this series stands beside the others, so that whiskers do not hide each other."""
        return (self.number - (count - 1) / 2) * min(0.16, 0.6 / count) * step


def panels_and_series(frame: pd.DataFrame, one: bool) -> tuple[list[str], list[str]]:
    """The labels that open panels, and those that tell series apart within one."""
    varying = [c for c in label_columns(frame) if c != "time" and frame[c].nunique(dropna=False) > 1]
    panels: list[str] = [] if one else [c for c in ("outcome", "cause") if c in varying]
    over = [c for c in varying if c not in panels]
    count = len(frame[over].drop_duplicates()) if over else 1
    if not one and not panels and count > 3 and len(over) == 1 and over != ["group"]:
        panels, over = over, []
    return panels, over


def label_columns(frame: pd.DataFrame) -> list[str]:
    """The columns that tell one value from another, in the order in which a reader takes them in."""
    known = [c for c in LABELS if c in frame]
    others = [c for c in frame if c not in known and c not in GLOSSARY and not _is_float(frame[c])]
    return [*known, *(str(c) for c in others)]


def _is_float(values: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)


def split(frame: pd.DataFrame, columns: Sequence[str]) -> list[tuple[str, pd.DataFrame]]:
    """The parts of a frame in the order in which they appear, each with its name in words."""
    if not columns:
        return [("", frame)]
    keys = names(frame, columns)
    return [(key, frame[(keys == key).to_numpy()]) for key in dict.fromkeys(keys)]


def names(frame: pd.DataFrame, columns: Sequence[str]) -> pd.Series:
    """Each row in words, by its labels in these columns."""
    said = [frame[c].map(lambda v, c=c: _said(c, v)) for c in columns]
    return pd.Series(
        [" \u00b7 ".join(filter(None, row)) for row in zip(*said, strict=True)], index=frame.index, dtype=object
    )


def _said(column: str, value: Any) -> str:
    if value is None or value is pd.NA or value is pd.NaT or value != value:
        return ""
    if isinstance(value, (int, float, np.number)) and not isinstance(value, bool):
        if column == "adoption_group" and np.isinf(value):
            return "never adopted"
        word = digits.label(float(value))
        return f"{heading(column).lower()} {word}" if column in ("time", "adoption_group") else word
    return str(value)


def styles(frame: pd.DataFrame, over: Sequence[str]) -> dict[str, Look]:
    """The look of each line: colour, dashes and marker by its place."""
    return {label: Look(i) for i, label in enumerate(dict.fromkeys(label for label, _ in split(frame, over)))}


def row_names(part: pd.DataFrame, without: Iterable[str]) -> list[str]:
    """Each row by the labels in which rows differ."""
    columns = [c for c in label_columns(part) if c not in set(without)]
    varying = [c for c in columns if part[c].nunique(dropna=False) > 1]
    chosen = varying or columns[:1]
    return list(names(part, chosen)) if chosen else [""] * len(part)


def rows(labels: Sequence[str]) -> np.ndarray:
    """Where rows stand from the top down, with room for names of two lines."""
    tall = np.array([1 + 0.75 * name.count("\n") for name in labels])
    return -(np.cumsum(tall) - tall / 2)


def by_scale(frame: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Outcomes on scales too far apart for one axis, each with its own."""
    if "outcome" not in frame or "std_error" not in frame or frame["outcome"].nunique() < 2:
        return [("", frame)]
    parts = split(frame, ["outcome"])
    sizes = np.array([part["std_error"].abs().median() for _, part in parts], dtype=float)
    sizes = sizes[np.isfinite(sizes) & (sizes > 0)]
    return parts if len(sizes) and sizes.max() > _SCALES_APART * sizes.min() else [("", frame)]


def alike(parts: Sequence[tuple[str, pd.DataFrame]]) -> bool:
    """Whether panels can share an axis without flattening one of them."""
    spans = [float(np.ptp(part["estimate"])) + 2 * float(np.nanmax(part["std_error"], initial=0))
             for _, part in parts if len(part) and "std_error" in part]  # fmt: skip
    good = [s for s in spans if np.isfinite(s) and s > 0]
    return not good or max(good) <= 6 * min(good)
