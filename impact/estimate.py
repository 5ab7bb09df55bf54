"""The answer: values, and what each unit contributed to their error."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from impact.core import inference
from impact.core.pretest import together
from impact.core.small_sample import Arms, Small
from impact.sample import Sample, caution
from impact.scales import SCALES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = np.ndarray
MANY = 2_000  # clusters beyond which it does not matter how large each is


@dataclass(frozen=True, eq=False)
class Estimate:
    """A labelled vector of estimates and each unit's contribution to its error.

    The score of unit i for a value θ is ``w_i ∂θ/∂w_i``, where ``w_i`` is the unit's weight:
    the infinitesimal jackknife. The covariance is the sum over the G clusters of the outer
    products of their summed scores, times G / (G - 1). Whatever is done to the values is done
    to the scores, so any two estimates on the same units can be compared, joined or averaged.

    Only what may leave the room is pickled: values, covariance, counts and words, never scores.

    Attributes
    ----------
    index : (k rows) labels of the values
    value : (k,)
    scores : (n, k), or None in the released form
    unit, cluster : (n,), or None in the released form
    covariance : (k, k), given when there are no scores
    degrees : degrees of freedom of the t reference, one or (k,), given when there are no scores
    small : errors and degrees of freedom of each value where clusters may be few, or None
    counts : units, clusters and arms behind the values
    estimand, method : in words
    scale : the scale on which intervals are symmetric: identity, log, loglog or logit
    null : the value of no effect, for statistics and p values; None for levels, which have none
    kind : how it is drawn: points, path or steps
    axes : words for the axes and headings, by column
    options : for the drawing, such as the numbers at risk under curves; and ``measured_from``, in words, where
        effects before adoption are not measured from one period
    percent : whether the values are probabilities, shown in per cent
    references, notes : keys of the bibliography; what to keep in mind

    References
    ----------
    jaeckel1972, efron1982 (the infinitesimal jackknife).
    """

    index: pd.DataFrame
    value: Array
    scores: Array | None = field(repr=False)
    unit: Array | None = field(repr=False)
    cluster: Array | None = field(repr=False)
    covariance: Array | None = None
    degrees: float | Array | None = None
    small: Small | None = field(default=None, repr=False)
    counts: Mapping[str, int] = field(default_factory=dict)
    estimand: str = ""
    method: str = ""
    scale: str = "identity"
    null: float | None = 0.0
    kind: str = "points"
    axes: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    percent: bool = False
    references: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    # ---- making ---------------------------------------------------------------------------

    @classmethod
    def of(
        cls,
        sample: Sample,
        labels: Mapping[str, Any],
        value: Any,
        scores: Any,
        *,
        rests_on: Array | None = None,
        fitted: int = 0,
        small: Small | None = None,
        **about: Any,
    ) -> Estimate:
        """What an estimator returns: values and scores, in the order of the sample's rows.

        ``scores`` are ``weights_i ∂value/∂weights_i`` at the sample's own weights; the error of
        weights that were estimated is added here. Where clusters may be few, ``rests_on`` (n, k) says
        which treated units each value rests on, and ``fitted`` how many covariates were fitted among
        the others; or ``small`` is the reference of a regression.
        """
        value = np.atleast_1d(np.asarray(value, float))
        scores = np.asarray(scores, float).reshape(len(sample), len(value))
        direct = scores != 0
        if sample.nuisance is not None:
            scores = scores + _weight_error(sample, scores)
        live = sample.weights > 0
        if sample.nuisance is not None:  # whoever had a part in estimating the weights counts
            live = live | (sample.nuisance.influence != 0).any(axis=1)
        about["method"] = "; ".join(w for w in (*sample.steps, about.get("method", "")) if w)
        about["notes"] = tuple(dict.fromkeys((*about.get("notes", ()), *sample.notes)))
        cluster = np.unique(sample.cluster[live], return_inverse=True)[1]
        _refuse_one_cluster(int(cluster.max(initial=-1)) + 1, sample)
        about["counts"] = _counts(sample, int(cluster.max()) + 1)
        kept = slice(None) if live.all() else live  # nothing is copied where everybody counts
        if rests_on is not None:
            small = _arms(scores[kept], cluster, rests_on[kept], direct[kept], sample.weights[kept], fitted)
            about["notes"] = (*about["notes"], *caution(_lone(small, sample)))
        return cls(_index(labels, len(value)), value, scores[kept], sample.unit[kept], cluster, small=small, **about)

    @classmethod
    def of_covariance(
        cls, labels: Mapping[str, Any], value: Any, covariance: Any, *, df: float = np.inf, **about: Any
    ) -> Estimate:
        """An estimate whose variance comes from a published formula instead of scores."""
        value = np.atleast_1d(np.asarray(value, float))
        covariance = np.asarray(covariance, float).reshape(len(value), len(value))
        return cls(_index(labels, len(value)), value, None, None, None, covariance, float(df), **about)

    @classmethod
    def of_draws(cls, labels: Mapping[str, Any], value: Any, draws: Any, **about: Any) -> Estimate:
        """An estimate whose covariance is that of (B, k) bootstrap or simulation draws."""
        draws = np.atleast_2d(np.asarray(draws, float))
        if len(draws) < 2:
            raise ValueError(f"A covariance from draws needs at least two, not {len(draws)}: draw more.")
        return cls.of_covariance(labels, value, np.cov(draws, rowvar=False), **about)

    # ---- error ----------------------------------------------------------------------------

    @cached_property
    def by_cluster(self) -> Array:
        """(G, k): the scores summed within clusters."""
        assert self.scores is not None and self.cluster is not None
        return inference.cluster_sums(self.scores, self.cluster)

    @property
    def dfs(self) -> Array:
        """(k,) degrees of freedom of each value: the clusters, less one, unless clusters may be few."""
        if self.small is not None:
            return self.small.degrees
        if self.scores is None:
            return np.broadcast_to(np.asarray(np.inf if self.degrees is None else self.degrees, float), len(self.value))
        return np.full(len(self.value), len(self.by_cluster) - 1.0)

    @property
    def df(self) -> float:
        """Degrees of freedom of what is said of all values together: the harmonic mean of those that have an error.

        Effects of early adopters and late ones rest on different units, some on few. The fewest degrees would make
        what is said of all of them far too strict.
        """
        known = self.dfs[np.isfinite(self.std_error)]
        with np.errstate(divide="ignore"):
            return float(1 / np.mean(1 / known)) if len(known) else np.nan

    @cached_property
    def vcov(self) -> Array:
        """(k, k) covariance of the values."""
        if self.scores is None:
            assert self.covariance is not None
            return self.covariance
        if self.small is not None:
            return self.small.adjusted.T @ self.small.adjusted
        return inference.covariance(self.by_cluster)

    @property
    def std_error(self) -> Array:
        """(k,) standard errors; what is rounding alone, beside the value, is none."""
        error = np.sqrt(np.diag(self.vcov))
        return np.where(error <= 1e-14 * np.abs(self.value), 0.0, error)

    def interval(self, level: float = 0.95, simultaneous: bool = False) -> tuple[Array, Array]:
        """Confidence limits: for each value, or such that all of them hold at once."""
        _refuse_level(level)
        go, slope, back = SCALES[self.scale]
        error = self.std_error
        with np.errstate(divide="ignore", invalid="ignore"):
            reach = self._critical(level, simultaneous) * np.abs(slope(self.value)) * error
            low, high = back(go(self.value) - reach), back(go(self.value) + reach)
        low, high = np.minimum(low, high), np.maximum(low, high)
        return np.where(error == 0, self.value, low), np.where(error == 0, self.value, high)

    def _critical(self, level: float, simultaneous: bool) -> Any:
        from scipy import special  # a quarter of a second sooner there than scipy.stats

        if not simultaneous or len(self.value) == 1:
            return special.stdtrit(self.dfs, (1 + level) / 2)
        return inference.sup_t(self.vcov, self.df, level)

    def detectable(self, power: float = 0.8, level: float = 0.95) -> Array:
        """(k,) the smallest true effects that this sample would have told from zero with the given power."""
        from scipy import stats

        _refuse_level(level)
        return (stats.t.ppf((1 + level) / 2, self.dfs) + stats.norm.ppf(power)) * self.std_error

    def test(self, null: Any = 0.0) -> dict[str, float]:
        """A joint test that every value equals ``null``: Hotelling's, with an F reference.

        With G clusters and k values, ``W (G - k) / (k (G - 1))`` is compared with F(k, G - k),
        W being the Wald statistic. With fewer clusters than values there is no test: p is NaN. Where values
        have degrees of freedom of their own, G - 1 is their harmonic mean.

        References
        ----------
        hotelling1931.
        """
        degrees = self.dfs[np.isfinite(self.std_error)]
        return inference.hotelling(self.value - null, self.vcov, together(degrees) if len(degrees) else np.nan)

    # ---- reading --------------------------------------------------------------------------

    def tidy(self, level: float = 0.95, simultaneous: bool = False) -> pd.DataFrame:
        """One row per value, with columns from the package's glossary.

        The statistic compares a value with ``null`` on the scale of its interval; levels have none.
        """
        from scipy import stats

        low, high = self.interval(level, simultaneous)
        frame = self.index.assign(estimate=self.value, std_error=self.std_error)
        if self.null is not None:
            go, slope, _ = SCALES[self.scale]
            with np.errstate(divide="ignore", invalid="ignore"):
                gap = go(self.value) - go(np.full(len(self.value), float(self.null)))
                statistic = gap / (np.abs(slope(self.value)) * self.std_error)
            frame = frame.assign(statistic=statistic, p_value=2 * stats.t.sf(np.abs(statistic), self.dfs))
        return frame.assign(conf_low=low, conf_high=high)

    def where(self, rule: str) -> Estimate:
        """The values whose labels satisfy a rule, as in ``where("time >= 0")``."""
        kept = self.index.query(rule, engine="python").index.to_numpy()
        if not len(kept):
            raise ValueError(f"No value has labels with `{rule}`: the labels are {', '.join(self.index.columns)}.")
        picked = np.eye(len(self.value))[kept]
        index = self.index.iloc[kept].reset_index(drop=True)
        return replace(
            self,
            index=index,
            value=self.value[kept],
            scores=None if self.scores is None else self.scores[:, kept],
            covariance=None if self.covariance is None else self.covariance[np.ix_(kept, kept)],
            degrees=None if self.degrees is None else np.broadcast_to(self.degrees, len(self.value))[kept],
            small=None if self.small is None else self.small.carry(picked),
        )

    def combine(self, weights: Any, **labels: Any) -> Estimate:
        """Linear combinations of the values: one new value for each row of ``weights``."""
        weights = np.atleast_2d(np.asarray(weights, float))
        return self._carried(weights @ self.value, weights, labels)

    def transform(self, function: Callable[[Array], Any], **labels: Any) -> Estimate:
        """A smooth function of the values, by the delta method."""
        return self._carried(np.atleast_1d(function(self.value)), inference.jacobian(function, self.value), labels)

    def about(self, **words: Any) -> Estimate:
        """The same numbers under another description."""
        numbers = {"value", "scores", "covariance", "cluster", "unit", "degrees", "small"} & set(words)
        if numbers:
            raise ValueError("`about` changes words, not numbers: use `combine` or `transform`.")
        return replace(self, **words)

    def __sub__(self, other: Estimate) -> Estimate:
        k = len(self.value)
        if len(other.value) != k:
            raise ValueError(f"One estimate has {k} values and the other {len(other.value)}: choose by `where` first.")
        labels = {c: self.index[c].to_numpy() for c in self.index}
        from impact.stacking import stack

        gap = stack(self, other).combine(np.hstack([np.eye(k), -np.eye(k)]), **labels)
        return gap.about(scale="identity", null=0.0, estimand=f"{self.estimand}, difference between two methods")

    def _carried(self, value: Array, jacobian: Array, labels: Mapping[str, Any]) -> Estimate:
        return replace(
            self,
            index=_index(labels, len(value)),
            value=value,
            options={},  # what was drawn with the old values does not belong to the new
            scores=None if self.scores is None else self.scores @ jacobian.T,
            covariance=None if self.covariance is None else jacobian @ self.covariance @ jacobian.T,
            degrees=None if self.degrees is None else _fewest(self.degrees, jacobian),
            small=None if self.small is None else self.small.carry(jacobian),
        )

    # ---- showing --------------------------------------------------------------------------

    def plot(self, ax: Axes | None = None, **options: Any) -> Axes:
        """Draw the values on matplotlib axes, which are returned."""
        from impact.show import figures

        frame = self.tidy()
        if self.kind == "path" and len(self.value) > 1:
            low, high = self.interval(simultaneous=True)
            frame = frame.assign(band_low=low, band_high=high)
        words: dict[str, Any] = {"xlabel": self.axes.get("time"), "ylabel": self.axes.get("estimate")}
        words["percent"] = self.percent
        if self.kind != "steps":
            words["null"] = self.null
        drawn = {k: v for k, v in self.options.items() if k != "measured_from"}
        own = {k: pd.DataFrame(v) if isinstance(v, Mapping) else v for k, v in drawn.items()}
        return figures.draw(frame, self.kind, ax=ax, **{**words, **own, **options})

    def to_html(self) -> str:
        """The values as an HTML table; every name in it is escaped."""
        from impact.show import tables

        return tables.html(self.tidy(), **self._dress())

    def to_latex(self) -> str:
        """The values as a LaTeX table with booktabs rules; every name in it is escaped."""
        from impact.show import tables

        return tables.latex(self.tidy(), **self._dress())

    def to_markdown(self) -> str:
        """The values as a Markdown table."""
        from impact.show import tables

        return tables.markdown(self.tidy(), **self._dress())

    def __repr__(self) -> str:
        from impact.show import tables

        return tables.text(self.tidy(), **self._dress())

    def _repr_html_(self) -> str:
        return self.to_html()

    def _dress(self) -> dict[str, Any]:
        return {"caption": self.estimand, "notes": self.footer(), "percent": self.percent}

    def footer(self) -> tuple[str, ...]:
        """What stands below the table: the method, the counts, the notes."""
        n, g = self.counts.get("units"), self.counts.get("clusters")
        counted = "" if n is None else f"{n:,} units" + ("" if g in (None, n) else f" in {g:,} independent clusters")
        return tuple(w for w in ("; ".join(w for w in (self.method, counted) if w), *self.notes) if w)

    # ---- leaving the process ----------------------------------------------------------------

    def released(self) -> Estimate:
        """The form that may leave the process: values, covariance, counts and words; no scores, no units."""
        numbers: dict[str, Any] = {"covariance": self.vcov, "degrees": self.dfs}
        return replace(self, scores=None, unit=None, cluster=None, small=None, **numbers)

    def __getstate__(self) -> dict[str, Any]:
        free = self.released()
        return {f.name: getattr(free, f.name) for f in fields(free)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def __copy__(self) -> Estimate:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Estimate:
        return self  # frozen; a copy by pickling would lose the scores


def _arms(scores: Array, cluster: Array, rests_on: Array, direct: Array, weights: Array, fitted: int) -> Arms:
    """The reference by arms: what part clusters have in the treated units a value rests on, and in the others."""
    sums = inference.cluster_sums(scores, cluster)
    if len(sums) > MANY:
        treated, others = (inference.cluster_sums(side, cluster) > 0 for side in (rests_on, direct & ~rests_on))
    else:
        treated, others = (_shares(side * weights[:, None], cluster) for side in (rests_on, direct & ~rests_on))
    return Arms(sums, treated, others, fitted)


def _shares(weights: Array, cluster: Array) -> Array:
    """(G, k): the part that each cluster has in the weights (n, k) of one side."""
    held = inference.cluster_sums(weights, cluster)
    whole = held.sum(axis=0)
    return np.asarray(held / np.where(whole > 0, whole, 1.0))


def _lone(small: Arms, sample: Sample) -> list[str]:
    lone, k = (small.sides.min(axis=0) < 2) & small.sums.any(axis=0), small.sums.shape[1]
    if not lone.any():
        return []
    which = f"{int(lone.sum())} of {k} values rest" if k > 1 else "The value rests"
    return [
        f"{which} on a single cluster (`{sample.study.cluster or sample.study.unit}`) on one side of the comparison, "
        "from which no standard error can be computed: see impact.did.few_treated."
    ]


def _fewest(degrees: float | Array, jacobian: Array) -> Array:
    """The degrees of freedom of combinations: the fewest of any value they are made of."""
    return np.where(jacobian != 0, np.broadcast_to(degrees, jacobian.shape[1]), np.inf).min(axis=1)


def _counts(sample: Sample, clusters: int) -> dict[str, int]:
    used, treated = sample.weights > 0, sample.treated
    return {
        "units": int(used.sum()),
        "clusters": clusters,
        "treated": int((used & treated).sum()),
        "comparison": int((used & ~treated).sum()),
    }


def _index(labels: Mapping[str, Any], k: int) -> pd.DataFrame:
    return pd.DataFrame({name: np.broadcast_to(np.asarray(v), k) for name, v in labels.items()}, index=range(k))


def _weight_error(sample: Sample, scores: Array) -> Array:
    """Carry the error of estimated weights into an estimate that used them.

    The score of unit j is ``w_j u_j``, u_j being the estimate's derivative in ``w_j``; the chain
    rule through the weights' parameters does the rest.
    """
    assert sample.nuisance is not None
    w = sample.weights[:, None]
    per_weight = np.divide(scores, w, out=np.zeros_like(scores), where=w > 0)
    return sample.nuisance.influence @ (sample.nuisance.gradient.T @ per_weight)


def _refuse_level(level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"A level is between 0 and 1, such as 0.95, not {level!r}.")


def _refuse_one_cluster(clusters: int, sample: Sample) -> None:
    if clusters < 2:
        raise ValueError(
            f"All units with a weight belong to {clusters} cluster (`{sample.study.cluster or sample.study.unit}`), so "
            "no error can be computed: name a finer cluster."
        )
