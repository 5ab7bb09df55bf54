"""What stands around the values: lines of reference, ticks, keys, labels and titles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from impact.show import canvas, digits, series
from impact.show.canvas import QUIET, fit
from impact.show.glossary import percent_unit
from impact.show.series import Look

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_UNITS = {"pp": "percentage points"}


class Words(NamedTuple):
    """What stands on a figure besides its values."""

    xlabel: str | None
    ylabel: str | None
    percent: bool | str
    title: str | None
    own: bool = True  # whether the figure is ours, with a layout that makes room

    def value(self, frame: pd.DataFrame, fallback: str = "estimate") -> str:
        unit = percent_unit(map(str, frame), self.percent)
        return (self.ylabel or fallback) + (f" ({_UNITS.get(unit, unit)})" if unit else "")


def mark_null(line: Callable[..., Any], part: pd.DataFrame, null: float | None) -> None:
    """The value of no effect, where drawing it does not push the estimates into a corner."""
    if null is None or not len(part):
        return
    ends = part[[c for c in ("estimate", "conf_low", "conf_high") if c in part]].to_numpy(float)
    low, high = np.nanmin(ends, initial=np.inf), np.nanmax(ends, initial=-np.inf)
    if low - (high - low) <= null <= high + (high - low):
        line(null, color=QUIET, lw=0.8, zorder=0)


def mark_onset(axes: Axes, times: pd.Series, onset: float | None | str) -> None:
    """The moment from which units are treated, where the times say it or the caller does."""
    if onset == "auto":
        onset = -0.5 if times.min() < 0 <= times.max() else None
    if onset is None:
        return
    axes.axvline(float(onset), color=QUIET, lw=1, ls=(0, (2, 2)), zorder=0)
    axes.annotate("start ", (float(onset), 1), xycoords=("data", "axes fraction"), ha="right", va="top",
                  fontsize=7.5, color="#595959")  # fmt: skip


def time_ticks(drawn: Sequence[Axes], times: pd.Series) -> np.ndarray:
    """Ticks at whole times that readers count in, the same in every panel."""
    from matplotlib.ticker import MaxNLocator

    low, high = min(float(times.min()), 0.0) if times.min() <= 1 else float(times.min()), float(times.max())
    whole = bool((times == times.round()).all())
    crowd = 8 if len(drawn) < 4 else 5
    locator = MaxNLocator(nbins=crowd, steps=[1, 2, 3, 5, 6, 10], integer=whole)
    ticks = np.asarray(locator.tick_values(low, high), dtype=float)
    ticks = ticks[(ticks >= low - 1e-9) & (ticks <= high + 1e-9)]
    for axes in drawn:
        axes.set_xticks(ticks, [digits.label(t) for t in ticks])
    return ticks


def numbers_below(axes: Axes, at_risk: pd.DataFrame, ticks: np.ndarray) -> None:
    """Numbers at risk as further lines of the tick labels, so that they stand under their times."""
    groups = series.split(at_risk, ["group"] if "group" in at_risk else [])
    columns = []
    for at in ticks:
        counts = [part.loc[np.isclose(part["time"].to_numpy(float), at), "at_risk"].tolist() for _, part in groups]
        columns.append("\n".join([digits.label(at), "", *(f"{c[0]:,.0f}" if c else " " for c in counts)]))
    axes.set_xticks(ticks, columns)
    names = "\n".join(["", "At risk", *(fit(name, 18, 1) for name, _ in groups)])
    tick: Any = axes.xaxis.get_major_ticks()[0]
    pad, size = tick.get_pad() + tick.get_tick_padding(), tick.label1.get_fontsize()
    axes.annotate(names, (0, 0), xycoords="axes fraction", xytext=(-20, -pad), textcoords="offset points",
                  ha="right", va="top", fontsize=size, color="#404040")  # fmt: skip


def band_keys(frame: pd.DataFrame, level: float) -> list[Any]:
    """What whiskers and band mean, where the frame has both."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    if not {"band_low", "band_high"} <= set(frame):
        return []
    share = f"{100 * level:g}%"
    return [Line2D([], [], color="#404040", lw=1, marker="|", ls="-", label=f"{share} interval, each value"),
            Patch(color="#404040", alpha=0.16, lw=0, label=f"{share} band, all values at once")]  # fmt: skip


def key(drawn: Sequence[Axes], styles: dict[str, Look], own: bool, extra: Sequence[Any] = ()) -> None:
    """Which line is which, above a figure of ours and within the caller's axes."""
    from matplotlib.lines import Line2D

    lines = [Line2D([], [], label=fit(label, 44, 1), marker=look.marker if extra else "", ms=4, **look.line)
             for label, look in styles.items() if label]  # fmt: skip
    keys: list[Any] = [*lines, *extra]
    if not keys:
        return
    wide = [len(key.get_label()) + 6 for key in keys]
    columns = len(keys) if sum(wide) <= 68 else min(len(keys), max(1, 68 // max(wide)))
    place_key(drawn[0], own, handles=keys, ncols=columns, columnspacing=1.2, handlelength=2.2)


def place_key(axes: Axes, own: bool, **options: Any) -> None:
    """A key above a figure of ours, or where there is room on axes of the caller."""
    home: Any = axes.figure if own else axes
    made = home.legend(loc="outside upper left" if own else "best", frameon=False, **options)
    for text in made.get_texts():
        text.set_parse_math(False)


def name_axes(drawn: Sequence[Axes], x: str, y: str) -> None:
    """The names of the axes: once for all panels."""
    figure: Any = drawn[0].figure
    if len(set(drawn)) == 1:
        drawn[0].set_xlabel(fit(x, 56), parse_math=False)
        drawn[0].set_ylabel(fit(y, 36), parse_math=False)
        return
    figure.supxlabel(fit(x, 56), parse_math=False, fontsize=9)
    figure.supylabel(fit(y, 60), parse_math=False, fontsize=9)


def above(words: Words) -> float:
    """Inches that a title needs."""
    return 0.25 if words.title else 0.0


def finished(drawn: Sequence[Axes], words: Words) -> list[Axes]:
    """The last touches that every figure is given: ticks of large numbers, and the title."""
    for axes in dict.fromkeys(drawn):
        _apart(axes.yaxis)
        _apart(axes.xaxis)
    if words.title:
        canvas.title(drawn, words.title, words.own)
    return list(drawn)


def _apart(axis: Any) -> None:
    """Thousands apart on an axis of large numbers; the ticks that were set by hand stay."""
    from matplotlib.ticker import ScalarFormatter

    if isinstance(axis.get_major_formatter(), ScalarFormatter) and max(map(abs, axis.get_view_interval())) >= 1e4:
        axis.set_major_formatter(lambda value, _: digits.label(value) if value % 1 else digits.fixed(value, 0))
