"""What every figure shares: its size and letters, words that fit, panels, and files that are the same each time."""

from __future__ import annotations

import io
import math
import re
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from hashlib import sha256
from html import escape as html_escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from impact.show import escape

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Letters of nine points on this width stay readable on a phone, and fit the column of an article.
WIDTH = 4.7
# Okabe and Ito's colours, ordered so that neighbours differ in lightness as well; the lightest come last.
COLOURS = ("#0072B2", "#D55E00", "#000000", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
DASHES = ("-", (0, (5, 1.6)), (0, (1, 1.2)), (0, (6, 1.5, 1, 1.5)), (0, (3, 1, 1, 1, 1, 1)), "-", (0, (5, 1.6)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
QUIET = "#767676"
_STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans", "font.size": 9, "axes.titlesize": 9, "axes.labelsize": 9,
    "xtick.labelsize": 8.5, "ytick.labelsize": 8.5, "legend.fontsize": 8.5, "figure.titlesize": 10,
    "axes.titlelocation": "left", "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.7,
    "xtick.major.width": 0.7, "ytick.major.width": 0.7, "legend.frameon": False, "lines.linewidth": 1.5,
    "hatch.linewidth": 0.6, "text.parse_math": False, "figure.facecolor": "white", "savefig.facecolor": "white",
}  # fmt: skip
_WITHOUT_SCREEN = ("agg", "cairo", "pdf", "pgf", "ps", "svg", "template")


@contextmanager
def style(ax: Axes | Figure | None) -> Iterator[None]:
    """The package's look while its own figure is drawn; a caller's axes keep the caller's look."""
    import matplotlib

    ours: dict[Any, Any] = {"text.parse_math": False} if is_axes(ax) else _STYLE
    with matplotlib.rc_context():
        if not is_axes(ax):
            matplotlib.rcdefaults()
        matplotlib.rcParams.update(ours)
        yield


def is_axes(ax: Axes | Figure | None) -> bool:
    """Whether the caller gave axes, rather than a figure to fill or nothing."""
    return hasattr(ax, "get_xlim")


def panels(
    ax: Axes | Figure | None, count: int, height: float, *, extra: float = 0.0, columns: int = 1, **options: Any
) -> list[Axes]:
    """Axes for ``count`` panels, each ``height`` inches high: the caller's own, or those of a figure."""
    if is_axes(ax):
        return [ax] * count  # type: ignore[list-item]
    rows = math.ceil(count / columns)
    figure: Any = ax if ax is not None else _figure()
    figure.set_layout_engine("constrained")
    figure.set_size_inches(WIDTH, rows * height + extra)
    grid = figure.subplots(rows, columns, squeeze=False, **options)
    for empty in grid.flat[count:]:
        empty.remove()
    for last in grid.flat[max(count - columns, 0) : count]:
        last.tick_params(labelbottom=True)
    return list(grid.flat[:count])


def title(drawn: Sequence[Axes], words: str, own: bool = True) -> None:
    """A title over everything on a figure of ours, with the key if there is one; else over the caller's axes."""
    figure: Any = drawn[0].figure
    said = fit(words, 62)
    if not own:
        drawn[0].set_title(said, parse_math=False)
    elif figure.legends:
        # The layout has no place for both a title and a key above the axes, so the key carries the title.
        key = figure.legends[0]
        key.set_title(said, prop={"size": 10})
        key.set_alignment("left")
        key.get_title().set_parse_math(False)
    else:
        figure.suptitle(said, parse_math=False, x=0.01, ha="left")


def _figure() -> Figure:
    """A figure that pyplot knows of only where it has a screen or notebook to show it on.

    Elsewhere pyplot would keep every figure in memory until it is told to close it.
    """
    import matplotlib
    from matplotlib.figure import Figure

    pyplot: Any = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None and matplotlib.get_backend().lower() not in _WITHOUT_SCREEN:
        return pyplot.figure()
    return Figure()


# Words ----------------------------------------------------------------------------------------


def fit(text: object, width: int, lines: int = 2) -> str:
    """Text on at most so many lines of so many characters; an ellipsis stands for what does not fit."""
    known = _letters()
    words = "".join(c if ord(c) in known else "\ufffd" for c in escape.plain(text))
    rows = textwrap.wrap(words, width, break_long_words=True) or [""]
    if len(rows) > lines:
        rows = [*rows[: lines - 1], " ".join(rows[lines - 1 :])[: width - 1].rstrip() + "\u2026"]
    return "\n".join(rows)


def _letters() -> frozenset[int]:
    """The characters that the font of this figure can draw."""
    from matplotlib.font_manager import FontProperties, findfont

    return _letters_of(findfont(FontProperties()))


@cache
def _letters_of(path: str) -> frozenset[int]:
    from matplotlib.font_manager import get_font

    return frozenset(get_font(path).get_charmap())


# Files ----------------------------------------------------------------------------------------


def svg(figure: Figure, label: str = "") -> str:
    """The figure as SVG to stand in an HTML page: as wide as its place, named for readers who do not see it.

    The same figure gives the same text. ``label`` is what a screen reader says; without one it is the
    figure's titles and axes. Letters are drawn as shapes, so no font has to be there.
    """
    import matplotlib

    stream = io.StringIO()
    with style(None), matplotlib.rc_context({"svg.hashsalt": "impact", "svg.fonttype": "path", **_SAVED}):
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(stream, format="svg", metadata=nothing)
    return _responsive(stream.getvalue(), label or described(figure))


def pdf(figure: Figure, path: str | Path) -> Path:
    """The figure as a PDF file, with the letters embedded and without date or program: the same bytes each time."""
    Path(path).write_bytes(pdf_bytes(figure))
    return Path(path)


def pdf_bytes(figure: Figure) -> bytes:
    """What :func:`pdf` writes."""
    import matplotlib

    stream = io.BytesIO()
    with style(None), matplotlib.rc_context({"pdf.fonttype": 3, "pdf.compression": 6, **_SAVED}):
        nothing = dict.fromkeys(("CreationDate", "Creator", "Producer"))
        figure.savefig(stream, format="pdf", metadata=nothing)
    return stream.getvalue()


# Ticks are made when a figure is saved, so a file is written under the style that it was drawn in.
_SAVED: dict[Any, Any] = {
    "savefig.bbox": None,
    "savefig.dpi": "figure",
    "savefig.facecolor": "white",
    "savefig.transparent": False,
    "axes.unicode_minus": True,
    "text.usetex": False,
}


def described(figure: Figure) -> str:
    """A figure in words, from its titles and axes."""
    keys = [key.get_title().get_text() for key in figure.legends]
    said = [escape.plain(next((w for w in (figure.get_suptitle(), *keys) if w), "Figure"))]
    for ax in figure.axes:
        over = ax.get_title(loc="left") or ax.get_title()
        axes = " against ".join(w for w in (ax.get_ylabel(), ax.get_xlabel()) if w)
        said.append(escape.plain(": ".join(w for w in (over, axes) if w)))
    said += [escape.plain(w) for w in (figure.get_supylabel(), figure.get_supxlabel()) if w]
    return "; ".join(dict.fromkeys(w for w in said if w))


def _responsive(drawn: str, label: str) -> str:
    """The ``svg`` element alone, without comments, its names made its own so that several share a page."""
    body = drawn[drawn.index("<svg") :]
    body = re.sub(r"<!--.*?-->\s*", "", body, flags=re.DOTALL)
    body = re.sub(r"<metadata>.*?</metadata>\s*", "", body, flags=re.DOTALL)
    own = "f" + sha256((label + body).encode()).hexdigest()[:8]
    body = re.sub(r'(\bid=")', rf"\g<1>{own}-", body)
    body = re.sub(r'((?:xlink:)?href="#|url\(#)', rf"\g<1>{own}-", body)
    # A style element would reach beyond this picture, over the whole page.
    body = re.sub(r"<defs>\s*<style[^>]*>.*?</style>\s*</defs>\s*", "", body, count=1, flags=re.DOTALL)
    opening, _, rest = body.partition(">")
    size = re.search(r'viewBox="([^"]*)"', opening)
    box = size.group(1) if size else ""
    width, height = box.split()[2:]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="{box}" '
        f'width="100%" style="max-width:{float(width) * 1.8:.0f}px;height:auto;aspect-ratio:{width}/{height};'
        f'stroke-linejoin:round;stroke-linecap:butt" role="img" aria-label="{html_escape(label)}">'
    )
    return head + rest.rstrip() + "\n"
