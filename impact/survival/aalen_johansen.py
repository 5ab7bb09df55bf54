"""How many have left by each way out: cumulative incidence with competing events."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from impact.core import risk
from impact.estimate import Estimate
from impact.sample import Sample
from impact.survival.follow_up import FollowUp, Part, follow_up, labels

Array = np.ndarray
Names = str | Sequence[str] | None


def cumulative_incidence(sample: Sample, *, outcome: Names = None, cause: Names = None, times: Any = None) -> Estimate:
    """The share of each arm that has left by each way out, at each time.

    With d_jk the weight of those who leave by cause k at the j-th time at which anybody leaves,
    n_j the weight at risk just before, and S Kaplan-Meier's survival from leaving by any cause,

        F_k(t) = sum over t_j <= t of S(t_(j-1)) d_jk / n_j.

    The causes compete: who takes a job can no longer leave for education. The F_k and S add up to
    one; one minus a Kaplan-Meier curve that treats other exits as censored is a larger number and
    answers no question about this world. Intervals are symmetric on the scale log(-log F).

    **Assumptions**: within an arm, those whose observation ends early, or began late, leave by each
    cause at the same rate as those still observed. To compare the arms as an effect, the arms must
    be comparable.

    Parameters
    ----------
    sample : Sample
        With two arms and at least one ``Event``.
    outcome : str or several, optional
        Which events; all of the study's, if left out.
    cause : str or several, optional
        Which ways out, in the study's words; all, if left out.
    times : number or several, optional
        Times since time zero, in the unit of the event. If left out, the times at which anybody
        leaves, or at most 60 round ones, while both arms are observed.

    Returns
    -------
    Estimate
        A value for each outcome, arm (``group``), cause and time, as a probability.

    Raises
    ------
    ValueError
        The study has no event or no arms; a cause that the event does not have; a time at which
        nobody of an arm is observed.

    **References**: aalen1978; jaeckel1972.

    Examples
    --------
    >>> from impact import Event, Study, emulate
    >>> from impact.datasets import helsinki
    >>> from impact.survival import aalen_johansen
    >>> study = Study(title="Private and public services", unit="client", treatment="provider",
    ...               treated="private", comparison="public",
    ...               outcomes=Event("months", "exit", {1: "job", 2: "education", 3: "other"}))
    >>> sample = emulate(study, helsinki(seed=1).clients)
    >>> gap = aalen_johansen.risk_difference(sample, cause="job", times=12)
    >>> print(round(float(gap.value[0]), 3))
    0.034
    """

    def arms(f: FollowUp, words: list[str], at: Array, value: Array, scores: Array) -> Part:
        return Part(labels(group=list(f.weights), cause=words, time=at), value, scores)

    return _estimate(
        sample, outcome, cause, times, arms, "Cumulative incidence", "share that has left", kind="steps", scale="loglog"
    )


def risk_difference(sample: Sample, *, outcome: Names = None, cause: Names = None, times: Any = None) -> Estimate:
    """The difference between the arms in the share that has left by each way out, at each time.

        F_k,treated(t) - F_k,comparison(t)

    See :func:`cumulative_incidence`.

    **Assumptions**: as for :func:`cumulative_incidence`, and the arms are comparable.

    Parameters
    ----------
    sample : Sample
    outcome, cause : str or several, optional
    times : number or several, optional
        As for :func:`cumulative_incidence`.

    Returns
    -------
    Estimate
        A value for each outcome, cause and time, as a difference in probabilities.

    Raises
    ------
    ValueError
        As for :func:`cumulative_incidence`.

    **References**: aalen1978; jaeckel1972.
    """

    def gap(f: FollowUp, words: list[str], at: Array, value: Array, scores: Array) -> Part:
        return Part(labels(cause=words, time=at), value[0] - value[1], scores[:, 0] - scores[:, 1])

    title = f"Difference in cumulative incidence, {' less '.join(sample.arms)}"
    return _estimate(sample, outcome, cause, times, gap, title, "difference in the share that has left", kind="path")


def risk_ratio(sample: Sample, *, outcome: Names = None, cause: Names = None, times: Any = None) -> Estimate:
    """How many times as many of the treated as of the comparison have left by each way out, at each time.

        F_k,treated(t) / F_k,comparison(t)

    Intervals are symmetric on the logarithmic scale. There is no ratio before somebody of each arm
    has left by the cause. See :func:`cumulative_incidence`.

    **Assumptions**: as for :func:`cumulative_incidence`, and the arms are comparable.

    Parameters
    ----------
    sample : Sample
    outcome, cause : str or several, optional
    times : number or several, optional
        As for :func:`cumulative_incidence`. If left out, times without a ratio are left out too.

    Returns
    -------
    Estimate
        A value for each outcome, cause and time.

    Raises
    ------
    ValueError
        As for :func:`cumulative_incidence`; nobody of an arm has left by a cause at a time asked for.

    **References**: aalen1978; jaeckel1972.
    """

    def ratio(f: FollowUp, words: list[str], at: Array, value: Array, scores: Array) -> Part:
        names, exists = labels(cause=words, time=at), (value > 0).all(axis=0).ravel()
        notes = _refuse_empty(f, names, exists, asked=times is not None)
        top, bottom = value.reshape(2, -1)[:, exists]
        up, down = np.moveaxis(scores, 1, 0).reshape(2, len(sample), -1)[:, :, exists]
        kept = {name: column[exists] for name, column in names.items()}
        return Part(kept, top / bottom, up / bottom - (top / bottom**2) * down, notes)

    title = f"Ratio of cumulative incidences, {' to '.join(sample.arms)}"
    return _estimate(
        sample, outcome, cause, times, ratio, title, "ratio", kind="points", scale="log", null=1.0, percent=False
    )


def _refuse_empty(f: FollowUp, names: dict[str, Array], exists: Array, *, asked: bool) -> tuple[str, ...]:
    """A ratio to nothing is refused where it was asked for, and left out with a word where it was not."""
    if exists.all():
        return ()
    missing = int((~exists).sum())
    what = f"`{f.event.duration}` has {missing} of {len(exists)} combinations of cause and time"
    why = "at which nobody of one arm has left by the cause yet, so there is no ratio"
    if asked or not exists.any():
        raise ValueError(f"{what} {why}: ask for later times or fewer causes, or for the difference instead.")
    return (f"{what} {why}; these are left out.",)


def _estimate(
    sample: Sample,
    outcome: Names,
    cause: Names,
    times: Any,
    part: Callable[[FollowUp, list[str], Array, Array, Array], Part],
    estimand: str,
    axis: str,
    **about: Any,
) -> Estimate:
    """What the three share: curves of all causes, in both arms, at the times asked for."""
    followed = follow_up(sample, outcome)
    parts = []
    for f in followed.events:
        words, places = f.causes(cause)
        at, notes = f.times(times)
        value, scores = f.curve(risk.aalen_johansen, times=at, causes=len(f.event.causes))
        made = part(f, words, at, value[:, places], scores[:, :, places])
        parts.append(made._replace(notes=(*made.notes, *notes)))
    words_of = {"time": followed.since, "estimate": axis}
    about = {"percent": True, **about}
    if about["kind"] == "steps":
        about |= {"null": None, "options": followed.drawing(parts, start=0.0)}
    return followed.estimate(
        parts,
        estimand=estimand,
        method="Aalen-Johansen",
        references=("aalen1978", "jaeckel1972"),
        axes=words_of,
        **about,
    )
