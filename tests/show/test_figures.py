"""Figures: nothing cut off, no math from data, no trace in matplotlib's state, the same bytes each time."""

from __future__ import annotations

import re
import time
import warnings
from xml.etree import ElementTree

import matplotlib
import matplotlib.text
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from impact.show import canvas, figures

LONG = "in education at 12 months, as entered in the national register of students and degrees"
HOSTILE = ["<script>alert(1)</script>", r"$\frac{1}{2$", "100 % & $x_1$ äö", "中文 \x1b[2J \u202e"]


def tidy(labels, estimate, error, band=False):
    frame = pd.DataFrame(labels).assign(estimate=estimate, std_error=error)
    frame = frame.assign(
        conf_low=frame.estimate - 1.96 * frame.std_error, conf_high=frame.estimate + 1.96 * frame.std_error
    )
    if band:
        frame = frame.assign(
            band_low=frame.estimate - 2.9 * frame.std_error, band_high=frame.estimate + 2.9 * frame.std_error
        )
    return frame


def months(**labels):
    return {name: np.repeat(values, 18) for name, values in labels.items()} | {
        "time": np.tile(np.arange(1.0, 19), len(next(iter(labels.values()))))
    }


def balance(n):
    rng = np.random.default_rng(0)
    names = [f"{HOSTILE[i % 4]} of a register {i}" if i % 2 else f"age {i}" for i in range(n)]
    return pd.DataFrame({"term": names, "before": rng.normal(0, 0.3, n), "after": rng.normal(0, 0.05, n)})


RISK = pd.DataFrame({"group": ["private", "the public service of a city"] * 4, "time": np.repeat([0.0, 6, 12, 18], 2)})
RISK["at_risk"] = [750, 11500, 700, 10900, 600, 9800, 500, 8700]
SCORES = pd.DataFrame({"score_low": np.arange(0, 1, 0.05), "score_high": np.arange(0, 1, 0.05) + 0.05})
SCORES = SCORES.assign(treated=np.arange(20.0), comparison=np.arange(20.0)[::-1] * 100)
EVENT = np.r_[-6.0:-1.0, 0.0:7.0]
TWO = {"outcome": ["job", "job", "euros", "euros"], "method": ["a", "b"] * 2}
TWO = tidy(TWO, [0.1, 0.2, 1e4, 3e4], [0.1, 0.1, 5e3, 5e3])
SHARES = {"percent": True, "ylabel": "difference in probability"}
GALLERY = {
    "one value": (tidy({"outcome": [LONG]}, [1794.0], [640.0]), "points", {"ylabel": "difference, dollars"}),
    "long names": (tidy({"outcome": [LONG, *HOSTILE]}, 0.02, 0.015), "points", {"percent": True, "title": LONG}),
    "two scales": (TWO, "points", {"ylabel": "difference"}),
    "many rows": (tidy({"term": [f"provider {i}" for i in range(70)]}, np.arange(70.0), 3.0), "points", {}),
    "path": (tidy(months(term=["ATT"]), 0.02, 0.015, True), "path", SHARES),
    "outcomes": (tidy(months(outcome=["job", LONG, HOSTILE[1]]), 0.02, 0.01), "path", {"title": LONG}),
    "arms": (tidy(months(group=["private", LONG]), 0.5, 0.02), "path", {"percent": True}),
    "event study": (tidy({"time": EVENT}, 0.1, 0.05, True), "path", {"xlabel": "years since adoption", "onset": -0.5}),
    "cohorts": (tidy(months(adoption_group=[2004.0, 2005.0, 2006.0, np.inf]), 0.1, 0.05), "path", {}),
    "crowd": (tidy({"time": np.arange(120.0)}, 0.1, 0.05, True), "path", {}),
    "curves": (
        tidy(months(cause=["job", "education"]) | {"group": ["private"] * 36}, 0.2, 0.03), "steps",
        {"percent": True, "at_risk": RISK, "start": 0.0},
    ),
    "love": (balance(12), "love", {"threshold": 0.1, "title": "Balance"}),
    "love 60": (balance(60), "love", {"threshold": 0.1}),
    "love 300": (balance(300), "love", {}),
    "after only": (balance(3).drop(columns="before"), "love", {}),
    "overlap": (SCORES, "overlap", {"arms": ("private", LONG)}),
    "nothing": (balance(0), "love", {"title": "t"}),
}  # fmt: skip
each = pytest.mark.parametrize("name", GALLERY)


