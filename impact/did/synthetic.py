"""Treated areas against a comparison made of weighted untreated ones: synthetic control and its descendants."""

from __future__ import annotations

from typing import Any

from impact.core import arguments
from impact.did.aggregate import AVERAGES
from impact.did.synthetic_averages import Averages, both_paths, by_age, groups_alone, overall
from impact.did.synthetic_panels import Options
from impact.estimate import Estimate
from impact.sample import Sample

Names = str | list[str] | None


def att(
    sample: Sample,
    *,
    outcome: Names = None,
    method: str = "synthetic_did",
    average: str = "simple",
    errors: str | None = None,
    draws: int = 200,
    rng: Any = 0,
    solver: str = "frank_wolfe",
) -> Estimate:
    """The average effect since adoption, against a weighted average of units that resembles those treated before.

    With weights omega_i on N_0 comparison units and lambda_t on the T_0 periods before adoption,

        effect = sum over i, t of a_i b_t Y_it,    a = (1/N_1 treated; -omega),  b = (1/T_1 after; -lambda).

    ``"did"`` weights units and periods alike. ``"synthetic_control"`` chooses omega so that the weighted path is
    close to that of the treated before adoption, and sets lambda to zero. ``"synthetic_did"`` chooses omega so
    that the paths are parallel, spread by a penalty ``zeta^2 |omega|^2``, ``zeta = (N_1 T_1)^(1/4) sigma``, sigma the
    standard deviation of comparison units' changes before; and lambda so that the comparison's periods before
    foretell its mean after. ``"augmented"`` moves the weights of synthetic control by a ridge regression on the
    periods before, for what is left of misfit; its penalty leaves out each period before in turn.

    With several adoption groups each has its own weights, and comparison units are those untreated up to the
    last period. Weights use outcomes only: covariates of the study do not change over time and are not used. With
    sampling weights w_i the treated are averaged by them, and the penalty is on ``omega_i^2 / w_i``, so that a weight
    of two is a unit twice.

    **Assumptions**: without treatment, the weighted comparison units would have gone on as the treated: outcomes
    follow a few common shocks that units feel to different degrees, and the weighted units feel them as the
    treated do; nobody reacts before adoption; units do not affect each other.

    Parameters
    ----------
    sample : Sample
        With ``adoption`` and an outcome over time, seen in every period.
    outcome : str or several, optional
        All outcomes over time, if left out.
    method : ``"synthetic_did"``, ``"synthetic_control"``, ``"augmented"`` or ``"did"``
    average : ``"simple"``, ``"group"``, ``"event"`` or ``"period"``
        Over all treated units and periods (as Stata's ``sdid``); over groups by their size, each by the mean of
        its periods; over times since adoption; over periods. They differ only if adoption is staggered.
    errors : ``"placebo"``, ``"jackknife"`` or ``"bootstrap"``, optional
        How the error is found, see Notes. If left out: ``"synthetic_did"`` and ``"did"`` by the jackknife if there
        are at least three treated clusters and two in each adoption group; the others by placebos.
    draws : int
        Of placebos (all, where there are no more) or of the bootstrap.
    rng : seed or numpy Generator
    solver : ``"frank_wolfe"`` or ``"exact"``
        The published software stops its search for weights before the optimum; its digits are the default.
        ``"exact"`` gives the weights that the equations define, in a fraction of the time. A note says where the two
        differ. "augmented" is always exact.

    Returns
    -------
    Estimate
        One value for each outcome, with covariance, without scores. Notes say how many comparison units have
        weight, and what the largest is; units are never named.

    Raises
    ------
    ValueError
        No adoption or no outcome over time; a unit not seen in every period; fewer than two units never treated; too
        few clusters for the errors asked for.

    Notes
    -----
    Placebos give the adoption to as many comparison clusters, in every way there is or in ``draws`` drawn; t with
    their number less one. They take the treated to be as erratic as the others. The jackknife leaves out each
    cluster and holds weights (arkhangelsky2021, algorithm 3); t with Welch's degrees of freedom from the treated and
    the other clusters. The bootstrap draws clusters with replacement; t with the treated clusters less one.

    How often 95% intervals held the truth in 200 to 500 simulated panels of 40 units, 20 periods before and 10 after,
    two autocorrelated common shocks and autocorrelated errors, with 1, 3 and 8 treated (margin 2 to 3 points):

    ================================  ==============  ==============  ==============
    per cent                          placebo         jackknife       bootstrap
    ================================  ==============  ==============  ==============
    synthetic DiD                     95, 92, 92      -, 95, 95       -, 100, 97
    the same, treated twice as noisy  74, 76, -       -, 94, 95       -, 100, -
    synthetic control                 97, 94, 94      -, 100, 100     -, 100, 97
    DiD, shocks felt alike            94, 94, 95      -, 94, 95       -
    ================================  ==============  ==============  ==============

    With two treated the jackknife covered 93 (synthetic DiD) and 90 (DiD). Where the treated feel the shocks more than
    the others, DiD is wrong, and its intervals cover 93, 89 and 86 by placebos.

    Frank-Wolfe as published takes at most 10,000 steps. On Proposition 99 it stops at -15.60383 where the optimum is
    -15.60540 (synthetic DiD), and at -19.61966 where the optimum is -19.51363 (synthetic control): the objective is
    within about 1 per cent of its least there, and the effect half a per cent off. Draws use the optimum either way:
    the standard error by placebos differs in the fourth digit.

    Synthetic control here matches outcomes before adoption alone. With other predictors, the published method chooses
    the predictors' weights by a search that has many local ends, which software settles differently; with all
    outcomes before adoption among the predictors the others hardly count. It is left out.

    **References**: arkhangelsky2021; abadie2010; benmichael2021; clarke2024.

    Examples
    --------
    >>> import pandas as pd
    >>> from impact import Outcome, Study, emulate
    >>> from impact.did import synthetic
    >>> table = pd.DataFrame({"area": range(5), "start": [4, None, None, None, None], "rate_1": [5, 4, 8, 1, 2],
    ...                       "rate_2": [6, 5, 9, 1, 2], "rate_3": [7, 6, 10, 1, 3], "rate_4": [6, 7, 11, 2, 3]})
    >>> study = Study(title="Local services", unit="area", adoption="start",
    ...               outcomes=Outcome("rate_{}", "unemployment", periods=(1, 2, 3, 4)))
    >>> [round(float(v), 2) for v in synthetic.att(emulate(study, table), method="did").value]
    [-1.42]
    """
    options = Options(method=method, errors=errors, draws=draws, rng=rng, solver=solver)
    arguments.option(average, "average", AVERAGES)

    words = f"Average effect since adoption{AVERAGES[average]}"
    return Averages(sample, outcome, options).of(lambda one: overall(one, average), words)


