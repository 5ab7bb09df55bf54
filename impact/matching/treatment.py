"""The model of treatment that designs share, and what to tell a reader about it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from impact.core.logit import LogitFit, Separated, logit
from impact.sample import Sample, told
from impact.show.words import counted, listing

Array = np.ndarray


class Score(NamedTuple):
    """How likely treatment was, for each unit: ``value`` (n,) on the scale to compare on, ``probability`` (n,) or
    None, ``outside`` the positions of units that have no counterpart, and the words for it."""

    value: Array
    probability: Array | None
    outside: Array
    words: str
    on: str
    notes: tuple[str, ...] = ()


FAR = "nobody in it is like them, and what they are compared with is far away."
ALONE = "they cannot be matched, and are left out."


def score(sample: Sample, model: Any, scale: str, folds: int, rng: Any, what: str) -> Score:
    """The score that units are compared on: by logistic regression, by a classifier, or a covariate as it stands."""
    if isinstance(model, str):
        return _given(sample, model)
    on = f"on the {scale} scale"
    if model is None:
        fit = propensity(sample, what)
        value = fit.logit if scale == "logit" else fit.probability
        notes = certainty(fit.separated, ALONE)
        return Score(
            value, fit.probability, fit.separated.rows, "propensity score (logistic regression)", on, notes
        )
    probability = crossfitted(sample, model, folds, rng, what)
    words = f"propensity score ({type(model).__name__}, cross-fitted in {folds} folds)"
    if scale == "probability":
        return Score(probability, probability, np.empty(0, int), words, on)
    with np.errstate(divide="ignore"):
        value = np.log(probability) - np.log1p(-probability)
    outside = np.flatnonzero(np.isinf(value) & (sample.weights > 0))
    note = (
        f"{type(model).__name__} is certain of the arm of {counted(len(outside), 'unit')}, who have no place on the "
        "logit scale and are left out."
    )
    return Score(value, probability, outside, words, on, (note,) if len(outside) else ())


def _given(sample: Sample, name: str) -> Score:
    at = sample.columns_of(name)
    if len(at) != 1:
        raise ValueError(
            f"The score `{name}` was asked for, and it makes {len(at)} columns: name a covariate that is one number."
        )
    value = sample.characteristics[:, at[0]]
    inside = bool((value >= 0).all() and (value <= 1).all())
    return Score(value, value if inside else None, np.empty(0, int), f"`{name}`", f"in `{name}`")


def crossfitted(sample: Sample, model: Any, folds: int, rng: Any, what: str) -> Array:
    """P(treated | x) of each unit by a classifier that has seen neither it nor anyone of its cluster.

    Clusters are dealt to the folds in an order drawn by ``rng`` over the units' labels, those with treated
    units first, so that each fold has both arms and the order of rows changes nothing.
    """
    if not (hasattr(model, "fit") and hasattr(model, "predict_proba")):
        raise TypeError(
            f"`score` is a {type(model).__name__}: give a scikit-learn classifier with `predict_proba`, the name of a "
            "covariate, or leave it out for logistic regression."
        )
    from sklearn.base import clone

    x, d, w, live = covariates(sample, what), sample.treated, sample.weights, sample.weights > 0
    codes = np.unique(sample.cluster, return_inverse=True)[1].ravel()
    drawn = np.full(codes.max() + 1, np.inf)
    np.minimum.at(drawn, codes, draw(sample.unit, rng))
    treats = np.zeros(len(drawn), bool)
    np.logical_or.at(treats, codes, d & live)
    few = min(int(treats.sum()), len(drawn))
    if isinstance(folds, bool) or not isinstance(folds, int | np.integer) or not 2 <= folds <= few:
        raise ValueError(
            f"`folds` is {folds!r}: set a whole number from 2 on, and no more than the {few:,} clusters with treated "
            "units."
        )
    dealt = np.empty(len(drawn), int)
    dealt[np.lexsort((drawn, ~treats))] = np.arange(len(drawn)) % folds
    fold = dealt[codes]
    weighted = {} if np.ptp(w[live]) == 0 else {"sample_weight": w}
    out = np.empty(len(d))
    # The rows in an order of their own, for classifiers that draw or split by position.
    rows = np.argsort(draw(sample.unit, 0))
    for k in range(folds):
        seen = rows[(live & (fold != k))[rows]]
        if d[seen].all() or not d[seen].any():
            raise ValueError(f"Without fold {k + 1} of {folds}, all units are in one arm: ask for fewer folds.")
        fitted = clone(model).fit(x[seen], d[seen], **{name: v[seen] for name, v in weighted.items()})
        mine = fold == k
        if mine.any():
            out[mine] = fitted.predict_proba(x[mine])[:, list(fitted.classes_).index(True)]
    return out


def draw(labels: Array, rng: Any) -> Array:
    """A number for each label, as if drawn: it depends on the labels and ``rng`` alone, not on the order of rows."""
    try:
        order = np.argsort(labels, kind="stable")
    except TypeError:  # labels of more than one type
        order = np.argsort([f"{type(v).__name__} {v}" for v in labels], kind="stable")
    out = np.empty(len(labels))
    out[order] = np.random.default_rng(rng).permutation(len(labels))
    return out


def covariates(sample: Sample, what: str) -> Array:
    """The covariates to adjust for; refused where the study names none."""
    if sample.arm is not None:
        _ = sample.arms  # refuses more than two arms in words
    if not sample.covariates.shape[1]:
        raise ValueError(
            f"{what} was asked for, and the study “{sample.study.title}” has no covariates that vary: name in "
            "`covariates` what decided who was treated."
        )
    return sample.covariates


def propensity(sample: Sample, what: str) -> LogitFit:
    """The logistic regression of treatment on the covariates, with the sample's weights."""
    x = covariates(sample, what)
    return logit(sample.treated, x, sample.weights, names=told(sample.covariate_names, x))


def strangers(sample: Sample) -> Separated:
    """Units with a level that nobody of the other arm has: a distance finds them partners all the same."""
    x, live, d = sample.characteristics, sample.weights > 0, sample.treated
    names = told(sample.characteristic_names, x)
    binary = ((x == 0) | (x == 1)).all(axis=0)
    sides = [(x[live & arm] != 0).any(axis=0) for arm in (d, ~d)]
    alone = np.flatnonzero(binary & (sides[0] != sides[1]))
    rows = np.flatnonzero(live & (x[:, alone] != 0).any(axis=1))
    treated = int(d[rows].sum())
    return Separated(rows, treated, len(rows) - treated, tuple(names[j] for j in alone))


def certainty(separated: Separated, consequence: str) -> tuple[str, ...]:
    """A note on units whom the covariates place in one arm with certainty: the others cannot stand in for them."""
    if not separated:
        return ()
    who = [
        counted(count, f"{arm} unit")
        for arm, count in (("treated", separated.treated), ("comparison", separated.comparison))
        if count
    ]
    names = listing(f"`{name}`" for name in separated.names[:5])
    more = f" and {len(separated.names) - 5} more" if len(separated.names) > 5 else ""
    single = separated.treated + separated.comparison == 1
    return (
        f"{listing(who)} {'has' if single else 'have'} covariates that the other arm never has ({names}{more}): "
        f"{consequence}",
    )