def drawn(name, render=True):
    frame, kind, options = GALLERY[name]
    figure = Figure()
    FigureCanvasAgg(figure)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        axes = figures.draw(frame, kind, ax=figure, **options)
        if render:
            figure.canvas.draw()
    return figure, axes


def shown(figure):
    """The texts that a reader sees, with their places."""
    renderer = figure.canvas.get_renderer()
    hidden = set()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in axis.get_major_ticks():
                if not low - 1e-9 <= tick.get_loc() <= high + 1e-9 or not tick.label1.get_visible():
                    hidden |= {tick.label1, tick.label2}
    for text in figure.findobj(matplotlib.text.Text):
        if text.get_text().strip() and text.get_visible() and text not in hidden:
            yield text, text.get_window_extent(renderer)


@each
def test_nothing_is_cut_off_or_overlaps_or_is_read_as_mathematics(name):
    figure, _ = drawn(name)
    texts = list(shown(figure))
    width, height = figure.bbox.width, figure.bbox.height
    for text, box in texts:
        inside = box.x0 >= -1 and box.y0 >= -1 and box.x1 <= width + 1 and box.y1 <= height + 1
        assert inside, (text.get_text(), box)
    assert not [t.get_text() for t, _ in texts if t.get_parse_math() and "$" in t.get_text()]
    for axes in figure.axes:
        labels = [t.label1 for t in axes.yaxis.get_major_ticks() if t.label1.get_text()]
        boxes = sorted((x.get_window_extent() for x in labels), key=lambda b: b.y0)
        assert all(low.y1 <= high.y0 + 2 for low, high in zip(boxes, boxes[1:], strict=False))
    keys = [legend.get_window_extent() for legend in figure.legends]
    titles = [box for text, box in texts if text in [axes._left_title for axes in figure.axes]]
    assert not any(key.overlaps(title) for key in keys for title in titles)


@pytest.mark.parametrize("name", ["long names", "path", "curves", "love", "overlap"])
def test_svg_is_the_same_text_each_time_and_stands_alone(name):
    one, two = (figures.svg(drawn(name, render=False)[0], label='a "label" <b>') for _ in range(2))
    assert one == two and one.startswith("<svg ")
    root = ElementTree.fromstring(one)
    assert root.get("role") == "img" and root.get("aria-label") == 'a "label" <b>'
    assert root.get("viewBox") and root.get("width") == "100%" and root.get("height") is None
    assert "<script" not in one and "<style" not in one and "<metadata" not in one and "<!--" not in one
    addresses = set(re.findall(r"https?://[^\"' ]+", one))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    names = [e.get("id") for e in root.iter() if e.get("id")]
    used = re.findall(r'(?:href="#|url\(#)([^")]+)', one)
    assert len(names) == len(set(names)) and set(used) <= set(names)


def test_pdf_is_the_same_bytes_each_time(tmp_path):
    one = figures.pdf(drawn("curves", render=False)[0], tmp_path / "one.pdf").read_bytes()
    time.sleep(1.1)  # a time stamp would show
    two = figures.pdf(drawn("curves", render=False)[0], tmp_path / "two.pdf").read_bytes()
    assert one == two and one.startswith(b"%PDF") and b"CreationDate" not in one


