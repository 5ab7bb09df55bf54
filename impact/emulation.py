"""The door: the one place where a table becomes a sample."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pandas as pd

from impact import columns as col
from impact import covariates as cov
from impact.expressions import rule_columns
from impact.sample import Durations, FlowStep, Sample, caution
from impact.study import Event, Outcome, Study

Array = np.ndarray


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
    first period. Unless the study says ``missing="drop"``, missing values stop it.

    Examples
    --------
    >>> from impact import Outcome, Study, emulate
    >>> import pandas as pd
    >>> clients = pd.DataFrame({"id": range(6), "arm": [1, 1, 1, 0, 0, 0], "job": [1, 0, 1, 0, 0, 1]})
    >>> study = Study(title="Placement", unit="id", treatment="arm", outcomes=Outcome("job", "in a job"))
    >>> emulate(study, clients)
    Sample of “Placement”: 3 treated, 3 comparison units
      in the data: 3 treated, 3 comparison
    """
    return _Door(study, data).sample()


class _Door:
    """One passage through the door: the table shrinks, the flow and the notes grow."""

    def __init__(self, study: Study, data: Any) -> None:
        self.study = study
        self.notes: list[str] = []
        self.flow: list[FlowStep] = []
        rules = {c for rule in study.eligibility.values() for c in rule_columns(rule)}
        terms = cov.terms(study.covariates, col.names(data))
        covariates = [c for t in terms for c in t.columns]
        self.terms = terms
        self.covariate_columns = tuple(dict.fromkeys(covariates))
        self.long = col.select(data, list(dict.fromkeys([*study.columns, *covariates, *sorted(rules)])))
        self.origin: pd.Timestamp | None = None
        self.period: Array | None = None
        self.rows = self.long if study.period is None else self._first_rows(study.period)

    # ---- who ------------------------------------------------------------------------------

    def sample(self) -> Sample:
        study = self.study
        self._count("in the data")
        self._eligible()
        self._in_either_arm()
        self._one_row_a_unit()
        self._complete()
        outcomes, periods = self._outcomes()
        columns = cov.materialise(self.terms, self.rows, self.notes)
        treated, _ = self._arms()
        adoption = self._adoption()
        sampling = self._sampling()
        self._last_look(columns, outcomes)
        return Sample(
            study=study,
            unit=self.rows[study.unit].to_numpy(),
            outcomes=outcomes,
            periods=periods,
            **columns,
            sampling=sampling,
            weights=sampling.copy(),
            cluster=np.unique(self.rows[study.cluster or study.unit].astype(str), return_inverse=True)[1],
            treated=treated,
            adoption=adoption,
            flow=tuple(self.flow),
            notes=caution(self.notes),
            fingerprint=_fingerprint(study, outcomes, columns["characteristics"], treated, adoption, sampling),
        )

    def _first_rows(self, period: str) -> pd.DataFrame:
        """The first period of each unit, after a look at the whole panel."""
        study, long = self.study, self.long
        self.period, self.origin = col.periods(long[period], period)
        for name, role in ((study.unit, "unit"), (period, "period")):
            lost = int(long[name].isna().sum())
            if lost:
                raise ValueError(f"The {role} `{name}` is missing in {lost} of {len(long)} rows: fill or remove them.")
        twice = int(pd.DataFrame({"u": long[study.unit], "p": self.period}).duplicated().sum())
        if twice:
            raise ValueError(
                f"{twice} rows repeat a unit (`{study.unit}`) in the same period (`{period}`): keep one row per unit "
                "and period."
            )
        for name in (study.adoption, study.treatment, study.cluster):
            if name is not None:
                changing = int((long.groupby(study.unit)[name].nunique(dropna=False) > 1).sum())
                if changing:
                    raise ValueError(
                        f"`{name}` changes over time for {changing} units (`{study.unit}`): give each unit one value in "
                        "all its rows."
                    )
        order = np.argsort(self.period, kind="stable")
        return long.iloc[order].drop_duplicates(study.unit).sort_index().reset_index(drop=True)

    def _eligible(self) -> None:
        for words, rule in self.study.eligibility.items():
            before = len(self.rows)
            used = rule_columns(rule)
            unknown = int(self.rows[list(used)].isna().any(axis=1).sum()) if used else 0
            try:
                holds = self.rows.eval(rule, engine="python")
            except TypeError:
                raise ValueError(
                    f"The eligibility rule “{words}” (`{rule}`) compares {col.listed(used)} with a value of another type: "
                    "check whether the column holds text or numbers."
                ) from None
            kept = pd.Series(holds, index=self.rows.index).astype("boolean").fillna(False).to_numpy(dtype=bool)
            if unknown:
                self.notes.append(
                    f"{unknown} of {before} units have a missing value in {col.listed(used)}, on which “{words}” depends; "
                    "where the rule could not be shown to hold they count as not eligible."
                )
            self._keep(kept, words)
            if not len(self.rows):
                raise ValueError(
                    f"The eligibility rule “{words}” (`{rule}`) leaves nobody of {before}: check the rule and the units "
                    f"of {col.listed(used)}."
                )

    def _in_either_arm(self) -> None:
        study = self.study
        if study.treatment is None:
            return
        column = self.rows[study.treatment]
        lost = int(column.isna().sum())
        if lost and study.missing == "error":
            raise ValueError(
                f"The treatment `{study.treatment}` is missing for {lost} of {len(column)} units: fill it, or set "
                "missing='drop' to exclude and count them."
            )
        if lost:
            self._keep(column.notna().to_numpy(), f"{study.treatment} known")
        treated, comparison = self._arms()
        for mask, name, code in ((treated, "treated", study.treated), (comparison, "comparison", study.comparison)):
            if not mask.any():
                raise ValueError(
                    f"The study's `{name}` is {code!r} ({type(code).__name__}), which no eligible unit has in "
                    f"`{study.treatment}` ({_kind(self.rows[study.treatment])}); codes found, with counts: "
                    f"{col.common_codes(self.rows[study.treatment])}. Set `treated` and `comparison` to two of them."
                )
        if not (treated | comparison).all():
            self._keep(treated | comparison, "in either arm")

    def _one_row_a_unit(self) -> None:
        column = self.rows[self.study.unit]
        lost, twice = int(column.isna().sum()), int(column.duplicated().sum())
        if lost:
            raise ValueError(f"The unit `{self.study.unit}` is missing in {lost} of {len(column)} rows: fill or remove them.")
        if twice:
            raise ValueError(
                f"{twice} of {len(column)} rows repeat a unit (`{self.study.unit}`): keep one row per unit, or name the "
                "`period` of a panel."
            )

    def _complete(self) -> None:
        """Missing values stop the study, or exclude the unit and are counted."""
        study = self.study
        seen = list(dict.fromkeys([*study.columns, *self.covariate_columns]))
        inside = [c for c in seen if c not in (study.adoption, study.period, study.unit, study.treatment)]
        if study.period is not None:
            inside = [c for c in inside if not any(c in o.columns for o in study.outcomes if isinstance(o, Outcome))]
        counts = {c: int(self.rows[c].isna().sum()) for c in inside}
        counts = {c: n for c, n in counts.items() if n}
        if not counts:
            return
        words = ", ".join(f"`{c}` ({n})" for c, n in counts.items())
        if study.missing == "error":
            raise ValueError(
                f"Values are missing, of {len(self.rows)} units, in {words}: fill them, or set missing='drop' to exclude "
                "and count these units."
            )
        self.notes.append(f"Units with missing values were excluded; missing in {words}.")
        self._keep(self.rows[list(counts)].notna().all(axis=1).to_numpy(), "no missing values")
        self._someone_left("that no value is missing")

    # ---- what -----------------------------------------------------------------------------

    def _outcomes(self) -> tuple[dict[str, Any], dict[str, Array]]:
        values: dict[str, Any] = {}
        periods: dict[str, Array] = {}
        if self.study.period is not None:
            self._balanced()
        for outcome in self.study.outcomes:
            if isinstance(outcome, Event):
                values[outcome.name] = self._durations(outcome)
            elif self.study.period is not None:
                values[outcome.name], periods[outcome.name] = self._matrix(outcome)
            elif outcome.periods is not None:
                values[outcome.name] = np.column_stack([self._numbers(c) for c in outcome.columns])
                periods[outcome.name] = np.asarray(outcome.periods, float)
            else:
                values[outcome.name] = self._numbers(outcome.column)
        return values, periods

    def _numbers(self, name: str) -> Array:
        return col.numbers(self.rows[name], name, "outcome")

    def _balanced(self) -> None:
        """Units observed, with every outcome, in every period; others stop the study or are counted."""
        study, assert_period = self.study, self.period
        assert assert_period is not None
        measured = [o.column for o in study.outcomes if isinstance(o, Outcome)]
        whole = self.long[measured].notna().all(axis=1) & self.long[study.unit].isin(self.rows[study.unit])
        times = self.long.loc[whole, study.unit].value_counts()
        every = len(np.unique(assert_period))
        full = self.rows[study.unit].map(times).fillna(0).to_numpy() == every
        if full.all():
            return
        short = int((~full).sum())
        if study.missing == "error":
            raise ValueError(
                f"{short} of {len(full)} units lack {col.listed(measured)} in some of the {every} periods of "
                f"`{study.period}`: complete them, or set missing='drop' to exclude and count these units."
            )
        self._keep(full, f"observed in all {every} periods")
        self._someone_left("that units are observed in every period")

    def _matrix(self, outcome: Outcome) -> tuple[Array, Array]:
        """A long column as units by periods, in the order of the sample's rows."""
        period = self.period
        assert period is not None
        when, at = np.unique(period, return_inverse=True)
        place = pd.Series(np.arange(len(self.rows)), index=self.rows[self.study.unit].to_numpy())
        row = self.long[self.study.unit].map(place).to_numpy(dtype=float, na_value=np.nan)
        mine = ~np.isnan(row)
        matrix = np.full((len(self.rows), len(when)), np.nan)
        matrix[row[mine].astype(int), at[mine]] = col.numbers(self.long[outcome.column], outcome.column, "outcome")[mine]
        return matrix, when

    def _durations(self, event: Event) -> Durations:
        rows = self.rows
        time = self._time(event, event.duration)
        entry = None if event.entry is None else self._time(event, event.entry)
        negative = int((time < 0).sum())
        if negative:
            what = f"`{event.duration}` lies before `{event.since}`" if event.since else f"`{event.duration}` is negative"
            raise ValueError(
                f"{what} for {negative} of {len(time)} units: nobody leaves before time zero; correct these rows or "
                "exclude them by an eligibility rule."
            )
        zero = int((time == 0).sum())
        if zero:
            self.notes.append(f"`{event.duration}` is zero for {zero} of {len(time)} units: they leave at time zero.")
        if entry is not None and (entry >= time).any():
            raise ValueError(
                f"`{event.entry}` is not before `{event.duration}` for {int((entry >= time).sum())} of {len(time)} units: "
                "a unit must come under observation before it leaves."
            )
        status = np.full(len(rows), -1)
        for k, code in enumerate((event.censored, *event.causes)):
            status[col.equal(rows[event.status], code)] = k
        unknown = int((status < 0).sum())
        if unknown:
            raise ValueError(
                f"`{event.status}` has codes that the study does not name for {unknown} of {len(status)} units; codes "
                f"found, with counts: {col.common_codes(rows[event.status])}. Name every code in `causes`, or as `censored`."
            )
        if not (status > 0).any():
            raise ValueError(
                f"`{event.status}` records no event for any of {len(status)} units: there is nothing to estimate; check "
                "the codes in `causes`."
            )
        for k, word in enumerate(event.causes.values(), start=1):
            if not (status == k).any():
                self.notes.append(f"Nobody of {len(status)} units has the exit “{word}” in `{event.status}`.")
        return Durations(time, status, entry)

    def _time(self, event: Event, name: str) -> Array:
        if event.since is None:
            return col.numbers(self.rows[name], name, "duration")
        start, end = col.dates(self.rows[event.since], event.since), col.dates(self.rows[name], name)
        return col.elapsed(end, start, event.unit)

    def _adoption(self) -> Array | None:
        study = self.study
        if study.adoption is None:
            return None
        column = self.rows[study.adoption]
        if self.origin is not None:
            values, _ = col.periods(column, study.adoption, self.origin)
        else:
            values = col.numbers(column, study.adoption, "adoption period")
        never = np.isnan(values) if study.never is None else np.isnan(values) | (values == study.never)
        values = np.where(never, np.inf, values)
        first = self._first_period()
        early = int((values < first).sum())
        if early and bool((values[values < first] == 0).all()):
            raise ValueError(
                f"`{study.adoption}` is 0 for {early} units, before the first period observed: if 0 means never treated, "
                "set never=0 in the study."
            )
        if not np.isfinite(values).any():
            raise ValueError(f"Nobody of {len(values)} units is ever treated by `{study.adoption}`: check the column.")
        return values

    def _first_period(self) -> float:
        if self.period is not None:
            return float(self.period.min())
        return float(min(min(o.periods) for o in self.study.outcomes if isinstance(o, Outcome) and o.periods))

    def _sampling(self) -> Array:
        name = self.study.weights
        if name is None:
            return np.ones(len(self.rows))
        values = col.numbers(self.rows[name], name, "weight")
        negative = int((values < 0).sum())
        if negative:
            raise ValueError(f"The weights `{name}` are negative for {negative} of {len(values)} units: correct them.")
        treated, comparison = self._arms()
        if not (values[treated].sum() > 0 and (values[comparison].sum() > 0 or not comparison.any())):
            raise ValueError(f"The weights `{name}` are zero for a whole arm: correct them or leave `weights` out.")
        if (values == 0).any():
            self.notes.append(f"The weights `{name}` are zero for {int((values == 0).sum())} units, which have no say.")
        return values

    # ---- the record -----------------------------------------------------------------------

    def _arms(self) -> tuple[Array, Array]:
        study = self.study
        if study.treatment is not None:
            column = self.rows[study.treatment]
            return col.equal(column, study.treated), col.equal(column, study.comparison)
        column = self.rows[study.adoption]
        ever = column.notna().to_numpy()
        if pd.api.types.is_numeric_dtype(column.dtype):
            values = column.to_numpy(dtype=float, na_value=np.nan)
            ever = np.isfinite(values) & (values != (np.nan if study.never is None else study.never))
        return ever, ~ever

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
                f"To demand {demand} leaves {last.treated} treated of {before.treated} and {last.comparison} comparison "
                f"units of {before.comparison}: leave out the columns that are mostly missing, or fill them."
            )

    def _last_look(self, columns: dict[str, Any], outcomes: dict[str, Any]) -> None:
        n, p = columns["covariates"].shape
        if p + 1 >= n:
            raise ValueError(
                f"The covariates make {p} columns for {n} units: a comparison needs more units than columns; leave out "
                "covariates or group their levels."
            )
        for name, values in outcomes.items():
            if isinstance(values, np.ndarray) and values.size and (values == values.flat[0]).all():
                self.notes.append(f"The outcome `{name}` is the same for all {n} units: no effect on it can be seen.")


def _kind(column: pd.Series) -> str:
    return "text" if col.is_text(column) else str(column.dtype)


def _fingerprint(study: Study, outcomes: dict[str, Any], *arrays: Array | None) -> str:
    seen = hashlib.sha256(study.to_toml().encode())
    for value in (*outcomes.values(), *arrays):
        for part in value if isinstance(value, tuple) else (value,):
            if part is not None:
                seen.update(np.ascontiguousarray(part, dtype=float).tobytes())
    return seen.hexdigest()[:16]
