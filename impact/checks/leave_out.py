"""Does the effect hang on one covariate? Leave each out, and do everything again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from impact.check import Check
from impact.checks.estimators import Estimator, chosen, one_value
from impact.checks.sides import single, without
from impact.core import arguments
from impact.core.placebo import zero_one
from impact.estimate import Estimate
from impact.sample import Sample
from impact.stacking import stack


def covariates(
    sample: Sample,
    *,
    estimator: Estimator | None = None,
    blocks: Mapping[str, Sequence[str]] | None = None,
    outcome: str | None = None,
    time: float | None = None,
    tolerance: float = 1.0,
) -> Check:
    """Whether the effect stays where it is when a covariate, or a block of them, is left out.

    Design and estimator are done again without each block b of covariates:

        shift_b = estimate without b - estimate with all.

    A block without which the effect moves a long way is one that selection works through; confounders like it that
    were not measured would matter as much (Imbens and Rubin, chapter 22).

    **Assumptions**: none; an effect that does not move may still be confounded by what nobody measured.

    Parameters
    ----------
    sample : Sample
        Before any design.
    estimator : function ``Sample -> Estimate`` with one value, optional
        Design and estimate, as in ``lambda s: means.difference(nearest.match(s))``; regression, if left out.
    blocks : mapping of names to covariates of the study, optional
        What is left out together, as ``{"history": ["re74", "re75"]}``; each covariate alone, if left out.
    outcome, time : the measured outcome, and its period if it has several; the first, and the last.
    tolerance : float
        How far the effect may move, in its own standard errors.

    Returns
    -------
    Check
        With the effect with all covariates and without each block, its error and interval, and how far it
        moved, with the standard error of that where the covariance is known.

    Raises
    ------
    ValueError
        The sample has been designed already, or its study has no covariates.
    KeyError
        A block names what is not a covariate, or the estimator needs one that is left out.

    **References**: imbens2015.
    """
    if sample.steps or not sample.terms:
        found = f"was {sample.steps[-1]}" if sample.steps else "has no covariates"
        raise ValueError(
            f"Leaving out covariates starts from the sample that `emulate` returned, with covariates, and this one "
            f"{found}: put the design into the estimator."
        )
    arguments.number(tolerance, "tolerance", above=0, most=1e6)
    alone, y = single(sample, outcome, time)
    left_out = {t: (t,) for t in alone.distinct} if blocks is None else _blocks(blocks)
    run = chosen(estimator, "regression")
    whole = run(alone)
    value, error, low, high = one_value(whole)
    if not error > 0:
        raise ValueError(
            f"The effect on {alone.measured()[0].words} has a standard error of {error:g}, in which nothing can be "
            "counted: choose an outcome that varies, or an estimator with an error."
        )
    rows = [("all covariates", value, error, low, high, np.nan, np.nan)]
    for name, terms in left_out.items():
        part = run(without(alone, terms)[0])
        moved, moved_error = _shift(part, whole)
        rows.append((f"without {name}", *one_value(part), moved, moved_error))
    columns = ["term", "estimate", "std_error", "conf_low", "conf_high", "shift", "shift_error"]
    table = pd.DataFrame(rows, columns=columns)
    words = alone.measured()[0].words
    table.insert(0, "outcome", words)
    far = table["shift"].abs() / error
    worst = far.idxmax()
    over = int((far > tolerance).sum())
    what = "covariate" if blocks is None else "block of covariates"
    return Check(
        claim=f"The effect on {words} does not hang on any one {what}",
        table=table,
        passed=over == 0,
        reason=f"{table['term'][worst][0].upper()}{table['term'][worst][1:]} the effect moves most, by "
        f"{far[worst]:.1f} of its standard errors; {tolerance:g} {'is' if tolerance == 1 else 'are'} tolerated.",
        percent=zero_one(y),
        options={"ylabel": "effect"},
        references=("imbens2015",),
    )


def _blocks(blocks: object) -> dict[str, tuple[str, ...]]:
    given = arguments.mapping(blocks, "blocks", "covariates of the study")
    named = {name: arguments.texts(terms, "blocks") for name, terms in given.items()}
    empty = [name for name, terms in named.items() if not terms]
    if empty:
        raise ValueError(f"The block “{empty[0]}” of `blocks` is empty: name at least one covariate in it.")
    return named


def _shift(part: Estimate, whole: Estimate) -> tuple[float, float]:
    """How far the estimate moved, and the error of that, which needs the scores of both."""
    moved = float(part.value[0] - whole.value[0])
    if part.scores is None or whole.scores is None:
        return moved, np.nan
    gap = stack(part, whole).combine([[1.0, -1.0]], term="shift")
    return moved, float(gap.std_error[0])
