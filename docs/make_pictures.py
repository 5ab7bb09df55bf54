"""Draw the pictures of the pages on methods: `python docs/make_pictures.py`.

With the names of some pictures, these only. Love plots, estimates and checks draw themselves. What only a page
needs, such as which pairs were made, is drawn here. Arms differ in marker and lightness as well as in colour, so
that the pictures can be read in grey.
"""

from __future__ import annotations

import importlib.util
import io
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from impact import Check, Estimate, Outcome, Sample, Study, emulate, stack
from impact.checks import (  # fmt: skip
    balance,
    honest_trends,
    leave_out,
    omitted_variable,
    overlap,
    placebo,
    rehearsal,
    rosenbaum,
    ties,
)
from impact.checks import several as arms_alike
from impact.datasets import helsinki, regions
from impact.did import (  # fmt: skip
    callaway_santanna,
    decomposition,
    extended,
    few_treated,
    imputation,
    stacked,
    sun_abraham,
    two_way,
)
from impact.matching import (  # fmt: skip
    abadie_imbens,
    cardinality,
    covariate_balancing,
    doubly_robust,
    energy,
    entropy,
    exact,
    kernel,
    means,
    nearest,
    optimal,
    propensity,
    quantiles,
    regression,
    several,
    stable,
    subclass,
    subgroups,
    trimming,
)
from impact.show import canvas
from impact.show.canvas import COLOURS, QUIET

Array = np.ndarray
HERE = Path(__file__).parent
OUT = HERE / "pictures"
BLUE, ORANGE, BLACK = COLOURS[:3]
LEADS = ("confounder like", "without")  # before the name of a covariate, in the rows of checks
ODDS = "log odds of treatment (propensity score, logit scale)"
EXPERIMENT, ERROR = 1794.34, 670.1


# ---- the people -------------------------------------------------------------------------------


@cache
def table(name: str) -> Any:
    """What every page starts from, by its name there."""
    found = importlib.util.spec_from_file_location("make_outputs", HERE / "make_outputs.py")
    maker = importlib.util.module_from_spec(found)
    found.loader.exec_module(maker)
    return maker.start()[name]


def people() -> Sample:
    """The sample that every page starts from."""
    return table("sample")


@cache
def odds() -> Array:
    """(n,) the logit of everyone's propensity score."""
    score = propensity.weight(people()).score
    return np.log(score) - np.log1p(-score)


@cache
def city() -> Sample:
    """The simulated register of Helsinki, with outcomes before and after enrolment."""
    study = Study(
        title="Private and public services", unit="client",
        treatment="provider", treated="private", comparison="public",
        covariates=["age", "woman", "C(education)", "health_limit", "months_worked", "support_days"],
        outcomes=Outcome("employed_{}", "in a job", periods=range(1, 19), per="month since enrolment"),
        labels={"woman": "sex"},
    )  # fmt: skip
    return emulate(study, helsinki(seed=1).clients)


# ---- what pictures share ----------------------------------------------------------------------


def sheet(height: float, rows: int = 1, **options: Any) -> tuple[Figure, list[Axes]]:
    """A figure of the width of a column, with its axes."""
    figure = Figure(figsize=(canvas.WIDTH + 0.5, height), layout="constrained")
    return figure, list(np.atleast_1d(figure.subplots(rows, 1, **options)))


def love(axes: Axes, shown: Sample | Check) -> None:
    """Balance, on a scale that keeps small differences apart, the same in all pictures."""
    (shown if isinstance(shown, Check) else balance.balance(shown)).plot(ax=axes)
    axes.set_xscale("function", functions=(lambda v: np.sqrt(np.abs(v)), np.square))
    ticks = (0, 0.02, 0.1, 0.25, 0.5, 1, 2, 4)
    axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
    axes.set_xlim(0, 4.2)
    for line in axes.lines:
        line.set_clip_on(False)  # a marker at zero is seen whole
    axes.set_xlabel("absolute standardised difference in means (root scale)")
    axes.get_legend().remove()
    axes.figure.legend(*axes.get_legend_handles_labels(), loc="outside upper left", ncols=3, frameon=False)


def two(design: Sample, below: Callable[..., None], low: float = 2.1) -> Figure:
    """Balance above, and what this design does below."""
    figure, (top, bottom) = sheet(2.9 + low, 2, height_ratios=[2.7, low])
    love(top, design)
    below(bottom, design)
    return figure


