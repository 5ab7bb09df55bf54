"""How strong must a confounder be, beside those that were measured, to overturn a regression?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from impact.check import Check
from impact.checks.sides import single, without
from impact.core import arguments
from impact.core import omitted_variable as omitted
from impact.core.placebo import zero_one
from impact.sample import Sample
from impact.show.words import listing

Array = np.ndarray


def robustness(
    sample: Sample,
    *,
    outcome: str | None = None,
    time: float | None = None,
    against: str | Sequence[str] | None = None,
    times: float = 1.0,
    level: float = 0.95,
) -> Check:
    """Whether a confounder as strong as the measured covariates would overturn the adjusted difference.

    The outcome is regressed on treatment and the covariates with the sample's weights. The robustness value
    is the share RV of the variance left, of treatment and of outcome alike, that an unmeasured confounder must
    explain to bring the coefficient to zero: with f = |t| / sqrt(df),

        RV = (sqrt(f^4 + 4 f^2) - f^2) / 2.

    Each named covariate then stands for a confounder: one ``times`` as strongly tied to treatment and
    to the outcome, given the others, would explain at most the shares in the table, and leave the
    effect in the table.

    **Assumptions**: a regression with one effect for all; the confounder comes on top of the covariates and is not
    explained by them; classical standard errors, as in sensemakr.

    Parameters
    ----------
    sample : Sample
    outcome, time : the measured outcome, and its period if it has several; the first, and the last.
    against : covariates of the study, optional
        Those to compare with; all, if left out.
    times : float
        How many times as strong as the covariate the confounder is.
    level : float
        Of the intervals.

    Returns
    -------
    Check
        With the effect as estimated, and as it would be given a confounder like each covariate: the shares of
        variance it explains, effect, standard error and interval. It holds if every interval
        leaves out zero on the side of the estimate.

    Raises
    ------
    ValueError
        The study has no covariates, or they tell the arms apart without error.
    KeyError
        ``against`` names what is not a covariate.

    **References**: cinelli2020.
    """
    arguments.number(times, "times", above=0, most=1e6)
    arguments.number(level, "level", above=0, below=1)
    if not sample.terms:
        raise ValueError(
            f"The study “{sample.study.title}” has no covariates to compare a confounder with: name some in "
            "`covariates`."
        )
    alone, y = single(sample, outcome, time)
    words = alone.measured()[0].words
    names = sample.distinct if against is None else arguments.texts(against, "against")
    if not names:
        raise ValueError("`against` is an empty list: name covariates to compare with, or leave it out for all.")
    full = omitted.coefficient(y, alone.treated, alone.covariates, alone.weights)
    if full.df < 2 or not full.error > 0:
        raise ValueError(
            f"A regression of {words} on treatment and covariates leaves {full.df:g} degrees of freedom and an error "
            f"of {full.error:g}; at least 2 and an outcome that varies are needed: name fewer covariates, or another "
            "outcome."
        )
    rows = [("as estimated", np.nan, np.nan, full.value, full.error, full.df)]
    for term in names:
        fewer, _ = without(alone, (term,))
        r2 = omitted.benchmark(full, omitted.coefficient(y, fewer.treated, fewer.covariates, fewer.weights), times)
        rows.append((_like(term, times), *r2, *omitted.adjusted(full, *r2), full.df - 1))
    table = _table(rows, words, level)
    passed, reason = _judged(table, full, level)
    return Check(
        claim=f"A confounder {'' if times == 1 else f'{times:g} times '}as strong as "
        f"{'any measured covariate' if against is None else listing(names, 'or')} would not hide the effect on {words}",
        table=table,
        passed=passed,
        reason=reason,
        percent=zero_one(y),
        options={"ylabel": "adjusted difference"},
        references=("cinelli2020",),
    )


def _like(term: str, times: float) -> str:
    return f"confounder like {term}" if times == 1 else f"confounder {times:g} times like {term}"


def _table(rows: list[tuple], words: str, level: float) -> pd.DataFrame:
    from scipy import stats

    columns = ["term", "r2_treatment", "r2_outcome", "estimate", "std_error", "df"]
    table = pd.DataFrame(rows, columns=columns)
    reach = stats.t.ppf((1 + level) / 2, table.pop("df")) * table["std_error"]
    table = table.assign(conf_low=table["estimate"] - reach, conf_high=table["estimate"] + reach)
    table.insert(0, "outcome", words)
    return table


def _judged(table: pd.DataFrame, full: omitted.Coefficient, level: float) -> tuple[bool | None, str]:
    t = full.value / full.error
    zero, edge = (100 * omitted.robustness_value(t, full.df, at) for at in (None, level))
    reason = (
        f"Confounders that explain {zero:.1f}% of what is left of the variance of treatment and of the outcome "
        f"would bring the estimate to zero, {edge:.1f}% would bring zero into its {100 * level:g}% interval"
    )
    side = np.sign(full.value)
    near = np.where(side > 0, table["conf_low"], -table["conf_high"])
    if not near[0] > 0:
        return None, f"It cannot be decided: the adjusted difference is not told from zero to begin with. {reason}."
    named = table.iloc[1:]
    impossible, lost = named["estimate"].isna(), ~(near[1:] > 0) & named["estimate"].notna()
    if lost.any():
        return False, f"{reason}; a {_either(named, lost)} would bring it there."
    if impossible.any():
        why = f"there can be no {_either(named, impossible)}, which explains too much of treatment"
        return None, f"It cannot be decided: {why}. {reason}."
    strongest = named.loc[(named["estimate"] * side).idxmin(), "term"]
    return True, f"{reason}; the strongest here, a {strongest}, would not."


def _either(named: pd.DataFrame, which: pd.Series) -> str:
    """The confounders of these rows in words: "confounder like age, educ or race"."""
    first, *more = named.loc[which, "term"]
    return listing([first, *(str(m).partition("like ")[2] for m in more)], "or")
