"""Kernel and radius matching: the weights by hand, bandwidths, what is said, refusals."""

from __future__ import annotations

import numpy as np
import pytest

from impact import emulate
from impact.core import candidates
from impact.matching import kernel, means
from tests.contracts import walk

pytestmark = pytest.mark.filterwarnings("ignore::impact.ImpactWarning")

K = {
    "epanechnikov": lambda u: 0.75 * np.where(abs(u) < 1, 1 - u**2, 0),
    "biweight": lambda u: 15 / 16 * np.where(abs(u) < 1, (1 - u**2) ** 2, 0),
    "gaussian": lambda u: np.exp(-(u**2) / 2) / np.sqrt(2 * np.pi),
    "uniform": lambda u: 0.5 * (abs(u) <= 1),
}


def people(**changes):
    return emulate(walk.TRIAL.revise(**changes), walk.people())


def by_hand(sample, score, h, shape, arm):
    """The (n,) weights that compare the units of one arm with those of the other."""
    d, w = sample.treated == arm, sample.weights
    share = w[~d] * K[shape]((score[d][:, None] - score[~d]) / h)
    found = share.sum(axis=1) > 0
    out = np.zeros(len(sample))
    out[np.flatnonzero(d)[found]] = w[d][found]
    out[~d] = (w[d][found][:, None] * share[found] / share[found].sum(axis=1)[:, None]).sum(axis=0)
    return out


@pytest.mark.parametrize("shape", list(K))
@pytest.mark.parametrize("estimand", ["ATT", "ATC", "ATE"])
@pytest.mark.parametrize("scale", ["probability", "logit"])
def test_the_weights_are_those_of_the_formula(shape, estimand, scale, monkeypatch):
    start = people(estimand=estimand, weights="weight")
    monkeypatch.setattr(candidates, "CHUNK", 500)  # several chunks
    h = 0.03 if scale == "probability" else 0.15
    after = kernel.match(start, kernel=shape, bandwidth=h, scale=scale)
    score = after.score if scale == "probability" else np.log(after.score / (1 - after.score))
    arms = {"ATT": [True], "ATC": [False], "ATE": [True, False]}[estimand]
    assert after.weights == pytest.approx(sum(by_hand(start, score, h, shape, a) for a in arms), rel=1e-9, abs=1e-12)


def test_the_bandwidth_by_the_distances_of_pairs():
    """One and a half times the 90th percentile of the distances to the nearest, zeros left out."""
    start = people(covariates=("school", "woman", "age"))
    after = kernel.match(start)
    gap = np.abs(after.score[after.treated][:, None] - after.score[~after.treated]).min(axis=1)
    h = 1.5 * np.quantile(gap[gap > 0], 0.9)
    assert f"bandwidth {h:.3g} on the probability scale" in after.steps[-1]
    assert (after.weights == kernel.match(start, bandwidth=float(h)).weights).all()


def test_cross_validation_chooses_what_predicts_covariates_best():
    start = people()
    after = kernel.match(start, bandwidth="cross-validation")
    score, x = after.score[~after.treated], start.covariates[~after.treated]
    z = (x - x.mean(axis=0)) / x.std(axis=0)

    def loss(h):
        share = K["epanechnikov"]((score[:, None] - score) / h)
        np.fill_diagonal(share, 0)
        sums = share.sum(axis=1, keepdims=True)
        guess = np.divide(share @ z, sums, out=np.zeros_like(z), where=sums > 0)
        return ((z - guess) ** 2).sum()

    gap = np.abs(after.score[after.treated][:, None] - score).min(axis=1)
    tried = 1.5 * np.quantile(gap[gap > 0], 0.9) * np.geomspace(0.2, 5, 15)
    best = tried[np.argmin([loss(h) for h in tried])]
    assert f"bandwidth {best:.3g}" in after.steps[-1]


def test_units_with_nobody_near_are_left_out_and_it_is_said():
    after = kernel.match(people(), bandwidth=0.002)
    left = int((after.weights[after.treated] == 0).sum())
    assert left and any(f"{left} of 45 treated units have nobody" in note for note in after.notes)
    assert any(note.startswith("Standard errors take the weights") for note in after.notes)
    assert means.difference(after, outcome="score").value.shape == (1,)


def test_common_support_leaves_out_who_is_beyond_the_treated():
    after = kernel.match(people(), kernel="gaussian", bandwidth=0.1, discard="comparison")
    inside = (after.score >= after.score[after.treated].min()) & (after.score <= after.score[after.treated].max())
    assert ((after.weights > 0) == inside).all() and not inside.all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"kernel": "cosine"}, "choose 'epanechnikov'"),
        ({"bandwidth": 0}, "positive number"),
        ({"bandwidth": np.nan}, "positive number"),
        ({"bandwidth": True}, "positive number"),
        ({"bandwidth": "silverman"}, "'pairs' or 'cross-validation'"),
        ({"scale": "odds"}, "'logit' or 'probability'"),
        ({"bandwidth": 1e-15}, "widen the bandwidth"),
    ],
)
def test_refusals(options, words):
    with pytest.raises(ValueError, match=words):
        kernel.match(people(), **options)


def test_no_distances_no_rule():
    start = people(covariates=("school",))
    with pytest.raises(ValueError, match="give `bandwidth` a number"):
        kernel.match(start)
    assert (kernel.match(start, bandwidth=0.01).weights > 0).all()