def arms(axes: Axes, **places: Any) -> None:
    """The key of treated and comparison units."""
    keys = [
        Line2D([], [], ls="", marker="o", color=BLUE, ms=4, label="treated"),
        Line2D([], [], ls="", marker="s", mfc="white", mec=ORANGE, ms=4, label="comparison"),
    ]
    axes.legend(handles=keys, frameon=False, **{"loc": "upper left", **places})


def weights(axes: Axes, *designs: tuple[str, Sample]) -> None:
    """What each comparison unit weighs, by its score."""
    s = people()
    looks = [{"marker": "s", "mfc": "white", "mec": ORANGE, "ms": 3}, {"marker": "^", "color": BLACK, "ms": 2.6},
             {"marker": "x", "color": BLUE, "ms": 2.8}]  # fmt: skip
    for (name, design), look in zip(designs, looks, strict=False):
        mine = ~s.treated & (design.weights > 0.003)
        axes.plot(odds()[mine], design.weights[mine], ls="", mew=0.7, label=name, rasterized=True, **look)
    axes.set_xlabel(ODDS)
    axes.set_ylabel("weight of a\ncomparison unit")
    axes.set_ylim(bottom=0)
    if len(designs) > 1:
        axes.legend(frameon=False, loc="upper left", markerscale=1.4)


def links(axes: Axes, design: Sample) -> None:
    """Treated units above, comparison units below, and a line for each two of one set."""
    z, s = odds(), design
    used = s.weights > 0
    rows = np.flatnonzero(used & s.treated)
    for i in rows:
        mates = np.flatnonzero(used & ~s.treated & (s.strata == s.strata[i]))
        ends = np.r_[[z[i]] * len(mates), z[mates]].reshape(2, -1)
        heights = [[1.0] * len(mates), [0.0] * len(mates)]
        axes.plot(ends, heights, color="#8c8c8c", lw=0.35, rasterized=True)
    left = s.treated & ~used
    mates = np.flatnonzero(used & ~s.treated)
    axes.plot(z[rows], np.ones(len(rows)), ls="", marker="o", ms=2.6, color=BLUE)
    axes.plot(z[left], np.full(left.sum(), 1.16), ls="", marker="x", ms=3.4, color=BLACK)
    axes.plot(z[mates], np.zeros(len(mates)), ls="", marker="s", ms=2.6, mfc="white", mec=ORANGE, mew=0.6,
              rasterized=len(mates) > 500)  # fmt: skip
    axes.set_xlabel(ODDS)


def sides(axes: Axes) -> None:
    axes.set_yticks([0, 1], ["comparison", "treated"])
    axes.set_ylim(-0.25, 1.35)
    axes.tick_params(axis="y", length=0)


# ---- designs ----------------------------------------------------------------------------------


def picture_nearest() -> Figure:
    def below(axes: Axes, design: Sample) -> None:
        links(axes, design)
        sides(axes)

    return two(nearest.match(people()), below, 1.7)


def picture_optimal() -> Figure:
    def below(axes: Axes, design: Sample) -> None:
        links(axes, design)
        sides(axes)
        axes.set_yticks([0, 1, 1.16], ["comparison", "treated", "without partner"])

    return two(optimal.match(people()), below, 1.8)


def picture_full() -> Figure:
    def below(axes: Axes, design: Sample) -> None:
        links(axes, design)
        sides(axes)

    return two(optimal.full(people(), caliper=0.2), below, 1.8)


CUTS = {"age": [20, 25, 30, 40], "educ": [9, 12], "re74": [1, 5000], "re75": [1, 5000]}


