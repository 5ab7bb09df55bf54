"""The model of treatment that designs share, and what to tell a reader about it."""

from __future__ import annotations

import numpy as np

from impact.core.logit import LogitFit, Separated, logit
from impact.sample import Sample, told
from impact.show.words import counted, listing

Array = np.ndarray


def covariates(sample: Sample, what: str) -> Array:
    """The covariates to adjust for; refused where the study names none."""
    if not sample.covariates.shape[1]:
        raise ValueError(
            f"{what} was asked for, and the study “{sample.study.title}” has no covariates that vary: name in "
            "`covariates` what decided who was treated."
        )
    return sample.covariates


def propensity(sample: Sample, what: str) -> LogitFit:
    """The logistic regression of treatment on the covariates, with the sample's weights."""
    x = covariates(sample, what)
    return logit(sample.treated, x, sample.weights, names=told(sample.covariate_names, x))


def certainty(separated: Separated, consequence: str) -> tuple[str, ...]:
    """A note on units whom the covariates place in one arm with certainty: the others cannot stand in for them."""
    if not separated:
        return ()
    who = [
        counted(count, f"{arm} unit")
        for arm, count in (("treated", separated.treated), ("comparison", separated.comparison))
        if count
    ]
    names = listing(f"`{name}`" for name in separated.names[:5])
    more = f" and {len(separated.names) - 5} more" if len(separated.names) > 5 else ""
    single = separated.treated + separated.comparison == 1
    return (
        f"{listing(who)} {'has' if single else 'have'} covariates that the other arm never has ({names}{more}): "
        f"{consequence}",
    )
