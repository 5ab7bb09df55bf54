"""Twenty areas, five of them treated, errors that last: what every estimator offers by default covers, or refuses.

Of 2,000 draws of this design, usual intervals cover too little: errors taken as independent 0.68, HC1 0.65, clustered
by area with a t of 19 degrees 0.87 to 0.89 (Bertrand, Duflo and Mullainathan 2004 made the point).
"""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

from impact import ImpactWarning, Outcome, Study, emulate
from tests.contracts import walk

RUNS = 800
AREAS, TREATED, PERIODS, LASTING = 20, 5, 10, 0.8
STUDY = Study(title="Few areas", unit="area", adoption="start", outcomes=Outcome("y_{}", periods=range(1, PERIODS + 1)))
# fmt: off
ATTS = [
    f
    for f in walk.functions("Estimate")
    if f.__module__.startswith("impact.did.") and f.__name__ == "att"
    and not f.__module__.endswith(("triple", "synthetic", "two_way"))  # which have simulations of their own
]
# fmt: on
pytestmark = pytest.mark.slow


def areas(r, treated=TREATED):
    """Stationary autoregressive errors, no effect."""
    e = r.normal(size=(AREAS, PERIODS))
    e[:, 0] /= np.sqrt(1 - LASTING**2)
    for t in range(1, PERIODS):
        e[:, t] += LASTING * e[:, t - 1]
    start = np.where(np.arange(AREAS) < treated, 6.0, np.nan)
    return pd.DataFrame({"area": np.arange(AREAS), "start": start} | {f"y_{t + 1}": e[:, t] for t in range(PERIODS)})


@pytest.mark.parametrize("att", ATTS, ids=walk.name)
def test_intervals_cover_or_are_refused(att):
    r = np.random.default_rng(20)
    held = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImpactWarning)  # few areas is what this is about
        for _ in range(RUNS):
            try:
                low, high = att(emulate(STUDY, areas(r))).interval()
            except ValueError as refusal:
                assert len(str(refusal).split()) > 8
                return
            if np.isfinite(low[0]):
                held.append(low[0] <= 0 <= high[0])
    if held:
        assert 0.93 <= np.mean(held) <= 0.975, f"{walk.name(att)} covers {np.mean(held):.3f} of {len(held)}"