def picture_exact() -> Figure:
    def below(axes: Axes, design: Sample) -> None:
        s = design
        age, pay = (s.characteristics[:, s.columns_of(t)[0]] for t in ("age", "re75"))
        shift, lift = np.random.default_rng(0).uniform(-1, 1, (2, len(s))) * [[0.3], [5.0]]
        for mine, look in (
            (~s.treated & (s.weights > 0), {"marker": "s", "mfc": "white", "mec": ORANGE, "ms": 2.4, "mew": 0.5}),
            (s.treated & (s.weights > 0), {"marker": "o", "color": BLUE, "ms": 3.2}),
            (s.treated & (s.weights == 0), {"marker": "x", "color": BLACK, "ms": 4.2}),
        ):
            axes.plot((age + shift)[mine], (np.sqrt(pay) + lift)[mine], ls="", rasterized=True, **look)
        for cut in CUTS["age"]:
            axes.axvline(cut - 0.5, color=QUIET, lw=0.6)
        for height in (8.0, np.sqrt(CUTS["re75"][1])):  # just above those without earnings
            axes.axhline(height, color=QUIET, lw=0.6)
        ticks = (0, 1000, 5000, 10_000, 20_000)
        axes.set_yticks(np.sqrt(ticks), [f"{t:,}" for t in ticks])
        axes.set_xlabel("age (years)")
        axes.set_ylabel("earnings in 1975\n(dollars, root scale)")
        keys = [Line2D([], [], ls="", marker="o", color=BLUE, ms=4, label="treated, kept"),
                Line2D([], [], ls="", marker="x", color=BLACK, ms=4, label="treated, left out"),
                Line2D([], [], ls="", marker="s", mfc="white", mec=ORANGE, ms=4, label="comparison, kept")]  # fmt: skip
        axes.legend(handles=keys, loc="lower center", bbox_to_anchor=(0.45, 1.0), ncols=3, frameon=False,
                    handletextpad=0.2, columnspacing=1.0)  # fmt: skip

    return two(exact.match(people(), cutpoints=CUTS), below, 2.6)


def picture_subclass() -> Figure:
    def below(axes: Axes, design: Sample) -> None:
        z, s = odds(), design
        bins = np.linspace(-10, 1, 45)
        for arm, sign, look in ((True, 1, {"fc": BLUE, "ec": BLUE}), (False, -1, {"fc": "white", "ec": ORANGE})):
            mine = s.treated == arm
            share = 100 * np.histogram(np.clip(z[mine], -10, 1), bins)[0] / mine.sum()
            axes.bar(bins[:-1], sign * share, np.diff(bins), align="edge", lw=0.6, hatch="" if arm else "////", **look)
        axes.text(-9.65, -14.6, f"{share[0]:.0f}%", color=ORANGE, fontsize=8.5)  # of the arm drawn last
        codes = np.unique(s.strata[s.strata >= 0])
        lows = sorted(z[s.strata == c].min() for c in codes)
        for low in lows[1:]:
            axes.axvline(low, color=BLACK, lw=0.8, ls=(0, (3, 2)))
        axes.axhline(0, color="black", lw=0.7)
        axes.set_ylim(-16, 14)
        axes.yaxis.set_major_formatter(lambda v, _: f"{abs(v):g}")
        axes.set_xticks(range(-10, 1, 2), ["\u2264 \u221210", *(f"\u2212{-v}" for v in range(-8, 0, 2)), "0"])
        axes.set_xlabel(ODDS)
        axes.set_ylabel("share of each arm (%)")
        axes.text(-9.8, 9, "treated (upwards)", color=BLUE, fontsize=8.5)
        axes.text(-8.2, -14.6, "comparison (downwards)", color=ORANGE, fontsize=8.5)

    return two(subclass.stratify(people()), below, 2.2)


def picture_cardinality() -> Figure:
    def below(axes: Axes, design: Sample) -> None:
        narrow, steps = trimming.crump(people(), cut=0.02), (0.02, 0.05, 0.1, 0.2)
        for ratio, look in zip((1, 2, 3), ({"marker": "o", "color": BLUE, "ls": "-"},
                                           {"marker": "s", "color": ORANGE, "ls": "--"},
                                           {"marker": "^", "color": BLACK, "ls": ":"}), strict=True):  # fmt: skip
            kept = [cardinality.match(narrow, ratio=ratio, tolerance=t, gap=0.01) for t in steps]
            counts = [int((s.weights[s.treated] > 0).sum()) for s in kept]
            axes.plot(steps, counts, ms=4, label=f"1:{ratio}", **look)
        axes.set_xscale("log")
        axes.set_xticks(steps, [f"{t:g}" for t in steps])
        axes.minorticks_off()
        axes.set_ylim(0, 170)
        axes.set_xlabel("tolerance (standard deviations)")
        axes.set_ylabel("treated units kept")
        axes.legend(frameon=False, loc="lower right", title="partners each")

    return two(cardinality.match(trimming.crump(people(), cut=0.02), ratio=2, gap=0.01), below)


