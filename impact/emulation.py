"""The door: the one place where a table becomes a sample."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pandas as pd

from impact import columns as col
from impact import covariates as cov
from impact import events, frames, rules
from impact.panels import Panel
from impact.sample import FlowStep, Sample, caution
from impact.study import Event, Outcome, Study

Array = np.ndarray
FEW = 5  # units of an arm, below which nothing about chance can be learnt from it


def emulate(study: Study, data: Any) -> Sample:
    """Apply a study's protocol to a table: who is eligible, who got what, and what became of them.

    Parameters
    ----------
    study : Study
    data : dataframe
        pandas, polars, Arrow or a DuckDB relation: one row per unit, or, if the study names a
        ``period``, one row per unit and period. Never changed; its index is ignored.

    Returns
    -------
    Sample
        One row per eligible unit of either arm. Whoever was left out is counted in ``flow``.

    Raises
    ------
    KeyError
        The study names columns that the data lack.
    ValueError
        The data cannot answer the study: with the column, the count, and what to do.

    Notes
    -----
    With long data the covariates, the eligibility and the treatment are those of each unit's
    first period. Unless the study says ``missing="drop"``, missing values stop it; where an
    eligibility rule depends on a missing value, it does not hold. Dates keep the time that
    clocks on the wall showed: time zones are dropped.

    Examples
    --------
    >>> from impact import Outcome, Study, emulate
    >>> import pandas as pd
    >>> clients = pd.DataFrame({"id": range(12), "arm": [1, 0] * 6, "job": [1, 0, 1, 1, 0, 0] * 2})
    >>> study = Study(title="Placement", unit="id", treatment="arm", outcomes=Outcome("job", "in a job"))
    >>> emulate(study, clients)
    Sample of “Placement”: 6 treated, 6 comparison units
      in the data: 6 treated, 6 comparison
    """
    return _Door(study, data).sample()


class _Door:
    """One passage through the door: the table shrinks, the flow and the notes grow."""

    def __init__(self, study: Study, data: Any) -> None:
        self.study = study
        self.notes: list[str] = [str(n) for n in getattr(data, "attrs", {}).get("notes", ())]
        self.flow: list[FlowStep] = []
        have = frames.names(data)
        self.rules = {words: rules.rule(text, have) for words, text in study.eligibility.items()}
        self.terms = cov.terms(study, have)
        parts = (*(t.columns for t in self.terms), *(r.columns for r in self.rules.values()))
        self.described = [c for columns in parts for c in columns]
        long = frames.select(data, list(dict.fromkeys([*study.columns, *self.described])))
        self.panel = None if study.period is None else Panel(study, long, study.period)
        self.rows = long
        if self.panel is not None:
            weights = [study.weights] if study.weights else []
            self.rows = self.panel.first_rows([*self.described, *weights], self.notes)
        self.never = None if study.adoption is None else self._never(study.adoption)

    def _never(self, adoption: str) -> float | None:
        """The code of never treated, told from the first period in which any outcome is seen."""
        over_time = (o.periods[0] for o in self.study.outcomes if isinstance(o, Outcome) and o.periods)
        first = min(over_time, default=-np.inf) if self.panel is None else self.panel.when.min()
        return events.never_coded(self.study, self.rows[adoption], float(first), self.notes)

    def sample(self) -> Sample:
        study = self.study
        self._count("in the data")
        self._eligible()
        self._in_either_arm()
        self._one_row_a_unit()
        self._complete()
        self._in_every_period()
        outcomes, periods = self._outcomes()
        outcomes = self._seen_at_all(outcomes, periods)
        treated, arm = self._arms()[0], self._arm()
        columns = cov.materialise(self.terms, self.rows, treated, self.notes)
        adoption = self._adoption(periods)
        sampling = self._sampling()
        # A unit has one row, so that units need no counting.
        cluster = pd.factorize(self.rows[study.cluster])[0] if study.cluster else np.arange(len(self.rows))
        self._last_look(columns, outcomes)
        return Sample(
            study=study,
            unit=self.rows[study.unit].to_numpy(),
            outcomes=outcomes,
            periods=periods,
            **columns,
            sampling=sampling,
            weights=sampling.copy(),
            cluster=cluster,
            treated=treated,
            arm=arm,
            adoption=adoption,
            flow=tuple(self.flow),
            notes=caution(self.notes),
            fingerprint=_fingerprint(
                study, outcomes, columns["characteristics"], treated, adoption, sampling, cluster, arm
            ),
        )

    # ---- who ------------------------------------------------------------------------------

    def _eligible(self) -> None:
        for words, rule in self.rules.items():
            before = len(self.rows)
            holds = rules.holds(rule, self.rows)
            unknown = int(holds.unknown.sum())
            if unknown:
                self.notes.append(
                    f"“{words}” cannot be told for {unknown} of {before} units, because a value of "
                    f"{col.listed(rule.columns)} is missing; they count as not eligible."
                )
            self._keep(holds.yes, words)
            if not len(self.rows):
                raise ValueError(
                    f"The eligibility rule “{words}” (`{rule.text}`) leaves nobody of {before}: check the rule and "
                    f"the units of {col.listed(rule.columns)}."
                )

    def _in_either_arm(self) -> None:
        study = self.study
        if study.treatment is None:
            return
        column = self.rows[study.treatment]
        lost = int(column.isna().sum())
        if lost and study.missing != "drop":
            raise ValueError(
                f"The treatment `{study.treatment}` is missing for {lost} of {len(column)} units: fill it, or set "
                "missing='drop' to exclude and count them."
            )
        if lost:
            self._keep(column.notna().to_numpy(), f"{study.treatment} known")
            column = self.rows[study.treatment]
        parts = [("treated", code, col.equal(column, code)) for code in study.treatments]
        treated = np.logical_or.reduce([mask for _, _, mask in parts])
        comparison = col.equal(column, study.comparison)
        for name, code, mask in (*parts, ("comparison", study.comparison, comparison)):
            if not mask.any():
                raise ValueError(
                    f"The study's `{name}` is {code!r} ({'text' if isinstance(code, str) else 'a number'}), which "
                    f"none of {len(column)} eligible units has in `{study.treatment}` ({col.kind(column)}); codes "
                    f"found, with counts: {col.common_codes(column)}. Set `treated` and `comparison` to two of them"
                    f"{' or more' if len(parts) > 1 else ''}."
                )
        if not (treated | comparison).all():
            self._keep(treated | comparison, "in either arm" if len(parts) == 1 else "in one of the arms")

    def _one_row_a_unit(self) -> None:
        column = self.rows[self.study.unit]
        lost, twice = int(column.isna().sum()), int(column.duplicated().sum())
        if lost:
            raise ValueError(
                f"The unit `{self.study.unit}` is missing in {lost} of {len(column)} rows: fill or remove them."
            )
        if twice:
            raise ValueError(
                f"{twice} of {len(column)} rows repeat a unit (`{self.study.unit}`): keep one row per unit, or name "
                "the `period` of a panel."
            )

    def _complete(self) -> None:
        """Missing values stop the study, or exclude the unit and are counted."""
        study = self.study
        seen = dict.fromkeys([*study.columns, *(c for t in self.terms for c in t.columns)])
        exempt = {study.adoption, study.period, study.unit, study.treatment}
        if self.panel is not None:
            exempt |= {c for o in study.outcomes if isinstance(o, Outcome) for c in o.columns}
        if study.missing == "keep":
            exempt |= {c for o in study.outcomes if isinstance(o, Outcome) and o.periods for c in o.columns}
        counts = {c: int(self.rows[c].isna().sum()) for c in seen if c not in exempt}
        counts = {c: n for c, n in counts.items() if n}
        if not counts:
            return
        words = ", ".join(f"`{c}` ({n})" for c, n in counts.items())
        if study.missing != "drop":
            raise ValueError(
                f"Values are missing, of {len(self.rows)} units, in {words}: fill them, or set missing='drop' to "
                "exclude and count these units."
            )
        self.notes.append(f"Units with missing values were excluded; missing in {words}.")
        self._keep(self.rows[list(counts)].notna().all(axis=1).to_numpy(), "no missing values")
        self._someone_left("that no value is missing")

    def _in_every_period(self) -> None:
        """Units seen, with every outcome, in every period; others stop the study or are counted."""
        study, panel = self.study, self.panel
        measured = [o.column for o in study.outcomes if isinstance(o, Outcome)]
        if panel is None or not measured:
            return
        if study.missing == "keep":
            return
        every = len(panel.periods(self.rows[study.unit]))
        whole = panel.whole(self.rows[study.unit], measured)
        if whole.all():
            return
        if study.missing == "error":
            raise ValueError(
                f"{int((~whole).sum())} of {len(whole)} units lack {col.listed(measured)} in some of the {every} "
                f"periods of `{study.period}`: complete them, or set missing='drop' to exclude and count these "
                "units, or missing='keep' for estimators that know unbalanced panels."
            )
        self._keep(whole, f"observed in all {every} periods")
        self._someone_left("that units are observed in every period")

    # ---- what -----------------------------------------------------------------------------

    def _outcomes(self) -> tuple[dict[str, Any], dict[str, Array]]:
        values: dict[str, Any] = {}
        periods: dict[str, Array] = {}
        for outcome in self.study.outcomes:
            name = outcome.name
            if isinstance(outcome, Event):
                values[name] = events.durations(outcome, self.rows, self.notes)
            elif self.panel is not None:
                units = self.rows[self.study.unit]
                values[name], periods[name] = self.panel.matrix(units, outcome.column), self.panel.periods(units)
            elif outcome.periods is not None:
                values[name] = np.column_stack([self._numbers(c) for c in outcome.columns])
                periods[name] = np.asarray(outcome.periods, float)
            else:
                values[name] = self._numbers(outcome.column)
        return values, periods

    def _seen_at_all(self, outcomes: dict[str, Any], periods: dict[str, Array]) -> dict[str, Any]:
        """With missing="keep": units that are never seen leave, the others are counted."""
        if self.study.missing != "keep":
            return outcomes
        seen = np.logical_or.reduce([~np.isnan(outcomes[name]).all(axis=1) for name in periods])
        if not seen.all():
            self._keep(seen, "observed in some period")
            self._someone_left("that units are observed in some period")
            outcomes, _ = self._outcomes()
        for name in periods:
            count = np.sum(~np.isnan(outcomes[name]), axis=1)
            some = int((count < len(periods[name])).sum())
            if some == len(count) and (count == 1).all():
                self.notes.append(
                    f"Each of {len(count):,} units is seen in one period of `{name}`: a repeated cross-section."
                )
            elif some:
                self.notes.append(
                    f"{some:,} of {len(count):,} units are not seen in every one of the {len(periods[name])} periods "
                    f"of `{name}`; they are kept, with what was seen of them."
                )
        return outcomes

    def _numbers(self, name: str) -> Array:
        return col.numbers(self.rows[name], name, "outcome")

    def _adoption(self, periods: dict[str, Array]) -> Array | None:
        if self.study.adoption is None:
            return None
        seen = np.concatenate(list(periods.values()))
        origin = None if self.panel is None else self.panel.origin
        return events.adoption(self.study, self.rows[self.study.adoption], seen, origin, self.notes, self.never)

    def _sampling(self) -> Array:
        name = self.study.weights
        if name is None:
            return np.ones(len(self.rows))
        values = col.numbers(self.rows[name], name, "weight")
        negative = int((values < 0).sum())
        if negative:
            raise ValueError(f"The weights `{name}` are negative for {negative} of {len(values)} units: correct them.")
        *treated, comparison = self._each()
        some = all(values[mine].sum() > 0 for mine in treated)
        if not (some and (values[comparison].sum() > 0 or not comparison.any())):
            raise ValueError(f"The weights `{name}` are zero for a whole arm: correct them or leave `weights` out.")
        if (values == 0).any():
            self.notes.append(f"The weights `{name}` are zero for {int((values == 0).sum())} units, which have no say.")
        return values

    # ---- the record -----------------------------------------------------------------------

    def _arms(self) -> tuple[Array, Array]:
        study = self.study
        if study.treatment is not None:
            column = self.rows[study.treatment]
            treated = [col.equal(column, code) for code in study.treatments]
            return np.logical_or.reduce(treated), col.equal(column, study.comparison)
        ever = events.ever(self.rows[study.adoption], self.never)
        return ever, ~ever

    def _arm(self) -> Array | None:
        """(n,) codes of more than two arms, 0 for the comparison group."""
        study = self.study
        if study.treatment is None or len(study.treatments) == 1:
            return None
        column = self.rows[study.treatment]
        return np.sum([k * col.equal(column, code) for k, code in enumerate(study.treatments, start=1)], axis=0)

    def _each(self) -> list[Array]:
        """Who is in each arm, treated first."""
        arm = self._arm()
        if arm is None:
            return list(self._arms())
        return [arm == k for k in (*range(1, len(self.study.treatments) + 1), 0)]

    def _count(self, step: str) -> None:
        treated, comparison = self._arms()
        t, c = int(treated.sum()), int(comparison.sum())
        self.flow.append(FlowStep(step, t, c, len(self.rows) - t - c))

    def _keep(self, rows: Array, step: str) -> None:
        self.rows = self.rows[rows].reset_index(drop=True)
        self._count(step)

    def _someone_left(self, demand: str) -> None:
        last, before = self.flow[-1], self.flow[-2]
        if not last.treated or (not last.comparison and before.comparison):
            raise ValueError(
                f"To demand {demand} leaves {last.treated} treated of {before.treated} and {last.comparison} "
                f"comparison units of {before.comparison}: leave out the columns that are mostly missing, or fill "
                "them."
            )
        if len(self.study.arms) > 2 and not all(mine.any() for mine in self._each()):
            raise ValueError(
                f"To demand {demand} leaves nobody in one of the {len(self.study.arms)} arms: leave out the columns "
                "that are mostly missing, or fill them."
            )

    def _last_look(self, columns: dict[str, Any], outcomes: dict[str, Any]) -> None:
        n, p = columns["covariates"].shape
        if n < 2:
            raise ValueError(
                f"Of {self.flow[0].total} units {n} is left, and a comparison needs two: see who is eligible."
            )
        if p + 1 >= n:
            raise ValueError(
                f"The covariates make {p} columns for {n} units: a comparison needs more units than columns; leave "
                "out covariates or group their levels."
            )
        counts = {"treated": self.flow[-1].treated, "in the comparison group": self.flow[-1].comparison}
        if len(self.study.arms) > 2:
            words = (f"in the arm “{word}”" for word in self.study.arms)
            counts = dict(zip(words, (int(mine.sum()) for mine in self._each()), strict=True))
        for name, count in counts.items():
            if 0 < count < FEW:
                units = "unit is" if count == 1 else "units are"
                self.notes.append(f"Only {count} {units} {name}: standard errors computed from so few mean little.")
        for name, values in outcomes.items():
            if isinstance(values, np.ndarray) and values.size and (values == values.flat[0]).all():
                self.notes.append(f"The outcome `{name}` is the same for all {n} units: no effect on it can be seen.")


def _fingerprint(study: Study, outcomes: dict[str, Any], *arrays: Array | None) -> str:
    """A digest of the study and of every number that it uses, in the order of the rows."""
    seen = hashlib.sha256(study.to_toml().encode())
    for value in (*outcomes.values(), *arrays):
        for part in value if isinstance(value, tuple) else (value,):
            if part is not None:
                # column by column, as they are stored
                seen.update(memoryview(np.ascontiguousarray(part.T, dtype=float)))  # type: ignore[arg-type]
    return seen.hexdigest()[:16]
