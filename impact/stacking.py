"""Several estimates as one, with the covariance between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from impact.core.inference import coarsest
from impact.core.small_sample import Joined
from impact.estimate import Estimate


def stack(*estimates: Estimate, independent: bool = False, **words: Any) -> Estimate:
    """Several estimates as one, keeping the covariance between them.

    Units are recognised by their labels, so the estimates must come from the same data. A unit is
    in one cluster with whomever any of the estimates puts it together with.

    Parameters
    ----------
    estimates : Estimate
    independent : bool
        The estimates share nothing (samples from two places): their covariance is zero.
    words : fields of the result to set, such as ``estimand``

    Raises
    ------
    ValueError
        The estimates share no units, or lack scores, and were not said to be independent; or
        their clusters cross, so that no two of them are independent.
    """
    if not estimates:
        raise ValueError("There is nothing to stack: give at least one estimate.")
    merged: dict[str, Any] = {
        "index": pd.concat([e.index for e in estimates], ignore_index=True),
        "value": np.concatenate([e.value for e in estimates]),
        "notes": tuple(dict.fromkeys(n for e in estimates for n in e.notes)),
        "references": tuple(dict.fromkeys(r for e in estimates for r in e.references)),
        "method": " | ".join(dict.fromkeys(e.method for e in estimates)),
    }
    joined = _apart(estimates) if independent else _together(estimates)
    return replace(estimates[0], **{**merged, **joined, **words})


def _apart(estimates: Sequence[Estimate]) -> dict[str, Any]:
    from scipy.linalg import block_diag

    both = {k: sum(e.counts.get(k, 0) for e in estimates) for k in estimates[0].counts}
    return {"scores": None, "unit": None, "cluster": None, "covariance": block_diag(*(e.vcov for e in estimates)),
            "degrees": np.concatenate([e.dfs for e in estimates]), "small": None, "counts": both}  # fmt: skip


def _together(estimates: Sequence[Estimate]) -> dict[str, Any]:
    if any(e.scores is None for e in estimates):
        raise ValueError(
            "An estimate that was saved, or whose variance is a formula, has no scores, so its covariance with others "
            "is unknown: stack the original estimates, or say independent=True."
        )
    code, unit = pd.factorize(np.concatenate([np.asarray(e.unit, object) for e in estimates]), use_na_sentinel=False)
    places = np.split(code, np.cumsum([len(np.asarray(e.unit)) for e in estimates])[:-1])
    if len(estimates) > 1 and len(unit) == len(code):
        raise ValueError(
            "These estimates share no units, so the covariance between them is unknown: if the samples are "
            "independent, say independent=True."
        )
    scores = np.zeros((len(unit), sum(len(e.value) for e in estimates)))
    start = 0
    for e, rows in zip(estimates, places, strict=True):
        scores[rows, start : start + len(e.value)] = e.scores
        start += len(e.value)
    cluster = coarsest(len(unit), [(np.asarray(e.cluster), i) for e, i in zip(estimates, places, strict=True)])
    clusters = int(cluster.max()) + 1
    if clusters < 2:
        raise ValueError(
            "These estimates cluster the same units in ways that cross, which leaves no two independent: compare "
            "estimates with the same clusters."
        )
    counts = {**estimates[0].counts, "units": len(unit), "clusters": clusters}
    small = _joined(estimates, places, cluster) if any(e.small is not None for e in estimates) else None
    return {"scores": scores, "unit": unit, "cluster": cluster, "counts": counts, "small": small}


def _joined(estimates: Sequence[Estimate], places: Sequence[np.ndarray], cluster: np.ndarray) -> Joined:
    """The small-sample references side by side; clusters that were joined add up."""
    clusters = int(cluster.max()) + 1
    parts = []
    for e, rows in zip(estimates, places, strict=True):
        own = int(np.asarray(e.cluster).max()) + 1
        sums = e.small.adjusted if e.small is not None else np.sqrt(own / (own - 1)) * e.by_cluster
        into = np.zeros(own, int)
        into[np.asarray(e.cluster)] = cluster[rows]
        part = np.zeros((clusters, len(e.value)))
        np.add.at(part, into, sums)
        parts.append(part)
    return Joined(np.hstack(parts), np.concatenate([e.dfs for e in estimates]))