def picture_kernel() -> Figure:
    def below(axes: Axes, design: Sample) -> None:
        weights(axes, ("kernel", design))
        score = design.score
        focal = np.flatnonzero(design.treated)[np.argsort(score[design.treated])[62]]
        h = float(design.steps[-1].split("bandwidth ")[1].split()[0])
        near = np.linspace(max(score[focal] - h, 1e-3), min(score[focal] + h, 0.999), 200)
        height = axes.get_ylim()[1] * 0.5
        axes.plot(np.log(near / (1 - near)), height * (1 - ((near - score[focal]) / h) ** 2), color=BLUE, lw=1.4)
        at = float(np.log(score[focal] / (1 - score[focal])))
        axes.plot([at], [height], marker="o", color=BLUE, ms=4)
        axes.annotate("the kernel around\none treated unit", (at - 0.15, height), xytext=(-5.3, height * 1.25),
                      fontsize=8.5, color=BLUE, arrowprops={"arrowstyle": "-", "color": BLUE, "lw": 0.7})  # fmt: skip

    return two(kernel.match(people()), below)


def picture_propensity() -> Figure:
    figure, (top, left, right) = sheet(6.6, 3, height_ratios=[2.7, 1.5, 1.5])
    love(top, propensity.weight(people()))
    e = np.linspace(0.03, 0.97, 200)
    lines = {"ATT": (np.ones_like(e), e / (1 - e)), "ATC": ((1 - e) / e, np.ones_like(e)), "ATE": (1 / e, 1 / (1 - e)),
             "ATO": (1 - e, e), "ATM": (np.minimum(e, 1 - e) / e, np.minimum(e, 1 - e) / (1 - e))}  # fmt: skip
    for number, (name, (one, zero)) in enumerate(lines.items()):
        look = {"color": COLOURS[number], "ls": canvas.DASHES[number], "lw": 1.6}
        left.plot(e, one, label=name, **look)
        right.plot(e, zero, **look)
    for axes, words in ((left, "a treated unit"), (right, "a comparison unit")):
        axes.set_yscale("log")
        axes.set_yticks([0.1, 1, 10], ["0.1", "1", "10"])
        axes.minorticks_off()
        axes.set_ylim(0.03, 40)
        axes.set_ylabel(f"weight of\n{words}")
    left.legend(frameon=False, ncols=5, loc="upper right", handlelength=2.4, columnspacing=1.0)
    left.set_xticklabels([])
    right.set_xlabel("propensity score: probability of treatment")
    return figure


def picture_entropy() -> Figure:
    def below(axes: Axes, design: Sample) -> None:
        weights(axes, ("propensity score", propensity.weight(people())), ("entropy balancing", design))

    return two(entropy.weight(people()), below)


def picture_covariate_balancing() -> Figure:
    def below(axes: Axes, design: Sample) -> None:
        s, fitted = people(), propensity.weight(people()).score
        for arm, look in ((False, {"marker": "s", "mfc": "white", "mec": ORANGE, "ms": 2.6, "mew": 0.6}),
                          (True, {"marker": "o", "color": BLUE, "ms": 2.8})):  # fmt: skip
            mine = s.treated == arm
            axes.plot(fitted[mine], design.score[mine], ls="", rasterized=True, **look)
        axes.plot([0, 1], [0, 1], color=QUIET, lw=0.8, ls=(0, (3, 2)))
        axes.set_xlim(0, 0.7)
        axes.set_ylim(0, max(0.8, float(design.score.max()) * 1.05))
        axes.set_xlabel("score fitted by maximum likelihood")
        axes.set_ylabel("score fitted\nto balance")
        arms(axes)

    return two(covariate_balancing.weight(people()), below, 2.4)


def shares(axes: Axes, designs: dict[str, Sample]) -> None:
    """How much of the comparison arm's weight its heaviest units carry."""
    for number, (name, design) in enumerate(designs.items()):
        w = np.sort(design.weights[~design.treated])[::-1]
        worth = w.sum() ** 2 / (w**2).sum()
        axes.plot(np.arange(1, len(w) + 1), 100 * np.cumsum(w) / w.sum(), color=COLOURS[number],
                  ls=canvas.DASHES[number], lw=1.7, label=f"{name}: worth {worth:,.0f} units")  # fmt: skip
    axes.set_xlim(0, 1000)
    axes.set_ylim(0, 101)
    axes.set_xlabel("comparison units, heaviest first")
    axes.set_ylabel("share of the\narm's weight (%)")
    axes.legend(frameon=False, loc="lower right")


