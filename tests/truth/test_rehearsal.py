"""A rehearsal against repeated samples: it ranks and judges estimators as the truth does."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from impact import Outcome, Study, emulate
from impact.checks.rehearsal import rehearsal
from impact.matching import doubly_robust, means, nearest, regression

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::impact.ImpactWarning")]

STUDY = Study(title="t", unit="id", treatment="d", covariates=("x", "z"), outcomes=Outcome("y"))
EFFECT = 1.0
ESTIMATORS = {
    "difference in means": means.difference,
    "regression": regression.difference,
    "doubly robust": doubly_robust.difference,
    "matching": lambda s: means.difference(nearest.match(s)),
}


def register(rng, n=1000, curved=0.0):
    x, z = rng.normal(size=(2, n))
    d = (rng.random(n) < 1 / (1 + np.exp(-(-1.2 + 0.8 * x + 0.4 * z)))).astype(int)
    y = x + 0.5 * z + curved * x**2 + EFFECT * d + rng.normal(size=n)
    return emulate(STUDY, pd.DataFrame({"id": range(n), "d": d, "x": x, "z": z, "y": y}))


def test_a_rehearsal_foresees_bias_and_coverage():
    """Linear outcomes: the plain difference is off by as much as in earnest, and adjusted intervals cover."""
    rng, registers, draws = np.random.default_rng(5), 20, 100
    rows, real = [], []
    for _ in range(registers):
        sample = register(rng)
        check = rehearsal(sample, estimators=ESTIMATORS, size=[0.0, EFFECT], draws=draws, n_jobs=2)
        rows.append(check.tidy().set_index(["method", "truth"]))
        real.append([f(sample).value[0] - EFFECT for f in ESTIMATORS.values()])
    for truth in (0.0, EFFECT):
        for k, name in enumerate(ESTIMATORS):
            bias = np.array([r.loc[(name, truth), "bias"] for r in rows])
            spread = np.mean([r.loc[(name, truth), "spread"] for r in rows])
            found = np.mean([row[k] for row in real])
            noise = np.hypot(bias.std(ddof=1), spread) / np.sqrt(registers)
            if name == "difference in means":
                assert bias.mean() > 0.5 and found > 0.5
            else:
                assert abs(bias.mean() - found) < 3 * noise, (name, truth, bias.mean(), found)
    for name in ("regression", "doubly robust"):
        coverage = np.array([r.loc[(name, EFFECT), "coverage"] for r in rows])
        error = max(coverage.std(ddof=1), np.sqrt(0.95 * 0.05 / draws)) / np.sqrt(registers)
        print(name, coverage.mean())
        assert abs(coverage.mean() - 0.95) < 3 * error + 0.005, (name, coverage.mean())


def test_a_rehearsal_sees_a_model_that_is_wrong_for_this_register():
    """Curved outcomes: linear regression is biased in earnest, and the rehearsal says so, in nearly every register."""
    rng, registers = np.random.default_rng(6), 10
    blamed, trusted, real = 0, 0, []
    for _ in range(registers):
        sample = register(rng, curved=0.7)
        named = {k: ESTIMATORS[k] for k in ("regression", "doubly robust")}
        check = rehearsal(sample, estimators=named, draws=100)
        blamed += "“regression” is off" in check.reason
        trusted += "Can be trusted here: “doubly robust”" in check.reason
        real.append(regression.difference(sample).value[0] - EFFECT)
    print(blamed, trusted, np.mean(real))
    assert abs(np.mean(real)) > 0.15
    assert blamed >= registers - 2 and trusted >= registers - 3


def test_planted_effects_on_jobs_are_found():
    """Zeros and ones: turned outcomes add up to the planted effect, for the group that the study asks for."""
    for estimand in ("ATT", "ATC", "ATE"):
        rng = np.random.default_rng(7)
        sample = register(rng, n=1500)
        rows = pd.DataFrame({"id": sample.unit, "d": sample.treated.astype(int), "x": sample.covariates[:, 0],
                             "z": sample.covariates[:, 1], "y": (sample.outcome() > 0.5).astype(int)})  # fmt: skip
        binary = emulate(STUDY.revise(estimand=estimand), rows)
        named = {"doubly robust": doubly_robust.difference}
        table = rehearsal(binary, estimators=named, size=[0.0, 0.1, -0.1], draws=150).tidy()
        assert (table["bias"].abs() < 3 * table["spread"] / np.sqrt(150) + 0.003).all(), table
