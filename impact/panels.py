"""Long tables: one row per unit and period, as units with a matrix of values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from impact import columns as col
from impact.study import Study

Array = np.ndarray


class Panel:
    """A long table whose periods were read: ``when`` (rows,) numbers the period of each row.

    Dates are counted in months from ``origin``, the first date of the table.
    """

    def __init__(self, study: Study, long: pd.DataFrame, period: str) -> None:
        self.study, self.long, self.period = study, long, period
        for name, role in ((study.unit, "unit"), (period, "period")):
            lost = int(long[name].isna().sum())
            if lost:
                raise ValueError(f"The {role} `{name}` is missing in {lost} of {len(long)} rows: fill or remove them.")
        self.when, self.origin = col.periods(long[period], period)
        twice = int(pd.DataFrame({"unit": long[study.unit], "period": self.when}).duplicated().sum())
        if twice:
            raise ValueError(
                f"{twice} of {len(long)} rows repeat a unit (`{study.unit}`) in the same period (`{period}`): keep "
                "one row per unit and period."
            )
        if len(np.unique(self.when)) < 2:
            raise ValueError(
                f"`{period}` holds a single period: a panel needs two; leave `period` out of the study, or add rows."
            )

    def first_rows(self, described: Iterable[str], notes: list[str]) -> pd.DataFrame:
        """The first period of each unit, in the order in which units first appear.

        Who is treated, when, and in which cluster must not change over time; of what else
        describes a unit the first value is used, and a change is noted.
        """
        study = self.study
        for name in (study.adoption, study.treatment, study.cluster):
            changing = self._changing(name) if name is not None else 0
            if changing:
                advice = self._staggered() if name == study.treatment else ""
                raise ValueError(
                    f"`{name}` changes over time for {changing} units (`{study.unit}`): give each unit one value in "
                    f"all its rows{advice}."
                )
        measured = {c for o in study.outcomes for c in o.columns}
        for name in dict.fromkeys(described):
            changing = self._changing(name)
            if changing and name not in measured:
                notes.append(
                    f"`{name}` changes over time for {changing} units; its value in each unit's first period is used."
                )
        order = np.argsort(self.when, kind="stable")
        return self.long.iloc[order].drop_duplicates(study.unit).sort_index().reset_index(drop=True)

    def _staggered(self) -> str:
        """What to do where treatment changes over time, and for how many units it ends again."""
        order = np.lexsort((self.when, pd.factorize(self.long[self.study.unit])[0]))
        unit = self.long[self.study.unit].to_numpy()[order]
        treated = np.logical_or.reduce([col.equal(self.long[self.study.treatment], c) for c in self.study.treatments])
        ends = (unit[1:] == unit[:-1]) & treated[order][:-1] & ~treated[order][1:]
        leave = len(set(unit[1:][ends].tolist()))
        again = (
            f"; treatment ends again for {leave} of them, which no estimator of impact.did takes into account: their "
            "effects since the first period of treatment are of having started"
        )
        return f", or name as `adoption` a column with the first period of treatment{again if leave else ''}"

    def _changing(self, name: str) -> int:
        values = self.long.groupby(self.study.unit, observed=True)[name].nunique(dropna=False)
        return int((values > 1).sum())

    def periods(self, units: pd.Series) -> Array:
        """The periods in which any of the units is seen."""
        return np.unique(self.when[self.long[self.study.unit].isin(units).to_numpy()])

    def whole(self, units: pd.Series, columns: Sequence[str]) -> Array:
        """Which units have every column in every period."""
        filled = self.long[list(columns)].notna().all(axis=1)
        times = self.long.loc[filled, self.study.unit].value_counts()
        return units.map(times).fillna(0).to_numpy() == len(self.periods(units))

    def matrix(self, units: pd.Series, column: str) -> Array:
        """A column as units by periods, in the order of the units."""
        when = self.periods(units)
        place = pd.Series(np.arange(len(units)), index=units.to_numpy())
        row = self.long[self.study.unit].map(place).to_numpy(dtype=float, na_value=np.nan)
        mine = ~np.isnan(row)
        matrix = np.full((len(units), len(when)), np.nan)
        values = col.numbers(self.long[column][mine], column, "outcome")
        matrix[row[mine].astype(int), np.searchsorted(when, self.when[mine])] = values
        return matrix
