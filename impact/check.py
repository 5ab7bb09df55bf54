"""The doubt: a claim, the evidence on it, and a verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes

VERDICTS = {True: "holds", False: "does not hold", None: "for the reader to judge"}


@dataclass(frozen=True, eq=False)
class Check:
    """Evidence on one claim that a credible study should be able to make.

    Attributes
    ----------
    claim : a sentence that could be false
    table : the evidence, with columns from the package's glossary; never a row a person
    passed : True, False, or None when the evidence cannot decide
    reason : why, in words, especially when it cannot decide
    kind : how it is drawn
    options : for the drawing
    references, notes : keys of the bibliography; what to keep in mind
    """

    claim: str
    table: pd.DataFrame
    passed: bool | None = None
    reason: str = ""
    kind: str = "points"
    options: Mapping[str, Any] = field(default_factory=dict)
    percent: bool = False
    references: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """The verdict in words."""
        return VERDICTS[self.passed]

    def tidy(self) -> pd.DataFrame:
        """The evidence, one row an item."""
        return self.table.copy()

    def plot(self, ax: Axes | None = None, **options: Any) -> Axes:
        """Draw the evidence on matplotlib axes, which are returned."""
        from impact.show import figures

        return figures.draw(self.table, self.kind, ax=ax, **{"percent": self.percent, **self.options, **options})

    def to_html(self) -> str:
        """The evidence as an HTML table; every name in it is escaped."""
        from impact.show import tables

        return tables.html(self.table, **self._dress())

    def to_latex(self) -> str:
        """The evidence as a LaTeX table; every name in it is escaped."""
        from impact.show import tables

        return tables.latex(self.table, **self._dress())

    def to_markdown(self) -> str:
        """The evidence as a Markdown table."""
        from impact.show import tables

        return tables.markdown(self.table, **self._dress())

    def __repr__(self) -> str:
        from impact.show import tables

        return tables.text(self.table, **self._dress())

    def _repr_html_(self) -> str:
        return self.to_html()

    def _dress(self) -> dict[str, Any]:
        notes = tuple(n for n in (self.reason, *self.notes) if n)
        return {"caption": f"{self.claim}: {self.verdict}", "notes": notes, "percent": self.percent}
