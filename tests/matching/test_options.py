"""One vocabulary: the same options mean the same for every design, and what is asked for holds."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier

from impact import emulate
from impact.core import candidates
from impact.core.logit import logit
from impact.matching import (
    cardinality,
    exact,
    kernel,
    means,
    nearest,
    optimal,
    propensity,
    quantiles,
    subclass,
    trimming,
)  # fmt: skip
from impact.matching.distance import points
from tests.contracts import walk

pytestmark = pytest.mark.filterwarnings("ignore::impact.ImpactWarning")

PAIRED = [nearest.match, optimal.match, optimal.full]
SCORED = [nearest.match, optimal.match, optimal.full, kernel.match, subclass.stratify, propensity.weight,
          trimming.crump, trimming.quantile, trimming.common_support]  # fmt: skip
on_scores = pytest.mark.parametrize("design", SCORED, ids=walk.name)


def people(**changes):
    return emulate(walk.TRIAL.revise(**changes), walk.people())


def with_chance(**changes):
    """The people, and a covariate `chance`: what logistic regression on the other covariates says."""
    rows = walk.people()
    plain = emulate(walk.TRIAL, rows)
    chance = logit(plain.treated, plain.covariates, plain.weights).probability
    covariates = (*walk.TRIAL.covariates, "chance")
    return plain, emulate(walk.TRIAL.revise(covariates=covariates, **changes), rows.assign(chance=chance))


# ---- names ------------------------------------------------------------------------------------


def test_designs_that_pair_take_the_same_options():
    shared = {"distance", "on", "score", "scale", "folds", "caliper", "caliper_in", "calipers", "calipers_sd", "exact",
              "antiexact", "discard", "rng"}  # fmt: skip
    for design in PAIRED:
        taken = inspect.signature(design).parameters
        assert shared <= set(taken), walk.name(design)
        first = inspect.signature(nearest.match).parameters
        for name in shared - {"caliper"}:
            assert taken[name].default == first[name].default, f"{walk.name(design)}, {name}"


@pytest.mark.parametrize("estimand", ["ATO", "ATM"])
@pytest.mark.parametrize(
    "design",
    [nearest.match, optimal.match, optimal.full, kernel.match, subclass.stratify, exact.match, cardinality.match],
    ids=walk.name,
)
def test_estimands_that_sets_do_not_define_are_refused_in_words(design, estimand):
    with pytest.raises(ValueError, match=f"the {estimand}|The {estimand}") as found:
        design(people(estimand=estimand))
    assert "'ATT'" in str(found.value) and "propensity.weight" in str(found.value) or design is optimal.match


# ---- scores -----------------------------------------------------------------------------------


@on_scores
def test_a_covariate_that_is_the_score_gives_what_the_model_gives(design):
    plain, given = with_chance()
    scale = {"scale": "probability"} if walk.takes(design, "scale") else {}
    a, b = design(plain, **scale), design(given, score="chance", **scale)
    assert a.weights == pytest.approx(b.weights, rel=1e-9)
    assert a.score == pytest.approx(b.score, rel=1e-12)
    assert "`chance`" in b.steps[-1] and "`chance`" not in a.steps[-1]


@on_scores
def test_a_classifier_is_cross_fitted_and_indifferent_to_the_order_of_rows(design):
    start = people()
    model = LogisticRegression(C=0.1, max_iter=1000)
    after = design(start, score=model, folds=4, rng=3)
    assert "LogisticRegression, cross-fitted in 4 folds" in after.steps[-1]
    assert after.score is not None and not np.allclose(after.score, design(start).score)
    mix = np.random.default_rng(0).permutation(len(start))
    assert design(start.take(mix), score=model, folds=4, rng=3).weights == pytest.approx(after.weights[mix], rel=1e-9)


@on_scores
@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"score": "nothing"}, KeyError, "nothing"),
        ({"score": "school"}, ValueError, "makes 3 columns"),
        ({"score": 3}, TypeError, "scikit-learn classifier"),
        ({"folds": 1}, ValueError, "folds"),
        ({"rng": "dice"}, ValueError, "rng"),
    ],
)
def test_scores_that_are_none_are_refused_in_words(design, options, error, words):
    with pytest.raises(error, match=words):
        design(people(), **options)


@pytest.mark.parametrize("design", [propensity.weight, *SCORED[-3:]], ids=walk.name)
def test_weights_and_trimming_need_a_probability(design):
    with pytest.raises(ValueError, match="`age`, which has values below 0 or above 1"):
        design(people(), score="age")


def test_weights_by_a_given_score_are_taken_as_given():
    plain, given = with_chance()
    for estimand in ("ATT", "ATC", "ATE", "ATO", "ATM"):
        a, b = propensity.weight(plain, estimand=estimand), propensity.weight(given, estimand=estimand, score="chance")
        assert a.weights == pytest.approx(b.weights, rel=1e-9)
        one, other = means.difference(a, outcome="score"), means.difference(b, outcome="score")
        assert one.value == pytest.approx(other.value, rel=1e-9)
        assert abs(one.std_error[0] / other.std_error[0] - 1) > 1e-4
        assert quantiles.difference(b, outcome="score").std_error[0] > 0
        assert any(note.startswith("Standard errors take the weights by `chance` as given") for note in b.notes)
        with pytest.raises(ValueError, match="already estimated"):
            propensity.weight(b)


def test_a_score_that_gives_a_weight_without_bound_is_refused():
    certain = DecisionTreeClassifier(random_state=0)
    with pytest.raises(ValueError, match=r"\d+ units no chance of the arm they are in"):
        propensity.weight(people(), estimand="ATE", score=certain)
    assert (propensity.weight(people(), estimand="ATO", score=certain).weights <= 1).all()


def test_classes_may_be_cut_by_others_quantiles():
    start = people()
    for whose, mask in (("treated", start.treated), ("comparison", ~start.treated), ("all", start.weights > 0)):
        after = subclass.stratify(start, classes=4, cut_by=whose)
        bounds = np.quantile(after.score[mask], [0.25, 0.5, 0.75])
        assert (after.strata == np.searchsorted(bounds, after.score, side="right")).all()
    assert (subclass.stratify(start, cut_by="treated").weights == subclass.stratify(start).weights).all()
    with pytest.raises(ValueError, match="`cut_by` is 'everybody': choose 'treated', 'comparison' or 'all'"):
        subclass.stratify(start, cut_by="everybody")


# ---- kernels ----------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", ["epanechnikov", "gaussian", "uniform"])
@pytest.mark.parametrize("estimand", ["ATT", "ATE"])
def test_kernels_of_another_distance_within_exact_groups(shape, estimand, monkeypatch):
    start = people(estimand=estimand, weights="weight")
    monkeypatch.setattr(candidates, "CHUNK", 300)
    metric = {"distance": "mahalanobis", "on": ("age", "woman")}
    after = kernel.match(start, kernel=shape, **metric, bandwidth=0.7, exact="school")
    x = points(start, "mahalanobis", ("age", "woman"), start.weights > 0)
    school = start.characteristics[:, start.columns_of("school")]
    d, w, out = start.treated, start.weights, np.zeros(len(start))
    for arm in (True, False)[: 1 if estimand == "ATT" else 2]:
        u = np.sqrt(((x[d == arm][:, None] - x[d != arm]) ** 2).sum(axis=2)) / 0.7
        same = (school[d == arm][:, None] == school[d != arm]).all(axis=2)
        share = w[d != arm] * kernel.KERNELS[shape](u) * same
        found = share.sum(axis=1) > 0
        out[np.flatnonzero(d == arm)[found]] += w[d == arm][found]
        out[d != arm] += (w[d == arm][found][:, None] * share[found] / share[found].sum(axis=1)[:, None]).sum(axis=0)
    assert after.weights == pytest.approx(out, rel=1e-9, abs=1e-12)
    assert "distance of `age` and `woman`" in after.steps[-1] and "with the same `school`" in after.steps[-1]


def test_the_bandwidth_rules_on_another_distance():
    start = people()
    after = kernel.match(start, distance="mahalanobis")
    x = points(start, "mahalanobis", (), start.weights > 0)
    gap = np.sqrt(((x[start.treated][:, None] - x[~start.treated]) ** 2).sum(axis=2)).min(axis=1)
    assert f"bandwidth {1.5 * np.quantile(gap[gap > 0], 0.9):.3g};" in after.steps[-1]
    assert (kernel.match(start, distance="mahalanobis", bandwidth="cross-validation").weights >= 0).all()
