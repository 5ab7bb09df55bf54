"""Honest trends on the Medicaid expansions of 2014, against the figures that come with R's HonestDiD.

The event study is that of the package's README: states that expanded in 2014 against those that had not by 2015,
2008 to 2015, two-way effects, errors clustered by state with fixest's correction. The figures are R's, who takes the
lowest and the highest theta accepted on a grid of 1,000 from 20 standard errors below to 20 above, 0.00037 apart, and
draws 1,000 times for its first stage: two prints of the README differ by up to 0.0004. The values here are computed
without a grid.
"""

from __future__ import annotations

import time

import numpy as np
import pytest

from impact import Estimate
from impact.checks.honest_trends import honest_trends

YEARS = [-6, -5, -4, -3, -2, 0, 1]
VALUE = [-0.005285354533, -0.01129732465, -0.002675991812, -0.001419312252, 0.000339663519, 0.04644685416,
         0.06920617548]  # fmt: skip
VCOV = [
    [7.488483636e-05],
    [6.039874096e-05, 7.266500617e-05],
    [4.444619818e-05, 3.789330221e-05, 5.05205194e-05],
    [3.385764706e-05, 2.866578025e-05, 2.673679432e-05, 4.003222026e-05],
    [4.328011255e-05, 4.543320628e-05, 2.778193568e-05, 2.412859976e-05, 5.462662207e-05],
    [4.765880479e-05, 4.428850119e-05, 3.060644109e-05, 2.380868209e-05, 3.682531052e-05, 8.375668825e-05],
    [
        2.4251287e-05,
        2.824655043e-05,
        9.637533883e-06,
        2.923878143e-06,
        9.722947502e-06,
        6.321397963e-05,
        0.000107123523,
    ],
]
GRID = 40 * 0.009151868 / 999


def medicaid():
    lower = np.zeros((7, 7))
    for i, row in enumerate(VCOV):
        lower[i, : i + 1] = row
    labels = {"outcome": "insured", "time": YEARS}
    return Estimate.of_covariance(labels, VALUE, lower + np.tril(lower, -1).T, kind="path")


def limits(check):
    rows = check.table[~check.table["term"].str.contains("breakdown|parallel trends")]
    return rows[["conf_low", "conf_high"]].to_numpy()


def test_the_event_study_is_the_published_one():
    found = medicaid().where("time >= 0")
    np.testing.assert_allclose(found.value, [0.0464, 0.0692], atol=5e-5)
    np.testing.assert_allclose(found.std_error, [0.0092, 0.0104], atol=6e-5)


@pytest.mark.parametrize("published", [
    [[0.0241, 0.0673], [0.0171, 0.0720], [0.0086, 0.0796], [-0.0011, 0.0883]],
    [[0.0240, 0.0672], [0.0170, 0.0720], [0.00824, 0.0797], [-0.000916, 0.0881]],
])  # fmt: skip
def test_relative_magnitudes(published):
    found = limits(honest_trends(medicaid(), divergence=[0.5, 1, 1.5, 2]))
    gap = found - np.array(published)
    assert np.abs(gap).max() < 1.5 * GRID
    # What a grid accepts lies within the interval, but for the error of R's first stage.
    assert (gap[:, 0] < 1e-4).all() and (gap[:, 1] > -1e-4).all()


def test_smoothness():
    found = limits(honest_trends(medicaid(), restriction="smooth", divergence=[0, 0.01, 0.02, 0.03, 0.04, 0.05]))
    published = [[0.0259, 0.0607], [0.0132, 0.0787], [0.00286, 0.0907], [-0.00714, 0.101], [-0.0171, 0.111],
                 [-0.0271, 0.121]]  # fmt: skip
    np.testing.assert_allclose(found[:, 0], [low for low, _ in published], atol=1e-4)
    np.testing.assert_allclose(found[:, 1], [high for _, high in published], atol=3e-4)  # R prints three digits


def test_the_breakdown_values():
    assert "by up to 1.95 times as much" in honest_trends(medicaid()).reason
    assert (
        "changes from one period to the next by up to 0.0228" in honest_trends(medicaid(), restriction="smooth").reason
    )


def test_it_takes_less_than_two_seconds():
    honest_trends(medicaid())
    start = time.process_time()
    honest_trends(medicaid())
    honest_trends(medicaid(), restriction="smooth")
    assert time.process_time() - start < 2