def picture_stable() -> Figure:
    def below(axes: Axes, design: Sample) -> None:
        s = people()
        shares(axes, {"stable, within 0.05 SD": design, "stable, exact": stable.weight(s, tolerance=0.0),
                      "propensity score": propensity.weight(s)})  # fmt: skip

    return two(stable.weight(people()), below)


def picture_energy() -> Figure:
    def below(axes: Axes, design: Sample) -> None:
        s = design
        pay = s.characteristics[:, s.columns_of("re74")[0]]
        by_score = propensity.weight(trimming.crump(people(), cut=0.02))
        for number, (name, w) in enumerate({
            "treated": s.weights * s.treated,
            "comparison, trimmed only": trimming.crump(people(), cut=0.02).weights * ~s.treated,
            "by the propensity score": by_score.weights * ~s.treated,
            "by energy balancing": s.weights * ~s.treated,
        }.items()):  # fmt: skip
            order = np.argsort(pay)
            axes.step(pay[order], 100 * np.cumsum(w[order]) / w.sum(), where="post", label=name,
                      color=COLOURS[number], ls=canvas.DASHES[number], lw=1.6)  # fmt: skip
        axes.set_xlim(0, 15_000)
        axes.set_ylim(20, 101)
        axes.xaxis.set_major_formatter(lambda v, _: f"{v:,.0f}")
        axes.set_xlabel("earnings in 1974 (dollars)")
        axes.set_ylabel("share of the arm\nwith so much or less (%)")
        axes.legend(frameon=False, loc="lower right")

    return two(energy.weight(trimming.crump(people(), cut=0.02)), below, 2.4)


def picture_trimming() -> Figure:
    def below(axes: Axes, design: Sample) -> None:
        z, s = odds(), people()
        rules = {
            "common support": trimming.common_support(s),
            "5% quantiles": trimming.quantile(s),
            "0.1 rule (Crump)": trimming.crump(s),
            "least variance (Crump)": trimming.crump(s, cut=None),
        }
        for row, kept in enumerate(rules.values()):
            inside = kept.weights > 0
            for arm, up, look in ((True, 0.13, {"marker": "|", "color": BLUE, "ms": 5, "mew": 0.6}),
                                  (False, -0.13, {"marker": "|", "color": ORANGE, "ms": 5, "mew": 0.4})):  # fmt: skip
                mine = s.treated == arm
                axes.plot(z[mine & ~inside], np.full((mine & ~inside).sum(), row + up), ls="", rasterized=True,
                          **{**look, "color": "#d9d9d9"})  # fmt: skip
                axes.plot(z[mine & inside], np.full((mine & inside).sum(), row + up), ls="", rasterized=True, **look)
            counts = [int((inside & (s.treated == arm)).sum()) for arm in (True, False)]
            said, beside = f"{counts[0]:,}\n{counts[1]:,}", axes.get_yaxis_transform()
            axes.text(1.02, row, said, transform=beside, va="center", fontsize=8)
        axes.set_yticks(range(len(rules)), list(rules))
        axes.set_ylim(-0.5, len(rules) - 0.3)
        axes.tick_params(axis="y", length=0)
        axes.set_xlim(-14, 1.2)
        axes.set_xlabel(ODDS, loc="right")
        axes.set_title("kept: treated (upper, dark) and comparison (lower); grey: left out", fontsize=8.5, loc="right")

    return two(trimming.crump(people()), below, 2.3)


def picture_several() -> Figure:
    import pandas as pd

    nsw = table("nsw")
    three = pd.concat([table("people"), nsw[nsw["treat"] == 0].assign(group="control")], ignore_index=True)
    three = three.assign(person=range(len(three)), no_pay_74=three["re74"] == 0, no_pay_75=three["re75"] == 0)
    weighted = several.weight(emulate(table("study").revise(treated=["trained", "control"]), three), focal="trained")
    figure, (top, bottom) = sheet(4.4, 2, height_ratios=[2.9, 1.1])
    love(top, arms_alike.balance(weighted))
    found = several.differences(weighted).tidy()
    at = -np.arange(len(found))
    reach = found["conf_high"] - found["estimate"]
    bottom.errorbar(found["estimate"], at, xerr=reach, fmt="o", color=BLUE, ms=4.5, capsize=2)
    bottom.axvline(0, color=QUIET, lw=1)
    bottom.set_yticks(at, list(found["term"]))
    bottom.set_ylim(at[-1] - 0.7, 0.7)
    bottom.tick_params(axis="y", length=0)
    bottom.xaxis.set_major_formatter(lambda v, _: f"{v:,.0f}".replace("-", "\u2212"))
    bottom.set_xlabel("difference in earnings in 1978 (dollars)", loc="right")
    return figure


