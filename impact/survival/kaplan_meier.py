"""How long until people leave, by whatever way out: survival curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from impact.core import risk
from impact.estimate import Estimate
from impact.sample import Sample
from impact.survival.follow_up import Part, follow_up, labels


def survival(sample: Sample, *, outcome: str | Sequence[str] | None = None, times: Any = None) -> Estimate:
    """The share of each arm that has not left yet, by any way out, at each time.

    With d_j the weight of those who leave at the j-th time at which anybody does, and n_j the
    weight at risk just before,

        S(t) = product over t_j <= t of (1 - d_j / n_j).

    Any exit counts as the event; who is still there when observation ends is at risk until then.
    At a tie those who leave go before those whose observation ends. Intervals are symmetric on
    the scale log(-log S). Without weights and delayed entry the standard errors are
    Greenwood's, times the root of G / (G - 1) for G independent units.

    **Assumptions**: within an arm, those whose observation ends early, or began late, leave at the
    same rate as those still observed (censoring and entry are independent of the event). To compare
    the arms as an effect, the arms must be comparable.

    Parameters
    ----------
    sample : Sample
        With two arms and at least one ``Event``.
    outcome : str or several, optional
        Which events; all of the study's, if left out.
    times : number or several, optional
        Times since time zero, in the unit of the event. If left out, the times at which anybody
        leaves, or at most 60 round ones, while both arms are observed.

    Returns
    -------
    Estimate
        A value for each outcome, arm (``group``) and time, as a probability.

    Raises
    ------
    ValueError
        The study has no event or no arms; a time at which nobody of an arm is observed.

    **References**: kaplan1958; jaeckel1972.

    Examples
    --------
    >>> from impact import Event, Study, emulate
    >>> from impact.datasets import helsinki
    >>> from impact.survival import kaplan_meier
    >>> study = Study(title="Private and public services", unit="client", treatment="provider",
    ...               treated="private", comparison="public",
    ...               outcomes=Event("months", "exit", {1: "job", 2: "education", 3: "other"}))
    >>> curves = kaplan_meier.survival(emulate(study, helsinki(seed=1).clients), times=[6, 12, 18])
    >>> [round(float(v), 3) for v in curves.value]
    [0.853, 0.716, 0.573, 0.898, 0.803, 0.711]
    """
    followed = follow_up(sample, outcome)
    parts = []
    for f in followed.events:
        at, notes = f.times(times)
        value, scores = f.curve(risk.kaplan_meier, times=at)
        parts.append(Part(labels(group=list(f.weights), time=at), value, scores, notes))
    return followed.estimate(
        parts,
        estimand="Survival: share that has not left yet",
        axes={"time": followed.since, "estimate": "share that has not left yet"},
        kind="steps",
        null=None,
        options=followed.drawing(parts, start=1.0),
        scale="loglog",
        **_ABOUT,
    )


def difference(sample: Sample, *, outcome: str | Sequence[str] | None = None, times: Any = None) -> Estimate:
    """The difference between the arms in the share that has not left yet, at each time.

        S_treated(t) - S_comparison(t)

    Below zero, more of the treated have left. See :func:`survival`.

    **Assumptions**: as for :func:`survival`, and the arms are comparable.

    Parameters
    ----------
    sample : Sample
    outcome : str or several, optional
    times : number or several, optional
        As for :func:`survival`.

    Returns
    -------
    Estimate
        A value for each outcome and time, as a difference in probabilities.

    Raises
    ------
    ValueError
        As for :func:`survival`.

    **References**: kaplan1958; jaeckel1972.
    """
    followed = follow_up(sample, outcome)
    parts = []
    for f in followed.events:
        at, notes = f.times(times)
        value, scores = f.curve(risk.kaplan_meier, times=at)
        parts.append(Part(labels(time=at), value[0] - value[1], scores[:, 0] - scores[:, 1], notes))
    return followed.estimate(
        parts,
        estimand=f"Difference in survival, {' less '.join(sample.arms)}",
        axes={"time": followed.since, "estimate": "difference in the share that has not left"},
        kind="path",
        **_ABOUT,
    )


_ABOUT: dict[str, Any] = {"method": "Kaplan-Meier", "references": ("kaplan1958", "jaeckel1972"), "percent": True}
