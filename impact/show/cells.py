"""A tidy frame as columns of words: the one place where numbers become text for every kind of table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from impact.show import digits
from impact.show.glossary import GLOSSARY, IN_OUTCOME_UNIT, LABELS, POINTS, heading, percent_unit

INTERVAL_MEANING = (
    "Of many samples drawn like this one, 95 in 100 would give an interval that holds the true value, "
    "if the assumptions hold."
)
FAR_APART = 50  # times that one standard error exceeds another before they no longer share decimals


class Column(NamedTuple):
    """A column ready to be set: its heading, its cells in words, and whether they are digits."""

    heading: str
    cells: list[str]
    numeric: bool

    @property
    def tails(self) -> list[str]:
        """What each number lacks after its last digit for the points of the column to stand in line."""
        parts = [digits.fraction(cell) if self.numeric else "" for cell in self.cells]
        longest = max(parts, key=len, default="")
        return [_missing(part, longest) for part in parts]


def columns(
    frame: pd.DataFrame, percent: bool | str = False, level: float = 0.95, headings: Mapping[str, str] | None = None
) -> list[Column]:
    """The columns of a tidy frame in words; the two limits of an interval become one column."""
    given = dict(headings or {})
    unit = percent_unit(map(str, frame), percent)
    shown = in_percent(frame, percent)
    places = _decimals_by_row(shown)
    ready = []
    for name in _reading_order(map(str, shown)):
        if name in ("conf_high", "band_high") and name.replace("high", "low") in shown:
            continue
        title = given.get(name, heading(name))
        if name in ("conf_low", "band_low") and name.replace("low", "high") in shown:
            pair = zip(shown[name], shown[name.replace("low", "high")], places, strict=True)
            spans = [digits.interval(low, high, d) for low, high, d in pair]
            ready.append(Column(given.get(name, _span(name, level)) + _in(unit), spans, True))
        elif name in IN_OUTCOME_UNIT and _is_number(shown[name]):
            cells = [digits.fixed(v, d) for v, d in zip(_floats(shown[name]), places, strict=True)]
            # An error of a share is itself a difference.
            ready.append(Column(title + _in(POINTS if percent and name == "std_error" else unit), cells, True))
        else:
            ready.append(_other(name, title, shown[name]))
    return ready


def _reading_order(names: Iterable[str]) -> list[str]:
    """The interval stands beside its estimate: on a narrow screen these two are seen first."""
    order = list(names)
    if {"estimate", "conf_low", "conf_high"} <= set(order):
        ends = ["conf_low", "conf_high"]
        order = [name for name in order if name not in ends]
        at = order.index("estimate") + 1
        order[at:at] = ends
    return order


def without_repeats(frame: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The frame without labels that are the same in every row, and those labels in a sentence."""
    if len(frame) < 2:
        return frame, ""
    labels = [c for c in LABELS if c in frame]
    same = [c for c in labels if not _is_number(frame[c]) and frame[c].notna().all() and frame[c].nunique() == 1]
    if len(same) == len([c for c in frame if c in labels or not _is_number(frame[c])]):
        same = same[1:]  # a row keeps a name
    said = "; ".join(f"{heading(c)}: {_word(frame[c].iloc[0])}" for c in same)
    return frame.drop(columns=same), f"{said}." if said else ""


def _missing(part: str, longest: str) -> str:
    """The end of a fraction such as ".00" that is shorter than the longest of its column."""
    return ("." + "0" * (len(longest) - 1))[len(part) :] if longest else ""


def in_percent(frame: pd.DataFrame, percent: bool | str) -> pd.DataFrame:
    """The frame with what is measured in the outcome's unit counted in hundredths, if asked."""
    if not percent:
        return frame
    scaled = [c for c in IN_OUTCOME_UNIT if c in frame and _is_number(frame[c])]
    return frame.assign(**{c: _floats(frame[c]) * 100 for c in scaled})


def _in(unit: str) -> str:
    return f" ({unit})" if unit else ""


def _span(name: str, level: float) -> str:
    return f"{100 * level:g}% " + ("interval" if name == "conf_low" else "band")


def _decimals_by_row(frame: pd.DataFrame) -> list[int]:
    """Decimals follow the typical standard error of each outcome, so that shares and euros share a table."""
    errors = _floats(frame["std_error"]) if "std_error" in frame else np.full(len(frame), np.nan)
    measured = [c for c in IN_OUTCOME_UNIT if c in frame and c != "std_error" and _is_number(frame[c])]
    values = _floats(frame[measured[0]]) if measured else np.full(len(frame), np.nan)
    key = _scale_of_row(frame, errors)
    chosen = {k: digits.decimals(errors[key == k], values[key == k]) for k in dict.fromkeys(key)}
    return [chosen[k] for k in key]


def _scale_of_row(frame: pd.DataFrame, errors: np.ndarray) -> np.ndarray:
    """Rows measured alike: those of one outcome, or of one term where terms are on scales far apart."""
    if "outcome" in frame:
        return frame["outcome"].astype(str).to_numpy(dtype=object)
    sizes = errors[np.isfinite(errors) & (errors > 0)]
    if "term" in frame and len(sizes) and sizes.max() > FAR_APART * sizes.min():
        return frame["term"].astype(str).to_numpy(dtype=object)
    return np.zeros(len(frame), dtype=int)


def _other(name: str, title: str, values: pd.Series) -> Column:
    if pd.api.types.is_bool_dtype(values):
        return Column(title, ["yes" if v else "no" for v in values], False)
    if not _is_number(values):
        return Column(title, [_word(v) for v in values], False)
    found = _floats(values)
    if name == "p_value":
        return Column(title, [digits.p_value(v) for v in found], True)
    if name == "adoption_group":
        return Column(title, ["never" if np.isinf(v) else digits.label(v) for v in found], True)
    if name == "time":
        return Column(title, ["" if np.isnan(v) else digits.label(v) for v in found], True)
    whole = bool(np.all((found == np.round(found)) | ~np.isfinite(found)))
    if whole:
        return Column(title, [digits.fixed(v, 0) for v in found], True)
    places = GLOSSARY[name].decimals if name in GLOSSARY else None
    if places is None and name.startswith("mean"):
        return Column(title, [digits.plain(v) for v in found], True)  # each row has a scale of its own
    if places is None:
        places = digits.decimals((), [np.nanmax(np.abs(found[np.isfinite(found)]), initial=0)])
    return Column(title, [digits.fixed(v, places) for v in found], True)


def _is_number(values: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)


def _floats(values: pd.Series) -> np.ndarray:
    return values.to_numpy(dtype=float, na_value=np.nan)


def _word(value: object) -> str:
    """A label in words; numbers that stand in a column of labels keep their value, dates their day."""
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and np.isnan(value)):
        return ""
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, (float, np.floating)):
        return digits.label(float(value))
    if isinstance(value, pd.Timestamp) and value == value.normalize():
        return value.date().isoformat()
    return str(value)