def event_study(
    sample: Sample,
    *,
    outcome: Names = None,
    method: str = "synthetic_did",
    errors: str | None = None,
    draws: int = 200,
    rng: Any = 0,
    solver: str = "frank_wolfe",
) -> Estimate:
    """The gap between the treated and their synthetic comparison, by time since adoption.

        gap(e) = mean over treated units of (Y_i - sum_j omega_j Y_j), e periods since adoption,
                 less the mean of the same before adoption, weighted by lambda

    Gaps before adoption show how well the comparison fits. They were made small by the choice of weights, and are no
    test of what would have happened after.

    **Assumptions**: as for :func:`att`.

    Parameters
    ----------
    sample : Sample
    outcome, method, errors, draws, rng, solver
        As for :func:`att`.

    Returns
    -------
    Estimate
        A value for each outcome and ``time`` since adoption: 0 is the period of adoption.

    Raises
    ------
    ValueError
        As for :func:`att`.

    **References**: arkhangelsky2021; abadie2010; benmichael2021; clarke2024.
    """
    options = Options(method=method, errors=errors, draws=draws, rng=rng, solver=solver)

    return Averages(sample, outcome, options).over_time(by_age, "Effect by time since adoption")


def by_group(
    sample: Sample,
    *,
    outcome: Names = None,
    method: str = "synthetic_did",
    errors: str | None = None,
    draws: int = 200,
    rng: Any = 0,
    solver: str = "frank_wolfe",
) -> Estimate:
    """The effect on each adoption group, averaged over the periods since its adoption.

        effect(g) = mean over t >= g of gap_g(t)

    **Assumptions**: as for :func:`att`.

    Parameters
    ----------
    sample : Sample
    outcome, method, errors, draws, rng, solver
        As for :func:`att`.

    Returns
    -------
    Estimate
        A value for each outcome and ``adoption_group``.

    Raises
    ------
    ValueError
        As for :func:`att`.

    **References**: arkhangelsky2021; abadie2010; benmichael2021; clarke2024.
    """
    options = Options(method=method, errors=errors, draws=draws, rng=rng, solver=solver)
    return Averages(sample, outcome, options).of(groups_alone, "Effect by adoption group")


def levels(
    sample: Sample,
    *,
    outcome: Names = None,
    method: str = "synthetic_did",
    errors: str | None = None,
    draws: int = 200,
    rng: Any = 0,
    solver: str = "frank_wolfe",
) -> Estimate:
    """The treated units' mean outcome over time since adoption, as observed and as the synthetic comparison has it.

        synthetic(e) = observed(e) - gap(e)

    with the gap of :func:`event_study`. Only the synthetic path has an error: the observed one is what happened.

    **Assumptions**: as for :func:`att`, for the synthetic path to be what would have happened.

    Parameters
    ----------
    sample : Sample
    outcome, method, errors, draws, rng, solver
        As for :func:`att`.

    Returns
    -------
    Estimate
        A value for each outcome, ``group`` (observed, synthetic) and ``time`` since adoption.

    Raises
    ------
    ValueError
        As for :func:`att`.

    **References**: arkhangelsky2021; abadie2010; benmichael2021; clarke2024.
    """
    options = Options(method=method, errors=errors, draws=draws, rng=rng, solver=solver)
    words = "Mean outcome of the treated and of their comparison"
    return Averages(sample, outcome, options).over_time(both_paths, words, null=None)
