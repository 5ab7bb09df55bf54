"""Parts of an average: how much each weighs, and what it says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from impact.show import around, canvas
from impact.show.around import Words
from impact.show.canvas import COLOURS, MARKERS, QUIET, fit
from impact.show.cells import in_percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def weighed(frame: pd.DataFrame, ax: Axes | Figure | None, words: Words, *, whole: float | None = None) -> list[Axes]:
    """Estimates by their weights in an average, a marker for each kind (``term``).

    ``whole`` is the average itself, marked by a line.
    """
    shown = in_percent(frame, words.percent)
    axes = canvas.panels(ax, 1, 2.7, extra=around.above(words))[0]
    kinds = list(dict.fromkeys(frame["term"].astype(str))) if "term" in frame else [""]
    for number, kind in enumerate(kinds):
        part = shown[frame["term"].astype(str) == kind] if "term" in frame else shown
        axes.plot(part["weight"], part["estimate"], ls="", ms=5, alpha=0.85, color=COLOURS[number % len(COLOURS)],
                  marker=MARKERS[number % len(MARKERS)], label=fit(kind, 30, 1) or None)  # fmt: skip
    around.mark_null(axes.axhline, shown, 0.0)
    if whole is not None:
        level = whole * (100.0 if words.percent else 1.0)
        axes.axhline(level, color=QUIET, lw=1, ls=(0, (5, 2)), zorder=0, label="their average")
    axes.set_xlim(left=0)
    axes.set_xlabel(fit(words.xlabel or "weight", 56), parse_math=False)
    axes.set_ylabel(fit(words.value(frame), 36), parse_math=False)
    around.place_key(axes, words.own, ncols=2 if len(kinds) > 1 else 3, columnspacing=1.2, handletextpad=0.5)
    return around.finished([axes], words)
