"""Tidy frames as pictures on matplotlib axes, and pictures as files that are the same each time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from impact.show import canvas, curves, designs, weighed
from impact.show.around import Words
from impact.show.canvas import described, pdf, pdf_bytes, svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["KINDS", "described", "draw", "pdf", "pdf_bytes", "svg"]

# Each kind with the columns that it cannot do without.
KINDS = {
    "points": (curves.points, ("estimate",)),
    "path": (curves.path, ("time", "estimate")),
    "steps": (curves.steps, ("time", "estimate")),
    "love": (designs.love, ("term", "after")),
    "overlap": (designs.overlap, ("score_low", "score_high", "treated", "comparison")),
    "weighed": (weighed.weighed, ("weight", "estimate")),
}


def draw(
    frame: pd.DataFrame,
    kind: str,
    ax: Axes | Figure | None = None,
    *,
    xlabel: str | None = None,
    ylabel: str | None = None,
    percent: bool | str = False,
    title: str | None = None,
    **options: Any,
) -> Axes:
    """Draw a tidy frame in the way its kind asks for.

    Parameters
    ----------
    frame : tidy frame with columns of the glossary.
    kind : ``points`` (a line each), ``path`` (over time), ``steps`` (curves), ``love`` (balance),
        ``weighed`` (parts of an average) or ``overlap`` (scores by arm).
    ax : axes to draw on, which keep their own look; or a figure to fill; without either, a new figure. On axes
        everything is drawn together; on a figure, several outcomes or ways out get panels.
    xlabel, ylabel : what the axes say. Points have their values on the horizontal axis, which takes ``ylabel``.
    percent : values are shares: show them times 100, in percentage points (in per cent for groups' levels).
    title : what stands above.
    options : of the kind: ``null`` (points, path), ``onset`` and ``level`` (path), ``at_risk`` and ``start``
        (steps), ``threshold`` and ``most`` (love), ``whole`` (weighed), ``arms`` (overlap).

    Returns
    -------
    The axes; the first, where there are several. Their ``figure`` is not kept by pyplot unless pyplot is loaded
    and has a screen or a notebook to show it on.
    """
    if kind not in KINDS:
        raise ValueError(f"The figure was asked for as {kind!r}, which is none of {', '.join(KINDS)}: use one of them.")
    picture, needed = KINDS[kind]
    missing = [c for c in needed if c not in frame]
    if missing:
        raise KeyError(
            f"A figure of kind {kind!r} needs {', '.join(f'`{c}`' for c in missing)}, which the frame lacks: "
            "add the columns, or choose another kind."
        )
    words = Words(xlabel, ylabel, percent, title, own=not canvas.is_axes(ax))
    with canvas.style(ax):
        if not len(frame):
            return _empty(ax, words)
        return picture(frame.reset_index(drop=True), ax, words, **options)[0]  # type: ignore[operator]


def _empty(ax: Axes | Figure | None, words: Words) -> Axes:
    """A figure that says that there is nothing to show, where an analysis left no values."""
    axes = canvas.panels(ax, 1, 1.2)[0]
    axes.text(0.5, 0.5, "no values to show", transform=axes.transAxes, ha="center", va="center")
    axes.set_xticks([])
    axes.set_yticks([])
    if words.title:
        axes.set_title(canvas.fit(words.title, 60), parse_math=False)
    return axes
