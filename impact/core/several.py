"""Weights and mean outcomes in several arms, from the probabilities of being in each.

With e_k(x) = P(arm = k | x), a weight is h(x) / e_own(x), where h says whom the effect is about:

    "ATE"  everybody, h = 1
    "ATT"  the arm f of interest, h = e_f
    "ATO"  the overlap of all arms, h = 1 / sum_a (1 / e_a)
    "ATM"  those whom matching of all arms would keep, h = min_a e_a

The doubly robust mean of the population of interest t under arm k, m_k being the linear regression of y on x
in the arm and r its weights, is mean_t(m_k) + mean_{k, r}(y - m_k), each normalised to one, as in
``doubly_robust.py``; its scores carry the error of both models.

References: li2019, yoshida2017, cattaneo2010.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from impact.core.linear import LinearFit, least_squares
from impact.core.moments import mean, mean_scores
from impact.core.multinomial import MultinomialFit

Array = np.ndarray


class Level(NamedTuple):
    """The mean outcome (T,) of one population under one arm, its scores (n, T), and the regression, if any."""

    value: Array
    scores: Array
    outcome: LinearFit | None


def ratios(fit: MultinomialFit, arm: Array, estimand: str, focal: int) -> tuple[Array, Array]:
    """(n,) weights over the weights that the model was fitted with, and their (n, K - 1) slopes in its predictors.

    Of the logarithm of a weight the slope in predictor k is s_k - 1(own = k), where s_k is e_k for the ATE,
    1(f = k) for the ATT, h / e_k for the ATO, and 1(k is the least likely arm) for the ATM. Rows barred from an
    arm have no weight where h is zero, and no share of the arm elsewhere.
    """
    rows = np.arange(len(arm))
    predictor = fit.predictor
    mine = predictor[rows, arm]
    with np.errstate(over="ignore", invalid="ignore"):
        if estimand == "ATE":
            ratio, share = np.exp(predictor - mine[:, None]).sum(axis=1), fit.probability
        elif estimand == "ATT":
            ratio, share = np.exp(predictor[:, focal] - mine), np.eye(predictor.shape[1])[focal]
        elif estimand == "ATO":
            ratio = 1 / np.exp(mine[:, None] - predictor).sum(axis=1)
            lift = predictor.max(axis=1, keepdims=True) - predictor
            odds = np.exp(lift - lift.max(axis=1, keepdims=True))  # 1 / e_k, up to a factor
            share = odds / odds.sum(axis=1, keepdims=True)
        else:
            least = predictor.argmin(axis=1)
            ratio, share = np.exp(predictor[rows, least] - mine), np.eye(predictor.shape[1])[least]
        slope = ratio[:, None] * (share - np.eye(predictor.shape[1])[arm])
    slope = np.where(np.isfinite(slope) & (ratio > 0)[:, None], slope, 0.0)
    return ratio, slope[:, 1:]


def ask_for_weight(weights: Array, arm: Array, arms: Sequence[str], what: str) -> None:
    """Refuse arms in which nobody has a weight."""
    empty = [f"“{name}”" for k, name in enumerate(arms) if not weights[arm == k].sum() > 0]
    if empty:
        raise ValueError(
            f"{what} was asked for, but nobody in {', '.join(empty)} resembles the group of interest, by covariates "
            "that one arm never has: merge categories, leave covariates out, or compare fewer arms."
        )


def levels(
    y: Array, arm: Array, x: Array, w: Array, fit: MultinomialFit, focal: int | None, arms: Sequence[str]
) -> list[Level]:
    """The doubly robust mean of y (n, T) under each arm: of everybody, or of the arm ``focal``."""
    target = np.ones(len(arm), bool) if focal is None else arm == focal
    ratio, slope = ratios(fit, arm, "ATE" if focal is None else "ATT", focal or 0)
    ask_for_weight(np.where(w > 0, w * ratio, 0.0), arm, arms, "A comparison of all arms")
    found = []
    for k, name in enumerate(arms):
        inside = arm == k
        if k == focal:
            found.append(Level(mean(y, w * inside), mean_scores(y, w * inside), None))
            continue
        try:
            line = least_squares(y, x, w * inside)
        except ValueError as refusal:
            raise ValueError(f"Among the units of “{name}”: {refusal}") from None
        found.append(_level(y, w * target, w * inside, ratio, slope, fit, line))
    return found


def _level(
    y: Array, over: Array, inside: Array, ratio: Array, slope: Array, fit: MultinomialFit, line: LinearFit
) -> Level:
    """One arm: ``over`` are the weights of the population, ``inside`` those of the arm before ``ratio``."""
    expected, left, v = y - line.residual, line.residual, inside * np.where(inside > 0, ratio, 0.0)
    centre = mean(left, v)
    scores = mean_scores(expected, over) + mean_scores(left, v)
    tilt = fit.columns(slope * (inside / v.sum())[:, None]).T @ (left - centre)
    scores += fit.carry(tilt) + line.carry(line.design.T @ (over / over.sum() - v / v.sum()))
    return Level(mean(expected, over) + centre, scores, line)