def picture_designs() -> Figure:
    """Every design for the ATT beside the experiment: means, and regression after it."""
    s = people()
    narrow = trimming.crump(s, cut=0.02)
    designs: dict[str, Sample] = {
        "nearest, 1:1": nearest.match(s),
        "nearest, 1:2": nearest.match(s, ratio=2),
        "nearest, with replacement": nearest.match(s, replace=True),
        "optimal pairs": optimal.match(s),
        "full matching": optimal.full(s),
        "coarsened exact": exact.match(s, cutpoints=CUTS),
        "six classes": subclass.stratify(s),
        "trimmed, cardinality 1:2": cardinality.match(narrow, ratio=2, gap=0.01),
        "kernel": kernel.match(s),
        "propensity weights": propensity.weight(s),
        "entropy balancing": entropy.weight(s),
        "stable weights": stable.weight(s),
        "trimmed, energy": energy.weight(narrow),
    }
    figure, (axes,) = sheet(5.0)
    axes.axvspan(EXPERIMENT - 1.965 * ERROR, EXPERIMENT + 1.965 * ERROR, color="#ededed", lw=0)
    axes.axvline(EXPERIMENT, color=QUIET, lw=1, ls=(0, (3, 2)))
    for shift, estimator, look, name in (
        (0.17, means.difference, {"fmt": "o", "color": BLUE}, "difference in means"),
        (-0.17, regression.difference, {"fmt": "s", "color": ORANGE, "mfc": "white"}, "regression after it"),
    ):
        found = [estimator(d) for d in designs.values()]
        reach = [(e.interval()[1][0] - e.interval()[0][0]) / 2 for e in found]
        at = -np.arange(len(found)) + shift
        axes.errorbar([e.value[0] for e in found], at, xerr=reach, ms=4, capsize=1.5, lw=1, label=name, **look)
    axes.set_yticks(-np.arange(len(designs)), list(designs))
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_formatter(lambda v, _: f"{v:,.0f}".replace("-", "\u2212"))
    axes.set_xlabel("effect on earnings in 1978 (dollars); dashed and shaded: the experiment", loc="right")
    figure.legend(loc="outside upper left", ncols=2, frameon=False)
    return figure


# ---- effects ----------------------------------------------------------------------------------


def named(**found: Estimate) -> Estimate:
    """Estimates with scores under names of their own, one below the other."""
    return stack(*[e.about(index=e.index[["outcome"]].assign(method=name)) for name, e in found.items()])


def drawn(shown: Any, ticks: int = 0, **options: Any) -> Figure:
    """What an estimate or a check draws by itself."""
    figure = Figure()
    shown.plot(ax=figure, **options)
    if ticks:
        figure.axes[-1].xaxis.set_major_locator(MaxNLocator(ticks))
        figure.axes[-1].xaxis.set_major_formatter(lambda v, _: f"{v:,.0f}".replace("-", "\u2212"))
    return figure


def worded(check: Check) -> Check:
    """A check with the study's words for the covariates that its rows name."""
    labels = people().study.labels

    def say(row: str) -> str:
        lead, _, name = row.rpartition(" ")
        return f"{lead.removeprefix('confounder ')} “{labels.get(name, name)}”" if lead in LEADS else row

    return replace(check, table=check.table.assign(term=check.table["term"].map(say)))


def picture_effects() -> Figure:
    s = people()
    matched, weighted = nearest.match(s), propensity.weight(s)
    return drawn(named(**{
        "means, as they are": means.difference(s),
        "means, matched": means.difference(matched),
        "regression, matched": regression.difference(matched),
        "means, weighted": means.difference(weighted),
        "doubly robust": doubly_robust.difference(s),
    }), ticks=6)  # fmt: skip


