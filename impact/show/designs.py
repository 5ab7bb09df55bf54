"""What a design did: balance before and after, and where the arms overlap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from impact.show import around, canvas, series
from impact.show.around import Words
from impact.show.canvas import COLOURS, QUIET, fit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_TERMS = 60


def love(
    frame: pd.DataFrame,
    ax: Axes | Figure | None,
    words: Words,
    *,
    threshold: float | None = None,
    most: int = MOST_TERMS,
) -> list[Axes]:
    """Standardised differences before and after the design, a line each.

    With more than ``most`` terms, those that differ most are drawn and the axis says how many there are.
    ``threshold`` is the difference that the check tolerates; a column of that name does the same.
    """
    kinds = [c for c in ("before", "after") if c in frame]
    sizes = frame[kinds].abs()
    kept = np.sort(np.argsort(-sizes.max(axis=1).fillna(0).to_numpy(), kind="stable")[:most])
    sizes = sizes.iloc[kept]
    few = len(kept) <= 25
    labels = series.names(frame, [c for c in ("subgroup", "term") if c in frame]).iloc[kept]
    names = [fit(t, 28, 2) if few else fit(t, 34, 1) for t in labels]
    at = series.rows(names)
    room = (0.2 if few else 0.155) * float(np.ptp(at))
    axes = canvas.panels(ax, 1, 0.0, extra=max(1.25 + room, 1.6) + 0.25 * bool(words.title))[0]
    if len(kinds) == 2:
        axes.hlines(at, sizes.min(axis=1), sizes.max(axis=1), color="#b3b3b3", lw=1, zorder=1)
    looks = {"before": {"marker": "o", "mfc": "white", "mec": COLOURS[1], "mew": 1.2},
             "after": {"marker": "D", "mfc": COLOURS[0], "mec": COLOURS[0]}}  # fmt: skip
    for kind in kinds:
        axes.plot(sizes[kind], at, ls="", ms=4.6 if kind == "before" else 3.8, label=kind, **looks[kind])  # type: ignore[arg-type]
    limit = threshold if threshold is not None else _first(frame, "threshold")
    if limit is not None:
        axes.axvline(limit, color=QUIET, lw=1, ls=(0, (2, 2)), zorder=0, label=f"threshold {limit:g}")
    axes.set_yticks(at, names, parse_math=False, fontsize=None if few else 7.5)
    axes.set_ylim(at.min() - 0.9, at.max() + 0.9)
    axes.tick_params(axis="y", length=0)
    axes.set_xlim(left=0)
    label = words.xlabel or "absolute standardised difference in means"
    if len(frame) > most:
        label += f" (the {most} largest of {len(frame):,})"
    axes.set_xlabel(fit(label, 56), parse_math=False, loc="right")
    around.place_key(axes, words.own, ncols=3, columnspacing=1.2, handletextpad=0.5)
    if words.title:
        canvas.title([axes], words.title, words.own)
    return [axes]


def overlap(
    frame: pd.DataFrame,
    ax: Axes | Figure | None,
    words: Words,
    *,
    arms: Sequence[str] = ("treated", "comparison"),
) -> list[Axes]:
    """Where the arms lie on the score: the treated arm's bars point up, the comparison's down.

    Each arm's bars are shares of that arm, so that arms of different size can be compared.
    """
    axes = canvas.panels(ax, 1, 2.7, extra=0.25 * bool(words.title))[0]
    left = frame["score_low"].to_numpy(float)
    width = frame["score_high"].to_numpy(float) - left
    for column, sign, colour, hatch, name in (
        ("treated", 1, COLOURS[0], "", arms[0]),
        ("comparison", -1, COLOURS[1], "////", arms[1]),
    ):
        count = frame[column].to_numpy(float)
        share = 100 * count / count.sum() if count.sum() > 0 else count
        axes.bar(left, sign * share, width, align="edge", label=fit(name, 30, 1), hatch=hatch, linewidth=0.7,
                 facecolor=colour if sign > 0 else "white", edgecolor=colour)  # fmt: skip
    axes.axhline(0, color="black", lw=0.7)
    peopled = np.flatnonzero(frame["treated"].to_numpy(float) + frame["comparison"].to_numpy(float))
    if len(peopled):
        axes.set_xlim(left[peopled[0]] - 0.01, (left + width)[peopled[-1]] + 0.01)
    axes.yaxis.set_major_formatter(lambda value, _: f"{abs(value):g}")
    axes.set_xlabel(fit(words.xlabel or "propensity score", 56), parse_math=False)
    axes.set_ylabel(fit(words.ylabel or "share of each arm (%)", 36), parse_math=False)
    around.place_key(axes, words.own, ncols=3, columnspacing=1.2, handletextpad=0.5)
    if words.title:
        canvas.title([axes], words.title, words.own)
    return [axes]


def _first(frame: pd.DataFrame, column: str) -> float | None:
    return float(frame[column].iloc[0]) if column in frame and len(frame) else None
