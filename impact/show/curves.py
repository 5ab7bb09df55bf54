"""Estimates as points, paths over time, and step curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from impact.show import around, canvas, series
from impact.show.around import Words
from impact.show.canvas import COLOURS, fit
from impact.show.cells import in_percent
from impact.show.glossary import heading
from impact.show.series import Look

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CROWD = 40  # points on a path from which whiskers give way to a band
Parts = Sequence[tuple[str, pd.DataFrame]]


def points(frame: pd.DataFrame, ax: Axes | Figure | None, words: Words, *, null: float | None = 0.0) -> list[Axes]:
    """Estimates as points with their intervals, a line each.

    ``null`` is the value of no effect, marked where it is near the estimates; None leaves it out.
    """
    shown = in_percent(frame, words.percent)
    parts = [("", shown)] if canvas.is_axes(ax) else series.by_scale(shown)
    names = [[fit(n, 30) for n in series.row_names(part, ["outcome"] if title else [])] for title, part in parts]
    lines = [sum(1 + 0.75 * name.count("\n") for name in column) for column in names]
    room = 0.95 * len(parts) + sum(lines) * (0.24 if sum(lines) <= 40 else 0.17) + around.above(words)
    shares = {"height_ratios": [n + 1 for n in lines]}
    drawn = canvas.panels(ax, len(parts), 0.0, extra=room, gridspec_kw=shares)
    for axes, (title, part), labels in zip(drawn, parts, names, strict=True):
        at = series.rows(labels)
        axes.errorbar(part["estimate"], at, xerr=_reach(part), fmt="o", color=COLOURS[0], capsize=2, ms=4.5)
        axes.set_yticks(at, labels, parse_math=False)
        axes.set_ylim(min(at) - 0.8, max(at) + 0.8)
        axes.tick_params(axis="y", length=0)
        axes.locator_params(axis="x", nbins=5)  # long names leave little room, and wide numbers need it
        around.mark_null(axes.axvline, part, null)
        _headed(axes, title)
    said = words.value(frame) if words.ylabel or not words.xlabel else words._replace(ylabel=words.xlabel).value(frame)
    # The names on the left push the axes aside: a long label ends where they end, so as not to run off the page.
    drawn[-1].set_xlabel(fit(said, 56), parse_math=False, loc="right")
    return around.finished(drawn, words)


def path(
    frame: pd.DataFrame,
    ax: Axes | Figure | None,
    words: Words,
    *,
    onset: float | None | str = "auto",
    null: float | None | str = "auto",
    level: float = 0.95,
) -> list[Axes]:
    """Estimates over time: a marker and an interval each, and a lighter band that covers all of them at once.

    Several outcomes or ways out stand in panels, other groups beside each other in one. ``onset`` marks where
    treatment starts: by default half a step before zero where there are times before zero. ``null`` is the value
    of no effect: by default zero, unless the values are levels of groups. ``level`` goes into the key of the band.
    A path of one time is no path: it is drawn as :func:`points`.
    """
    if frame["time"].nunique() < 2:
        return points(frame, ax, words._replace(xlabel=None), null=0.0 if null == "auto" else null)  # type: ignore[arg-type]
    shown = in_percent(frame, words.percent)
    no_effect: Any = (None if "group" in frame else 0.0) if null == "auto" else null
    drawn, parts, over, styles = _opened(shown, ax, words)
    for axes, (title, part) in zip(drawn, parts, strict=True):
        for label, line in series.split(part, over):
            _one_path(axes, line, styles[label], len(styles))
        around.mark_null(axes.axhline, part, no_effect)
        around.mark_onset(axes, shown["time"], onset)
        _headed(axes, title, narrow=len(parts) > 3)
    around.time_ticks(drawn, shown["time"])
    around.key(drawn, styles, words.own, extra=around.band_keys(shown, level))
    around.name_axes(drawn, words.xlabel or heading("time").lower(), words.value(frame))
    return around.finished(drawn, words)


def steps(
    frame: pd.DataFrame,
    ax: Axes | Figure | None,
    words: Words,
    *,
    at_risk: pd.DataFrame | None = None,
    start: float | None = None,
) -> list[Axes]:
    """Step curves with their intervals, one a group; ways out stand in panels.

    ``at_risk`` has columns ``time`` and ``at_risk``, and ``group`` where there are several: its numbers stand
    below the axis. ``start`` is the value at time zero, drawn where the frame has none: 0 or 1.
    """
    shown = in_percent(frame, words.percent)
    groups = 0 if at_risk is None else 2 + (at_risk["group"].nunique() if "group" in at_risk else 1)
    drawn, parts, over, styles = _opened(shown, ax, words, below=0.16 * groups, alike=True)
    for axes, (title, part) in zip(drawn, parts, strict=True):
        for label, line in series.split(part, over):
            _one_step(axes, _from_zero(line, start, words.percent), styles[label])
        _headed(axes, title, narrow=len(parts) > 3)
        if (shown[[c for c in ("estimate", "conf_low") if c in shown]].min() >= 0).all():
            axes.set_ylim(bottom=0)
        axes.set_xlim(left=min(0, shown["time"].min()))
    ticks = around.time_ticks(drawn, shown["time"])
    if at_risk is not None:
        around.numbers_below(drawn[-1], at_risk, ticks)
    around.key(drawn, styles, words.own)
    around.name_axes(drawn, words.xlabel or heading("time").lower(), words.value(frame))
    return around.finished(drawn, words)


def _opened(
    frame: pd.DataFrame, ax: Axes | Figure | None, words: Words, below: float = 0.0, alike: bool = False
) -> tuple[list[Axes], Parts, list[str], dict[str, Look]]:
    """Axes for the panels of a frame, its parts, and how each series looks in all of them."""
    split, over = series.panels_and_series(frame, canvas.is_axes(ax))
    parts = series.split(frame, split)
    styles = series.styles(frame, over)
    drawn = canvas.panels(
        ax,
        len(parts),
        1.75 if len(parts) > 1 else 2.6,
        extra=0.45 + around.above(words) + 0.2 * (len(styles) > 1) + below,
        columns=1 if len(parts) < 4 else 2,
        sharex=True,
        sharey=alike or series.alike(parts),
    )
    return drawn, parts, over, styles


def _headed(axes: Axes, title: str, narrow: bool = False) -> None:
    if title:
        axes.set_title(fit(title, 30 if narrow else 60), parse_math=False)


# One series -----------------------------------------------------------------------------------


def _one_path(axes: Axes, line: pd.DataFrame, look: Look, count: int) -> None:
    line = line.sort_values("time", kind="stable")
    at = line["time"].to_numpy(float)
    at = at + look.shift(float(np.min(np.diff(np.unique(at)), initial=np.inf)) if len(set(at)) > 1 else 1.0, count)
    colour = look.line["color"]
    if {"band_low", "band_high"} <= set(line):
        axes.fill_between(at, line["band_low"], line["band_high"], color=colour, alpha=0.14, lw=0)
    if len(line) > _CROWD:
        axes.fill_between(at, line["conf_low"], line["conf_high"], color=colour, alpha=0.25, lw=0)
        axes.plot(at, line["estimate"], **look.line)
        return
    size = 4 if len(line) <= 20 else 3
    whisker = axes.errorbar(at, line["estimate"], yerr=_reach(line), marker=look.marker, ms=size, lw=1.1,
                            elinewidth=1.0, capsize=0 if len(line) > 20 else 2, **look.line)  # fmt: skip
    for bar in whisker.lines[2]:
        bar.set_linestyle("-")


def _one_step(axes: Axes, line: pd.DataFrame, look: Look) -> None:
    line = line.sort_values("time", kind="stable")
    axes.step(line["time"], line["estimate"], where="post", **look.line)
    if {"conf_low", "conf_high"} <= set(line):
        axes.fill_between(line["time"], line["conf_low"], line["conf_high"], step="post", alpha=0.16, lw=0,
                          color=look.line["color"])  # fmt: skip


def _from_zero(line: pd.DataFrame, start: float | None, percent: bool | str) -> pd.DataFrame:
    if start is None or line["time"].min() <= 0:
        return line
    value = 100 * start if percent else start
    first = line.head(1).assign(time=0.0, estimate=value, conf_low=value, conf_high=value)
    return pd.concat([first, line], ignore_index=True)


def _reach(part: pd.DataFrame) -> np.ndarray | None:
    if not {"conf_low", "conf_high"} <= set(part):
        return None
    middle = part["estimate"].to_numpy(float)
    reach = np.array([middle - part["conf_low"].to_numpy(float), part["conf_high"].to_numpy(float) - middle])
    return np.where(np.isfinite(reach), np.maximum(reach, 0), 0)