def picture_path() -> Figure:
    return drawn(means.difference(nearest.match(city(), ratio=2)))


def picture_quantiles() -> Figure:
    return drawn(quantiles.difference(nearest.match(people()), quantiles=(0.1, 0.25, 0.5, 0.75, 0.9)), ticks=6)


def picture_subgroups() -> Figure:
    matched = nearest.match(people(), exact="black")
    found = subgroups.effects(matched, term="black", estimator=means.difference)
    return drawn(found.about(index=found.index.assign(subgroup=["everybody", "not black", "black"])), ticks=6)


# ---- checks -----------------------------------------------------------------------------------


def picture_balance() -> Figure:
    return drawn(balance.balance(nearest.match(people())))


def picture_overlap() -> Figure:
    return drawn(overlap.overlap(people()))


def picture_rosenbaum() -> Figure:
    return drawn(rosenbaum.bounds(nearest.match(people())), ticks=6, ylabel="difference beyond hidden bias (dollars)")


def picture_omitted_variable() -> Figure:
    return drawn(worded(omitted_variable.robustness(people())), ticks=6, ylabel="effect on earnings in 1978 (dollars)")


def picture_leave_out() -> Figure:
    return drawn(worded(leave_out.covariates(people())), ticks=6, ylabel="effect on earnings in 1978 (dollars)")


def picture_ties() -> Figure:
    check = ties.ties(people(), design=nearest.match, estimator=means.difference, repetitions=50)
    return drawn(check, ticks=6, ylabel="effect on earnings in 1978 (dollars)")


def picture_placebo() -> Figure:
    s = people()
    study = s.study.revise(
        covariates=["age", "educ", "black", "hisp", "marr", "nodegree", "re74", "no_pay_74"],
        outcomes=(Outcome("re75", "earnings in 1975", unit="dollars"),),
    )
    check = placebo.outcome(entropy.weight(emulate(study, table("people"))), outcome="re75")
    return drawn(check, ticks=5, ylabel="effect where there can be none (dollars)")


def picture_rehearsal() -> Figure:
    estimators = {
        "regression": regression.difference,
        "matching": lambda s: means.difference(nearest.match(s)),
        "entropy balancing": lambda s: means.difference(entropy.weight(s)),
        "doubly robust": doubly_robust.difference,
        "Abadie-Imbens, adjusted": partial(abadie_imbens.difference, bias_adjust=True),
    }
    found = rehearsal.rehearsal(people(), estimators=estimators, draws=100, units=4000, size=1000).table
    figure, (axes,) = sheet(2.2)
    at = -np.arange(len(found))
    axes.errorbar(found["bias"], at, xerr=found["spread"], fmt="o", color=BLUE, ms=4.5, capsize=2)
    axes.axvline(0, color=QUIET, lw=1)
    axes.set_yticks(at, list(found["method"]))
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(at[-1] - 0.8, 1.0)
    for y, share in zip(at, found["coverage"], strict=True):
        axes.text(1.03, y, f"{100 * share:.0f}%", transform=axes.get_yaxis_transform(), va="center", fontsize=8.5)
    axes.text(1.03, 0.75, "covers", transform=axes.get_yaxis_transform(), va="center", fontsize=8.5)
    axes.set_xlabel("bias, and spread of the estimates either way (dollars)", loc="right")
    return figure


# ---- difference in differences ------------------------------------------------------------------


@cache
def laws() -> Sample:
    """Fifty states, of which some adopted castle-doctrine laws, weighted by population."""
    from causaldata import castle

    states = castle.load_pandas().data
    adopted = states["sid"].map(states[states["post"] == 1].groupby("sid")["year"].min())
    study = Study(
        title="Castle-doctrine laws and homicide", unit="sid", period="year", adoption="adopted", weights="popwt",
        outcomes=Outcome("log_homicide", "log homicide", per="year"),
    )  # fmt: skip
    return emulate(study, states.assign(adopted=adopted, log_homicide=np.log(states["homicide"])))


@cache
def trials() -> tuple[Sample, Any]:
    """The simulated regional trials, 2014 to 2018, and the tables of their places."""
    found = regions(seed=1)
    months = found.months[(found.months["month"] >= "2014") & (found.months["month"] < "2019")]
    study = Study(
        title="Regional trials", unit="municipality", period="month", adoption="adoption", cluster="area",
        outcomes=[Outcome("broad", "broad unemployment"), Outcome("open", "open unemployment"),
                  Outcome("services", "services"), Outcome("log_cost", "total cost", per="month")],
    )  # fmt: skip
    return emulate(study, months), found