def test_the_caller_keeps_style_and_state():
    before = dict(matplotlib.rcParams)
    with matplotlib.rc_context({"font.size": 20, "lines.linewidth": 7, "text.usetex": True}):
        inside = dict(matplotlib.rcParams)
        figure, _ = drawn("curves", render=False)
        assert dict(matplotlib.rcParams) == inside
        other = figures.svg(figure)
    assert dict(matplotlib.rcParams) == before
    assert other == figures.svg(drawn("curves", render=False)[0])


def test_axes_that_are_given_are_drawn_on_together_and_returned():
    figure = Figure(layout="constrained")
    left, right = figure.subplots(1, 2)
    frame, kind, options = GALLERY["outcomes"]
    assert figures.draw(frame, kind, ax=left, **options) is left
    assert len(figure.axes) == 2 and not right.lines and not figure.legends and left.get_legend()
    for name in ("two scales", "curves", "love", "overlap", "event study", "nothing"):
        frame, kind, options = GALLERY[name]
        assert figures.draw(frame, kind, ax=right, **options) is right
        right.clear()


def test_pyplot_learns_of_a_figure_only_where_it_can_show_it(monkeypatch):
    import matplotlib.pyplot as plt

    frame, kind, options = GALLERY["love"]
    open_before = plt.get_fignums()
    figures.draw(frame, kind, **options)
    assert plt.get_fignums() == open_before
    monkeypatch.setattr(matplotlib, "get_backend", lambda: "module://matplotlib_inline.backend_inline")
    axes = figures.draw(frame, kind, **options)
    assert plt.get_fignums() != open_before
    plt.close(axes.figure)


def test_the_units_and_words_are_on_the_axes():
    assert (
        drawn("path", render=False)[1].get_ylabel().replace("\n", " ")
        == "difference in probability (percentage points)"
    )
    assert drawn("arms", render=False)[1].get_ylabel() == "estimate (%)"
    assert drawn("one value", render=False)[1].get_xlabel() == "difference, dollars"
    assert "300" in drawn("love 300", render=False)[1].get_xlabel()
    assert [t.get_text() for t in drawn("cohorts", render=False)[0].axes[3].texts] == []
    assert drawn("cohorts", render=False)[0].axes[3]._left_title.get_text() == "never adopted"


def test_a_path_of_one_time_is_drawn_as_points():
    frame = tidy({"cause": ["job", "education"], "time": 12.0}, 0.1, 0.05, True)
    axes = figures.draw(frame, "path", ax=Figure(), xlabel="months", ylabel="difference", percent=True)
    assert [t.get_text() for t in axes.get_yticklabels()] == ["job", "education"]
    assert axes.get_xlabel() == "difference (percentage points)"


def test_series_differ_in_line_and_marker_as_well_as_in_colour():
    pairs = list(zip(canvas.COLOURS, map(str, canvas.DASHES), canvas.MARKERS, strict=True))
    assert len({c for c, _, _ in pairs}) == len(pairs) == len({m for _, _, m in pairs})
    lines = [
        line
        for line in drawn("arms", render=False)[0].axes[0].lines
        if len(line.get_xdata()) == 18 and line.get_marker() != "_"
    ]
    assert len({(line.get_linestyle(), line.get_marker()) for line in lines}) == 2


def test_what_cannot_be_drawn_is_said():
    with pytest.raises(ValueError, match="none of points, path, steps, love, overlap, weighed: use one"):
        figures.draw(balance(2), "pie")
    with pytest.raises(
        KeyError, match="needs `score_low`, `score_high`, `treated`, `comparison`, which the frame lacks"
    ):
        figures.draw(balance(2), "overlap")


def test_text_fits_its_place():
    with canvas.style(None):
        assert canvas.fit("a" * 100, 10) == "a" * 10 + "\n" + "a" * 9 + "…"
        assert canvas.fit("private providers", 12, 1) == "private pro…"
        assert canvas.fit("中", 5) == "\ufffd" and canvas.fit("", 5) == ""
