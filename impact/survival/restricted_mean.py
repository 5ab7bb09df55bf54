"""Time until people leave, and time lost to each way out, before a horizon."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from impact.core import risk
from impact.estimate import Estimate
from impact.sample import Sample
from impact.survival.follow_up import Part, follow_up, labels

Names = str | Sequence[str] | None


def time_until(sample: Sample, *, outcome: Names = None, horizon: Any = None) -> Estimate:
    """The mean time before the horizon until people of each arm leave, by any way out.

    With S the Kaplan-Meier survival and h the horizon, it is the area under the curve,

        R(h) = integral from 0 to h of S(t) dt,

    the mean of the time to leaving or h, whichever comes first: of 18 months, how many on
    average before the first exit. Without weights and delayed entry the standard errors equal
    those of R's ``survfit`` and ``survRM2``, times the root of G / (G - 1).

    **Assumptions**: within an arm, those whose observation ends early, or began late, leave at the
    same rate as those still observed. To compare the arms as an effect, the arms must be comparable.

    Parameters
    ----------
    sample : Sample
        With two arms and at least one ``Event``.
    outcome : str or several, optional
        Which events; all of the study's, if left out.
    horizon : number or several, optional
        In the unit of the event. If left out, the last time at which both arms are observed.

    Returns
    -------
    Estimate
        A value for each outcome, arm (``group``) and horizon (``time``), in the unit of the event.

    Raises
    ------
    ValueError
        The study has no event or no arms; a horizon at which nobody of an arm is observed.

    **References**: royston2013; jaeckel1972.
    """
    followed = follow_up(sample, outcome)
    parts = []
    for f in followed.events:
        ends, notes = f.horizon(horizon)
        value, scores = f.curve(risk.restricted_mean, horizon=ends)
        parts.append(Part(labels(group=list(f.weights), time=ends), value, scores, notes))
    unit = followed.unit
    return followed.estimate(
        parts,
        estimand=f"Mean {unit} until leaving, before the horizon",
        method="Area under the Kaplan-Meier curve",
        references=("royston2013", "jaeckel1972"),
        axes={"time": f"horizon in {unit}", "estimate": f"mean {unit} until leaving"},
        null=None,
    )


def difference(sample: Sample, *, outcome: Names = None, horizon: Any = None) -> Estimate:
    """The difference between the arms in the mean time before the horizon until people leave.

        R_treated(h) - R_comparison(h)

    Below zero, the treated leave sooner. See :func:`time_until`.

    **Assumptions**: as for :func:`time_until`, and the arms are comparable.

    Parameters
    ----------
    sample : Sample
    outcome : str or several, optional
    horizon : number or several, optional
        As for :func:`time_until`.

    Returns
    -------
    Estimate
        A value for each outcome and horizon (``time``), in the unit of the event.

    Raises
    ------
    ValueError
        As for :func:`time_until`.

    **References**: royston2013; jaeckel1972.
    """
    followed = follow_up(sample, outcome)
    parts = []
    for f in followed.events:
        ends, notes = f.horizon(horizon)
        value, scores = f.curve(risk.restricted_mean, horizon=ends)
        parts.append(Part(labels(time=ends), value[0] - value[1], scores[:, 0] - scores[:, 1], notes))
    unit = followed.unit
    return followed.estimate(
        parts,
        estimand=f"Difference in mean {unit} until leaving, {' less '.join(sample.arms)}",
        method="Area between the Kaplan-Meier curves",
        references=("royston2013", "jaeckel1972"),
        axes={"time": f"horizon in {unit}", "estimate": f"difference in mean {unit}"},
    )


def time_lost(sample: Sample, *, outcome: Names = None, cause: Names = None, horizon: Any = None) -> Estimate:
    """The difference between the arms in the mean time before the horizon that each way out takes.

    With F_k the cumulative incidence of leaving by cause k (Aalen-Johansen) and h the horizon, the
    mean time before h that people spend after having left by k is the area under F_k, and

        L_k(h) = integral from 0 to h of F_k,treated(t) - F_k,comparison(t) dt.

    For exits from unemployment to a job: how many months more of the 18 are spent after a first
    exit to a job. It counts from the first exit, whatever happens after it. Over all causes the
    differences add up to minus the difference in :func:`time_until`.

    **Assumptions**: within an arm, those whose observation ends early, or began late, leave by each
    cause at the same rate as those still observed; the arms are comparable.

    Parameters
    ----------
    sample : Sample
        With two arms and at least one ``Event``.
    outcome : str or several, optional
        Which events; all of the study's, if left out.
    cause : str or several, optional
        Which ways out, in the study's words; all, if left out.
    horizon : number or several, optional
        In the unit of the event. If left out, the last time at which both arms are observed.

    Returns
    -------
    Estimate
        A value for each outcome, cause and horizon (``time``), in the unit of the event.

    Raises
    ------
    ValueError
        As for :func:`time_until`; a cause that the event does not have.

    **References**: andersen2013; jaeckel1972.
    """
    followed = follow_up(sample, outcome)
    parts = []
    for f in followed.events:
        words, places = f.causes(cause)
        ends, notes = f.horizon(horizon)
        value, scores = f.curve(risk.time_lost, horizon=ends, causes=len(f.event.causes))
        gap, own = (value[0] - value[1])[places], (scores[:, 0] - scores[:, 1])[:, places]
        parts.append(Part(labels(cause=words, time=ends), gap, own, notes))
    unit = followed.unit
    return followed.estimate(
        parts,
        estimand=f"Difference in mean {unit} lost to each way out, {' less '.join(sample.arms)}",
        method="Area between the Aalen-Johansen curves",
        references=("andersen2013", "jaeckel1972"),
        axes={"time": f"horizon in {unit}", "estimate": f"difference in mean {unit}"},
    )