def picture_did_paths() -> Figure:
    s = laws()
    paths = {
        "two-way": two_way.event_study(s, leads=5, lags=3),
        "Callaway and Sant'Anna": callaway_santanna.event_study(s, base="universal"),
        "Sun and Abraham": sun_abraham.event_study(s),
        "imputation": imputation.event_study(s),
    }
    figure, (axes,) = sheet(3.0)
    axes.axhline(0, color=QUIET, lw=1)
    axes.axvline(-0.5, color=QUIET, lw=1, ls=(0, (3, 2)))
    for k, (name, path) in enumerate(paths.items()):
        t = path.where("time >= -5 and time <= 3").tidy()
        axes.errorbar(t["time"] + 0.16 * (k - 1.5), t["estimate"], yerr=t["conf_high"] - t["estimate"], ms=3.6,
                      fmt=canvas.MARKERS[k], color=COLOURS[k], capsize=1.5, lw=1, label=name)  # fmt: skip
    axes.set_xlabel("years since adoption")
    axes.set_ylabel("effect on log homicide")
    figure.legend(loc="outside upper left", ncols=2, frameon=False)
    return figure


def picture_did_estimators() -> Figure:
    s = laws()
    return drawn(named(**{
        "two-way": two_way.att(s),
        "imputation": imputation.att(s),
        "Sun and Abraham": sun_abraham.att(s),
        "Callaway and Sant'Anna": callaway_santanna.att(s),
        "extended, never treated": extended.att(s, comparison="never"),
        "stacked": stacked.att(s, pre=3, post=1),
    }))  # fmt: skip


def picture_did_few() -> Figure:
    s, places = trials()
    people = places.municipalities[["municipality", "population"]]
    found = few_treated.compare(s, outcome="log_cost", neighbours=places.neighbours, population=people, aim=-10).table
    figure, (axes,) = sheet(2.4)
    at = -np.arange(len(found))
    valid = found["valid"].astype(str).str.startswith("yes").to_numpy()
    for mine, look, name in ((valid, {"fmt": "o", "color": BLUE}, "valid here"),
                             (~valid, {"fmt": "s", "color": ORANGE, "mfc": "white"}, "not valid here")):  # fmt: skip
        part = found[mine]
        reach = [part["estimate"] - part["conf_low"], part["conf_high"] - part["estimate"]]
        axes.errorbar(part["estimate"], at[mine], xerr=reach, ms=4.5, capsize=2, label=name, **look)
    axes.axvline(0, color=QUIET, lw=1)
    axes.axvline(-10, color=BLACK, lw=1, ls=(0, (3, 2)))
    axes.text(-9.8, at[-1] - 0.75, "the aim", fontsize=8.5)
    axes.set_yticks(at, list(found["method"]))
    axes.set_ylim(at[-1] - 0.9, 0.7)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("effect on total cost (per cent)", loc="right")
    figure.legend(loc="outside upper left", ncols=2, frameon=False)
    return figure


def picture_did_parts() -> Figure:
    found = decomposition.decompose(trials()[0], total="broad", parts=["open", "services"], estimator=two_way.att)
    figure = Figure()
    found.plot(ax=figure)
    return figure


def picture_did_honest() -> Figure:
    path = callaway_santanna.event_study(laws(), base="universal").where("time >= -5 and time <= 3")
    return drawn(honest_trends.honest_trends(path))


PICTURES: dict[str, Callable[[], Figure]] = {
    name.removeprefix("picture_"): f for name, f in list(globals().items()) if name.startswith("picture_")
}


def save(figure: Figure, name: str) -> None:
    """A small picture of few colours."""
    from PIL import Image

    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=140)
    few = Image.open(stream).convert("RGB").quantize(96, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    few.save(OUT / f"{name}.png", optimize=True)


def main() -> None:
    """All pictures, or those named."""
    OUT.mkdir(exist_ok=True)
    warnings.simplefilter("ignore")
    for name, picture in PICTURES.items():
        if sys.argv[1:] and name not in sys.argv[1:]:
            continue
        with canvas.style(None):
            save(picture(), name)


if __name__ == "__main__":
    main()
