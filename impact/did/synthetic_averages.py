"""What is averaged of synthetic comparisons, with the error that the redrawn panels give it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from impact.core import synthetic_panel
from impact.core.synthetic_panel import NEVER, Cells
from impact.did.aggregate import effect_on, is_share
from impact.did.cells import measured_over_time
from impact.did.synthetic_panels import METHODS, SOLVERS, Found, Options, found
from impact.estimate import Estimate
from impact.sample import Sample, caution
from impact.show.words import counted

Array = np.ndarray


class Part(NamedTuple):
    """Some averages: labels, (m, K, T) shares of the cells in each, and how values follow from effects.

    With ``mean`` the plain mean of the m averages is the one value. Where ``observed`` (m,) is given, values are
    means of what was observed, or, where it is False, that less the effect.
    """

    labels: dict[str, Any]
    share: Array
    mean: bool = False
    observed: Array | None = None


def by_age(one: Found) -> Part:
    """By time since adoption."""
    ages = np.unique(one.ages)
    return Part({"time": ages}, (one.ages == ages[:, None, None]).astype(float))


def both_paths(one: Found) -> Part:
    """By time since adoption, as observed and less the effect."""
    ages, share = np.unique(one.ages), by_age(one).share
    labels = {"group": np.repeat(["observed", "synthetic"], len(ages)), "time": np.tile(ages, 2)}
    return Part(labels, np.concatenate([share, share]), observed=np.arange(2 * len(ages)) < len(ages))


def groups_alone(one: Found) -> Part:
    """Each adoption group, over its periods since adoption."""
    member = np.eye(len(one.groups))[:, :, None]
    return Part({"adoption_group": one.groups}, member * (one.ages >= 0)[None])


def overall(one: Found, average: str) -> Part:
    """One number, averaged as ``average`` says."""
    labels = {"term": np.array(["average effect since adoption"])}
    since = (one.ages >= 0).astype(float)
    if average in ("simple", "group"):
        count = since.sum(axis=1, keepdims=True) if average == "group" else 1.0
        return Part(labels, (since / count)[None])
    of = one.ages if average == "event" else np.broadcast_to(one.periods, one.ages.shape)
    at = np.unique(of[since > 0])
    return Part(labels, since * (of == at[:, None, None]), mean=True)


@dataclass(frozen=True)
class Averages:
    """What is averaged of a sample's synthetic comparisons, as the options say."""

    sample: Sample
    outcome: str | list[str] | None
    options: Options

    def of(self, part: Callable[[Found], Part], estimand: str, **about: Any) -> Estimate:
        """The averages of every outcome asked for, with their joint covariance."""
        sample, options = self.sample, self.options
        every = found(sample, self.outcome, options)
        parts = [part(one) for one in every]
        values = [_values(one.cells, p)[0] for one, p in zip(every, parts, strict=True)]
        covariance, degrees = _covariance(every, [_errors(one.drawn, p) for one, p in zip(every, parts, strict=True)])
        labels = {"outcome": np.repeat([o.outcome.words for o in every], [len(v) for v in values])}
        for name in parts[0].labels:
            labels[name] = np.concatenate([p.labels[name] for p in parts])
        notes = (*(n for one in every for n in one.notes), *_notes(sample), *sample.notes)
        return Estimate.of_covariance(
            labels,
            np.concatenate(values),
            covariance,
            df=degrees,
            estimand=estimand,
            method="; ".join((*sample.steps, *_words(every, options))),
            notes=tuple(dict.fromkeys(notes)),
            counts=_counts(every),
            percent=all(is_share(one.panel.y) for one in every),
            references=METHODS[options.method][1],
            **{**about, "axes": {**about.get("axes", {}), "estimate": _axis(every, parts[0])}},
        )

    def over_time(self, part: Callable[[Found], Part], estimand: str, **about: Any) -> Estimate:
        """The same by time since adoption."""
        period = measured_over_time(self.sample, self.outcome)[0].per.split()[0]
        return self.of(part, estimand, kind="path", axes={"time": f"{period}s since adoption"}, **about)


def _values(cells: Cells, part: Part) -> Array:
    """(B, m) values of a part."""
    effect = synthetic_panel.averages(cells, part.share)
    if part.observed is not None:
        seen = synthetic_panel.averages(cells, part.share, "actual")
        return np.where(part.observed, seen, seen - effect)
    return effect.mean(axis=1, keepdims=True) if part.mean else effect


def _errors(drawn: Cells, part: Part) -> Array:
    """(B, m) what redrawing says of the error: of a synthetic path, that of the effect. What was observed is given."""
    if part.observed is None:
        return _values(drawn, part)
    return np.where(part.observed, 0.0, -synthetic_panel.averages(drawn, part.share))


def _covariance(every: list[Found], drawn: list[Array]) -> tuple[Array, float]:
    """The joint covariance of all values, and the degrees of freedom of their t reference."""
    one = every[0]
    if len({(len(d), f.errors) for d, f in zip(drawn, every, strict=True)}) > 1:
        raise ValueError(
            f"The {len(every)} outcomes over time are seen in different periods, so that different units count as "
            "treated in them and their draws cannot be set side by side: ask for one `outcome` at a time."
        )
    values = np.hstack(drawn)
    held, free = synthetic_panel.clusters_of(one.panel)
    if one.errors == "jackknife":
        treated = np.zeros(int(one.panel.cluster.max()) + 1, bool)
        treated[one.panel.cluster[one.panel.group != NEVER]] = True
        return synthetic_panel.jackknife(values, treated)
    covariance = np.cov(values, rowvar=False).reshape(values.shape[1], values.shape[1])
    return covariance, float(len(free) - 1 if one.errors == "placebo" else held.sum() - 1)


def _words(every: list[Found], options: Options) -> list[str]:
    """The method, the errors and the solver, in words."""
    one = every[0]
    free = len(synthetic_panel.clusters_of(one.panel)[1])
    how = {
        "placebo": f"error by {counted(len(one.drawn.size), 'placebo')} among {counted(free, 'comparison cluster')}",
        "jackknife": "error by the jackknife with weights held",
        "bootstrap": f"error by {len(one.drawn.size):,} bootstrap draws",
    }[one.errors]
    solved = [] if options.method in ("did", "augmented") else [SOLVERS[options.solver]]
    return ["; ".join([METHODS[options.method][0], *solved, how])]


def _axis(every: list[Found], part: Part) -> str:
    asked = tuple(one.outcome for one in every)
    if part.observed is None:
        return effect_on(asked)
    return asked[0].words if len(asked) == 1 else "mean outcome"


def _counts(every: list[Found]) -> dict[str, int]:
    panel = every[0].panel
    treated = int((panel.group != NEVER).sum())
    clusters = int(panel.cluster.max()) + 1
    return {"units": len(panel.w), "clusters": clusters, "treated": treated, "comparison": len(panel.w) - treated}


def _notes(sample: Sample) -> tuple[str, ...]:
    """What to keep in mind of the sample."""
    said = []
    if sample.covariates.shape[1]:
        said.append(
            f"{counted(sample.covariates.shape[1], 'covariate')} of the study were not used: they do not change over "
            "time, and weights are chosen by outcomes before adoption."
        )
    if sample.nuisance is not None:
        said.append("The weights that the design estimated are taken as given: their error is not in these.")
    return caution(said) if sample.nuisance is not None else tuple(said)
