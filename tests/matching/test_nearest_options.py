"""What nearest matching keeps to besides the score: ties, distances, calipers, support, ratios, other models."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from impact import emulate
from impact.core.logit import logit
from impact.matching import nearest
from tests.matching.test_nearest import clients, quiet, study

DESIGNS = (
    {},
    {"order": "closest"},
    {"scale": "probability", "ratio": 2, "caliper": None},
    {"replace": True, "caliper": None},
    {"exact": "office"},
    {"antiexact": "office", "caliper": None},
    {"calipers": {"age": 3}, "caliper": None},
    {"discard": "both", "caliper": None},
    {"ratio": 2, "fewest": 1, "most": 4, "caliper": None},
    {"distance": "mahalanobis"},
    {"distance": "mahalanobis", "caliper": None, "ratio": 3, "replace": True},
    {"distance": "robust_mahalanobis", "order": "largest"},
    {"distance": "scaled_euclidean", "on": "age", "caliper": 1},
    {"distance": "euclidean", "caliper": None},
)


def tied(n=400, seed=3):
    """Whole years, few of them: everybody has many equals, and equally many years above and below."""
    table = clients(n, seed)
    table["age"] = 40 + (table["age"] // 4).astype(int) % 7
    table["id"] = [f"client {k * 7919 % 10007}" for k in range(n)]
    return table


@quiet
@pytest.mark.parametrize("options", DESIGNS, ids=str)
def test_the_order_of_the_rows_changes_nothing_however_many_are_equal(options):
    table = tied()
    mix = np.random.default_rng(0).permutation(len(table))
    a = nearest.match(emulate(study(), table), **options)
    b = nearest.match(emulate(study(), table.iloc[mix]), **options)
    assert (a.unit[mix] == b.unit).all()
    assert np.allclose(a.weights[mix], b.weights, rtol=1e-12)
    if a.strata is not None:
        pairs = {frozenset(s.unit[s.strata == k]) for s in (a, b) for k in np.unique(s.strata[s.strata >= 0])}
        assert len(pairs) == (np.unique(a.strata) >= 0).sum()


@quiet
def test_ties_can_be_drawn_anew_and_matchits_rule_goes_by_rows():
    sample = emulate(study(), tied())
    drawn = [nearest.match(sample, ties="random", rng=seed).weights for seed in (1, 1, 2)]
    assert np.array_equal(drawn[0], drawn[1]) and not np.array_equal(drawn[0], drawn[2])
    assert drawn[0].sum() == drawn[2].sum()
    mix = np.random.default_rng(0).permutation(400)
    by_row = [nearest.match(s, ties="matchit").weights for s in (sample, sample.take(mix))]
    assert not np.array_equal(by_row[0][mix], by_row[1])


def sets(sample):
    return [np.flatnonzero(sample.strata == s) for s in np.unique(sample.strata[sample.strata >= 0])]


@quiet
@pytest.mark.parametrize("distance", ["score", "mahalanobis"])
def test_calipers_on_covariates_are_in_their_units_or_standard_deviations(distance):
    table = clients(seed=2)
    sample = emulate(study(covariates=("age", "pay", "office")), table.assign(pay=table["pay"].round(1)))
    options = {"distance": distance, "calipers": {"age": 4}, "calipers_sd": {"pay": 0.5}, "antiexact": ("office",)}
    matched = nearest.match(sample, **options)
    age, pay = (sample.characteristics[:, sample.columns_of(c)[0]] for c in ("age", "pay"))
    office = sample.characteristics[:, list(sample.columns_of("office"))].argmax(axis=1)
    assert len(sets(matched)) > 10
    for pair in sets(matched):
        assert np.ptp(age[pair]) <= 4 and np.ptp(pay[pair]) <= 0.5 * pay.std(ddof=1) and np.ptp(office[pair]) > 0
    assert "at most 4 apart in `age`, at most 0.5 SD apart in `pay` and of another `office`" in matched.steps[-1]


@quiet
def test_mahalanobis_within_a_caliper_on_the_score():
    sample = emulate(study(), clients(seed=2))
    matched = nearest.match(sample, distance="mahalanobis", on="age", caliper=0.1)
    value = logit(sample.treated, sample.covariates, sample.weights).logit
    assert all(np.ptp(value[pair]) <= 0.1 * value.std(ddof=1) for pair in sets(matched))
    assert "by Mahalanobis distance of `age`, within 0.1 SD" in matched.steps[-1] and matched.score is not None
    free = nearest.match(sample, distance="mahalanobis", caliper=None)
    assert free.score is None and "Mahalanobis distance, at any distance;" in free.steps[-1]


@quiet
def test_a_caliper_in_units_of_the_score():
    sample = emulate(study(), clients(seed=2))
    matched = nearest.match(sample, scale="probability", caliper=0.01, caliper_in="score")
    assert all(np.ptp(matched.score[pair]) <= 0.01 for pair in sets(matched))
    assert "within 0.01 on the probability scale" in matched.steps[-1]


@quiet
@pytest.mark.parametrize("whom", ["treated", "comparison", "both"])
def test_units_beyond_the_other_arms_scores_are_discarded_and_counted(whom):
    sample = emulate(study(), clients(seed=2, shift=2.0))
    matched = nearest.match(sample, discard=whom, replace=True, caliper=None)
    d, value = sample.treated, logit(sample.treated, sample.covariates, sample.weights).logit
    beyond = [((value < value[~a].min()) | (value > value[~a].max())) & a for a in (d, ~d)]
    beyond = [b & (whom in (name, "both")) for b, name in zip(beyond, ("treated", "comparison"), strict=True)]
    assert sum(b.sum() for b in beyond) > 0 and (matched.weights[beyond[0] | beyond[1]] == 0).all()
    told = f"{beyond[0].sum()} treated and {beyond[1].sum()} comparison units have scores beyond"
    assert any(told in note for note in matched.notes)


@quiet
def test_a_ratio_that_varies_gives_few_where_partners_are_scarce():
    sample = emulate(study(), clients(600, seed=2))
    matched = nearest.match(sample, ratio=2, fewest=1, most=4, caliper=None)
    partners = {k: len(pair) - 1 for k, pair in enumerate(sets(matched))}
    value = [matched.score[pair][matched.treated[pair]][0] for pair in sets(matched)]
    assert sum(partners.values()) == 2 * len(partners) and set(partners.values()) <= {1, 2, 3, 4}
    assert np.corrcoef(value, list(partners.values()))[0, 1] < -0.5
    assert "1:2 on average, from 1 to 4" in matched.steps[-1]


@quiet
def test_a_score_by_a_classifier_comes_from_fits_that_have_not_seen_the_cluster():
    from sklearn.base import BaseEstimator, ClassifierMixin

    class Memory(ClassifierMixin, BaseEstimator):
        """Knows the rows it has seen by heart, and says so."""

        def fit(self, x, d):
            self.classes_, self.seen = np.unique(d), {tuple(row) for row in x}
            return self

        def predict_proba(self, x):
            known = np.array([tuple(row) in self.seen for row in x])
            p = np.where(known, 0.99, 0.2 + 1e-6 * x[:, 0])
            return np.column_stack([1 - p, p])

    table = clients(seed=4).assign(place=np.arange(300) // 3)
    table["age"] = table["age"].round(6) + 1000 * table["place"]  # all of a cluster differ, none is elsewhere
    matched = nearest.match(emulate(study(cluster="place"), table), score=Memory(), caliper=None)
    assert matched.score.max() < 0.5
    assert "propensity score (Memory, cross-fitted in 5 folds)" in matched.steps[-1]


@quiet
def test_boosting_as_a_score_does_not_depend_on_the_order_of_rows():
    from sklearn.ensemble import HistGradientBoostingClassifier

    table, model = clients(seed=5), HistGradientBoostingClassifier(max_iter=20, random_state=0)
    mix = np.random.default_rng(0).permutation(300)
    a, b = (nearest.match(emulate(study(), t), score=model, rng=1) for t in (table, table.iloc[mix]))
    assert np.allclose(a.score[mix], b.score) and np.array_equal(a.weights[mix], b.weights)


@quiet
def test_a_forest_that_is_certain_leaves_units_out_and_says_so():
    from sklearn.ensemble import RandomForestClassifier

    sample = emulate(study(), clients(seed=5, shift=3.0))
    matched = nearest.match(sample, score=RandomForestClassifier(5, random_state=0), rng=1)
    assert any("RandomForestClassifier is certain of the arm of" in note for note in matched.notes)
    certain = (matched.score == 0) | (matched.score == 1)
    assert certain.any() and (matched.weights[certain] == 0).all()


@quiet
def test_a_score_of_the_users_own_is_used_as_it_stands():
    table = clients(seed=6)
    table["risk"] = table["age"] / 100
    sample = emulate(study(covariates=("age", "office", "risk")), table)
    matched = nearest.match(sample, score="risk", caliper=0.005, caliper_in="score")
    assert all(np.ptp(table["risk"].to_numpy()[pair]) <= 0.005 for pair in sets(matched))
    assert "by `risk`, within 0.005 in `risk`" in matched.steps[-1]


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"distance": "cosine"}, ValueError, "'score', 'mahalanobis', 'robust_mahalanobis'"),
        ({"discard": "all"}, ValueError, "'none', 'treated', 'comparison' or 'both'"),
        ({"ties": "first"}, ValueError, "'labels', 'matchit' or 'random'"),
        ({"caliper_in": "IQR"}, ValueError, "'SD' or 'score'"),
        ({"ratio": 2, "fewest": 1}, ValueError, "whole numbers `fewest` and `most`"),
        ({"ratio": 4, "fewest": 1, "most": 3}, ValueError, "the average, between them"),
        ({"ratio": 2, "fewest": 1, "most": 3, "replace": True}, ValueError, "without replacement"),
        ({"calipers": {"office": 1}}, ValueError, "makes 3 columns: match on it exactly"),
        ({"calipers": {"age": -1}}, ValueError, "a number from 0 on"),
        ({"calipers": {"shoe": 1}}, KeyError, "`shoe` is not among the covariates"),
        ({"antiexact": "shoe"}, KeyError, "`shoe` is not among the covariates"),
        ({"distance": "mahalanobis", "on": "shoe"}, KeyError, "`shoe` is not among the covariates"),
        ({"score": "office"}, ValueError, "makes 3 columns: name a covariate that is one number"),
        ({"score": 3}, TypeError, "scikit-learn classifier"),
    ],
)
def test_what_cannot_be_is_refused_in_words(options, error, words):
    with pytest.raises(error, match=words):
        nearest.match(emulate(study(), clients()), **options)


def test_folds_are_refused_when_too_few_or_too_many():
    from sklearn.linear_model import LogisticRegression

    for folds in (1, 2.5, 1000):
        with pytest.raises(ValueError, match="`folds` is .* whole number"):
            nearest.match(emulate(study(), clients()), score=LogisticRegression(), folds=folds)


@quiet
def test_sampling_weights_enter_the_distance():
    table = pd.concat([clients(seed=8)] * 2, ignore_index=True).assign(id=range(600))
    half = clients(seed=8)
    options = {"distance": "mahalanobis", "caliper": None, "replace": True}
    once = nearest.match(emulate(study(weights="weight"), half), **options)
    twice = nearest.match(emulate(study(weights="weight"), table), **options)
    assert once.weights[once.treated].sum() * 2 == pytest.approx(twice.weights[twice.treated].sum())
