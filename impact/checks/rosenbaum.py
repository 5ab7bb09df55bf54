"""How much hidden bias would it take to explain the effect away, in matched sets?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from impact.check import Check
from impact.checks.sides import single
from impact.core import arguments
from impact.core import hidden_bias as hidden
from impact.core.placebo import zero_one
from impact.sample import Sample
from impact.show.words import counted, tested

Array = np.ndarray

MOST = 100.0  # beyond this Γ nobody looks
REFERENCES = ("rosenbaum2002", "gastwirth2000")


def bounds(
    sample: Sample,
    *,
    outcome: str | None = None,
    time: float | None = None,
    gamma: Sequence[float] = (1, 1.25, 1.5, 1.75, 2, 2.5, 3),
    bias: float | None = None,
    level: float = 0.025,
) -> Check:
    """How strong a hidden bias the effect found in matched sets withstands.

    Two units of one matched set look alike. Suppose something that nobody measured still makes the odds of
    treatment of one up to Γ times those of the other. The p value of a test of no effect then lies
    between two bounds. The test is Wilcoxon's signed rank test in pairs, McNemar's (exact; Mantel and
    Haenszel's in larger sets) for an outcome of zeros and ones, and Hodges and Lehmann's
    aligned rank test in sets of one unit and several. In pairs with S the rank sum and d_s the ranks,

        largest p value = P(Z > (S - p sum d_s) / sqrt(p (1 - p) sum d_s^2)),   p = Γ / (1 + Γ).

    **Assumptions**: those of matching, but for a hidden bias of at most Γ; the matched sets are
    independent. Sampling weights are not used.

    Parameters
    ----------
    sample : Sample
        From a design that makes matched sets (``strata``), with one unit of either arm in each.
    outcome, time : the measured outcome, and its period if it has several; the first, and the last.
    gamma : numbers from 1 on
        The hidden biases Γ in the table.
    bias : number, optional
        The hidden bias that the effect must withstand for the claim to hold, declared
        beforehand. Without one the reader judges.
    level : float
        The p value, one-sided in the direction of the effect found, up to which an effect is told from none.

    Returns
    -------
    Check
        With, for each Γ, the smallest and largest p value, and how much of the mean difference within
        sets is beyond what such a bias alone could make if there was no effect (``estimate``).

    Raises
    ------
    ValueError
        A Γ below 1.

    **References**: rosenbaum2002; gastwirth2000.
    """
    arguments.number(level, "level", above=0, below=1)
    arguments.number(bias, "bias", least=1, optional=True)
    asked = arguments.numbers(gamma, "gamma").tolist()
    if not asked or not all(1 <= g < np.inf for g in asked):
        raise ValueError(f"`gamma` is {gamma!r}, and is 1 (no hidden bias) or more: give numbers, as in (1, 1.5, 2).")
    alone, y = single(sample, outcome, time)
    words = alone.measured()[0].words
    claim = f"The effect on {words} withstands hidden bias" + (f" of up to Γ = {bias:g}" if bias else "")
    found, several = _sets(alone)
    if not found:
        return _undecided(claim, words, asked, several)
    test, p, left, notes = _tests(y, found, alone.study.estimand)
    if several:
        notes += (f"{counted(several, 'set')} with several units of both arms had to be left out.",)
    rows = [(words, f"Γ = {g:g}", g, left(g), *p(g)) for g in asked]
    passed, reason = _judged(p, bias, level, test)
    return Check(
        claim,
        pd.DataFrame(rows, columns=["outcome", "term", "gamma", "estimate", "p_low", "p_high"]),
        passed,
        reason=reason,
        percent=zero_one(y),
        options={"ylabel": "difference beyond hidden bias"},
        references=REFERENCES,
        notes=notes,
    )


def _sets(sample: Sample) -> tuple[list[hidden.Block], int]:
    if sample.strata is None:
        return [], 0
    return hidden.blocks(sample.strata, sample.treated, (sample.weights > 0) & (sample.strata >= 0))


def _undecided(claim: str, words: str, asked: list[float], several: int) -> Check:
    nan = np.full(len(asked), np.nan)
    table = {"outcome": words, "term": [f"Γ = {g:g}" for g in asked], "gamma": asked, "estimate": nan, "p_low": nan,
             "p_high": nan}  # fmt: skip
    why = f"all {several} sets have several units of both arms" if several else "the sample has no matched sets"
    return Check(
        claim,
        pd.DataFrame(table),
        reason=f"It cannot be decided: {why}. Give a sample matched without replacement, in pairs or one to several.",
        references=REFERENCES,
    )


def _tests(
    y: Array, found: list[hidden.Block], estimand: str
) -> tuple[str, Callable[[float], tuple[float, float]], Callable[[float], float], tuple[str, ...]]:
    """The test's name, p values and remaining difference as functions of Γ, in the direction found."""
    gaps = hidden.differences(y, found, estimand)
    effect = sum(float(q[:, 0].sum()) for q in gaps)
    way = 1.0 if effect >= 0 else -1.0
    pairs = all(b.members.shape[1] == 2 for b in found)

    def left(g: float) -> float:
        could = sum(float(hidden.largest(way * q, g)[0].sum()) for q in gaps)
        return effect - way * could

    scores: Any
    if zero_one(y):
        good = [(y[b.members] == 1) == ((way * b.sign) > 0)[:, None] for b in found]
        name = "McNemar's exact test" if pairs else "Mantel and Haenszel's exact test"
        return name, lambda g: hidden.exact_p_values(good, g), left, ()
    if pairs:
        (block,) = found
        scores = [hidden.signed_ranks(way * y, block.members, block.sign)]
        same = len(block.sign) - len(scores[0])
        note = (f"{counted(same, 'pair')} without a difference say nothing and are left out.",) if same else ()
        return "Wilcoxon's signed rank test", lambda g: hidden.p_values(scores, g), left, note
    scores = hidden.aligned_ranks(way * y, found)
    return "the aligned rank test", lambda g: hidden.p_values(scores, g), left, ()


def _judged(
    p: Callable[[float], tuple[float, float]], bias: float | None, level: float, test: str
) -> tuple[bool | None, str]:
    at_one = p(1.0)[1]
    if not at_one <= level:
        told = "there is no difference to test" if np.isnan(at_one) else f"{test}, one-sided {tested(at_one)}"
        return None, f"It cannot be decided: the effect is not told from none even without hidden bias ({told})."
    limit = _critical(p, level)
    said = f"more than {MOST:g}" if limit >= MOST else f"{limit:.2f}"
    reason = (
        f"By {test} the effect is told from none (one-sided p at most {level:g}) unless something unmeasured makes "
        f"the odds of treatment of one of two units who look alike {said} times the other's or more."
    )
    return None if bias is None else bool(p(bias)[1] <= level), reason


def _critical(p: Callable[[float], tuple[float, float]], level: float) -> float:
    """The Γ at which the largest p value reaches the level."""
    from scipy.optimize import brentq

    if p(MOST)[1] <= level:
        return MOST
    return float(brentq(lambda g: p(g)[1] - level, 1.0, MOST, xtol=1e-6))
