"""Effects in parts of the sample, by any estimator, with the covariance between the parts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from impact.core import arguments
from impact.estimate import Estimate
from impact.matching import regression
from impact.matching.measured import Names
from impact.sample import Sample, caution, told
from impact.show.words import counted, listing
from impact.stacking import stack

Array = np.ndarray
Estimator = Callable[..., Estimate]

MOST = 10
"""As many subgroups as a term may make."""


def effects(
    sample: Sample, *, term: str | None = None, outcome: Names = None, estimator: Estimator = regression.difference
) -> Estimate:
    """The effect on everybody, and on each part of the sample that a covariate sets apart.

    For each level g of the term the estimator is asked again with the weights of all other units at
    zero: value_g = estimator(w 1(term = g)). The parts' estimates keep their covariance, and the
    error of estimated weights. The more parts are looked at, the more often one stands out by
    chance: ``effects(...).tidy(simultaneous=True)`` and ``.interval(simultaneous=True)`` give intervals
    that hold all at once with the probability stated, using the correlations (narrower than
    Bonferroni's). Whether the parts differ at all is :func:`contrasts`' question.

    **Assumptions**: those of the estimator, within each part. Parts were named before the outcomes
    were seen.

    Parameters
    ----------
    sample : Sample
        From ``emulate`` or from a design; one that matches should match exactly on the term.
    term : str, optional
        A covariate of the study: a factor, or a number with ten values at most. If left out, the
        first such covariate.
    outcome : str or several, optional
        Which outcomes, in the words of the estimator.
    estimator : function from a Sample to an Estimate with scores
        Such as ``means.difference`` after a design; options by ``functools.partial``.

    Returns
    -------
    Estimate
        A value for everybody and one for each ``subgroup``, for each value of the estimator.

    Raises
    ------
    KeyError
        The term is not among the study's covariates.
    ValueError
        The term has one level or too many; a part has too few units; an estimator without scores.

    **References**: montielolea2019; snowden2011.

    Examples
    --------
    >>> from impact import Outcome, Study, emulate
    >>> from impact.datasets import helsinki
    >>> from impact.matching import subgroups
    >>> study = Study(title="Private and public services", unit="client", treatment="provider",
    ...               treated="private", comparison="public", covariates=("age", "woman"),
    ...               outcomes=Outcome("employed_12", "in a job at 12 months"))
    >>> e = subgroups.effects(emulate(study, helsinki(seed=1).clients), term="woman")
    >>> len(e.value)
    3
    """
    arguments.function(estimator, "estimator")
    found, parts = _parts(sample, None if term is None else arguments.text(term, "term"))
    _refuse_lone_arms(sample, parts)
    notes = caution(_split(sample, parts))
    asked = [("everybody", _asked(estimator, sample, outcome, "everybody"))]
    asked += [
        (name, _asked(estimator, _only(sample, mine), outcome, _told(name, mine))) for name, mine in parts.items()
    ]
    named = [e.combine(np.eye(len(e.value)), **_labels(e), subgroup=name) for name, e in asked]
    whole = named[0]
    return stack(
        *named, estimand=f"{whole.estimand}, by {found}", notes=tuple(dict.fromkeys((*whole.notes, *notes))),
        kind="points", references=("montielolea2019", *whole.references),
    )  # fmt: skip


def contrasts(
    sample: Sample, *, term: str | None = None, outcome: Names = None, estimator: Estimator = regression.difference
) -> Estimate:
    """How the effect on each part of the sample differs from the effect on the first part.

        value_g - value_1,    g = 2, 3, ... in the order of the levels.

    ``contrasts(...).test()`` asks of all parts at once whether the effect is the same in each. That one
    part's effect is significant and another's is not says nothing about their difference.

    **Assumptions**: those of :func:`effects`.

    Parameters
    ----------
    sample : Sample
    term, outcome, estimator :
        As for :func:`effects`.

    Returns
    -------
    Estimate
        A value for each ``subgroup`` but the first, for each value of the estimator.

    Raises
    ------
    KeyError, ValueError
        As :func:`effects`; an estimator of ratios.

    **References**: hotelling1931; snowden2011.
    """
    by_part = effects(sample, term=term, outcome=outcome, estimator=estimator)
    if by_part.scale != "identity":
        raise ValueError("Contrasts between subgroups were asked of ratios: ask for differences, or for `effects`.")
    names = by_part.index["subgroup"].to_numpy()
    each = int((names == names[0]).sum())
    k = len(names) - 2 * each
    turn = np.hstack([np.zeros((k, each)), -np.tile(np.eye(each), (k // each, 1)), np.eye(k)])
    labels = {c: by_part.index[c].to_numpy()[2 * each :] for c in by_part.index}
    words = f"{by_part.estimand}: difference from {names[each]}"
    return by_part.combine(turn, **labels).about(estimand=words, references=("hotelling1931", *by_part.references))


def _asked(estimator: Estimator, sample: Sample, outcome: Names, name: str) -> Estimate:
    try:
        e = estimator(sample) if outcome is None else estimator(sample, outcome=outcome)
    except ValueError as reason:
        raise ValueError(f"In the subgroup “{name}”: {reason}") from None
    if e.scores is None:
        raise ValueError(
            "Effects by subgroup were asked of an estimator without scores, so that the covariance between subgroups "
            "is not known: use one with scores, or give it samples of one subgroup each."
        )
    return e


def _refuse_lone_arms(sample: Sample, parts: dict[str, Array]) -> None:
    for name, mine in parts.items():
        for words, arm in sample.arms.items():
            if not (mine & arm & (sample.weights > 0)).any():
                raise ValueError(
                    f"Subgroups were asked for, and “{_told(name, mine)}” has no unit with weight in “{words}”: "
                    "join levels, or leave these units out by a rule of eligibility."
                )


def _told(name: str, mine: Array) -> str:
    """A level for a sentence: one that fewer than ten units have goes by its factor alone."""
    return told((name,), mine[:, None])[0]


def _labels(e: Estimate) -> dict[str, Array]:
    return {c: e.index[c].to_numpy() for c in e.index}


def _only(sample: Sample, mine: Array) -> Sample:
    """The sample with weight in one part only, and without the covariates that do not vary there."""
    live = mine & (sample.weights > 0)
    varies = np.ptp(sample.covariates[live], axis=0) > 0 if live.any() else np.ones(sample.covariates.shape[1], bool)
    nuisance = sample.nuisance
    if nuisance is not None:
        nuisance = nuisance._replace(gradient=nuisance.gradient * mine[:, None])
    return replace(
        sample,
        weights=sample.weights * mine,
        sampling=sample.sampling * mine,
        nuisance=nuisance,
        covariates=sample.covariates[:, varies],
        covariate_names=tuple(name for name, v in zip(sample.covariate_names, varies, strict=True) if v),
    )


def _parts(sample: Sample, term: str | None) -> tuple[str, dict[str, Array]]:
    """The term, and who is in each of its levels."""
    if term is not None:
        parts = _levels(sample, term)
        if not 2 <= len(parts) <= MOST:
            raise ValueError(
                f"Subgroups by `{term}` were asked for, and it has {counted(len(parts), 'level')} among the units with "
                f"weight: name a covariate with 2 to {MOST}, such as one cut into classes."
            )
        return term, parts
    for name in sample.terms:
        if 2 <= len(parts := _levels(sample, name)) <= MOST:
            return name, parts
    raise ValueError(
        f"Subgroups were asked for, and no covariate of the study has 2 to {MOST} levels (it has "
        f"{listing(f'`{t}`' for t in sample.terms) or 'none'}): name a factor in `covariates`."
    )


def _levels(sample: Sample, term: str) -> dict[str, Array]:
    columns = list(sample.columns_of(term))
    values = sample.characteristics[:, columns]
    rows = np.unique(values[sample.weights > 0], axis=0)
    if len(rows) > MOST:
        return dict.fromkeys(map(str, range(len(rows))), np.zeros(len(sample), bool))
    names = [sample.characteristic_names[j] for j in columns]
    if len(columns) == 1:
        return {f"{names[0]}: {row[0]:g}": (values == row).all(axis=1) for row in rows}
    ordered = rows[np.argsort(-rows @ np.arange(len(columns), 0, -1), kind="stable")]
    return {" and ".join(n for n, v in zip(names, row, strict=True) if v): (values == row).all(axis=1)
            for row in ordered}  # fmt: skip


def _split(sample: Sample, parts: dict[str, Array]) -> list[str]:
    """A note when matched sets have members in more than one part."""
    if sample.strata is None:
        return []
    live = sample.weights > 0
    place = np.argmax(np.column_stack(list(parts.values())), axis=1)[live]
    pairs = np.unique(np.column_stack([sample.strata[live], place]), axis=0)
    sets, members = np.unique(pairs[:, 0], return_counts=True)
    broken = int((members > 1).sum())
    if not broken:
        return []
    return [
        f"{broken:,} of {len(sets):,} matched sets have members in more than one subgroup, where they stand without "
        "their partners: match exactly on the covariate before looking at its subgroups."
    ]
