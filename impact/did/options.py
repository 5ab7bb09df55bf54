"""How effects by adoption group and period are estimated, as an option that makes sense or is refused."""

from __future__ import annotations

from dataclasses import dataclass

from impact.core import arguments
from impact.show.words import listing

COMPARISONS = {"not_yet": "units not yet treated", "never": "units never treated"}
METHODS = {"dr": "doubly robust", "reg": "outcome regression", "ipw": "inverse probability weighting"}
BASES = {
    "varying": "effects before adoption from the period before",
    "universal": "all effects from the last period before adoption",
}
UNBALANCED = ("changes", "levels")


@dataclass(frozen=True, kw_only=True)
class Options:
    """How the cells are estimated; refused in words where it makes no sense."""

    method: str = "dr"
    comparison: str = "not_yet"
    anticipation: float = 0
    base: str = "varying"
    unbalanced: str = "changes"

    def __post_init__(self) -> None:
        for name, known in (
            ("method", METHODS),
            ("comparison", COMPARISONS),
            ("base", BASES),
            ("unbalanced", UNBALANCED),
        ):
            if getattr(self, name) not in known:
                raise ValueError(f"`{name}` is one of {listing(map(repr, known), 'or')}, not {getattr(self, name)!r}.")
        arguments.number(self.anticipation, "anticipation", least=0, most=1e6)

    def words(self, covariates: int) -> str:
        """The method in words; without covariates the three ways of adjusting for them are one."""
        how = METHODS[self.method] if covariates else "no covariates"
        early = f", reacting up to {self.anticipation:g} periods in advance" if self.anticipation else ""
        return f"Callaway and Sant'Anna, {how}, against {COMPARISONS[self.comparison]}{early}"
