"""Covariate terms as numbers: materialised by formulaic, with the levels and knots it saw."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from impact.core.linear import centred, root_of
from impact.expressions import split
from impact.recipe import CONTEXT, Recipe, recipe
from impact.study import Event, Study
from impact.terms import Factor, Term, term

_LEVEL = re.compile(r"l(\d+)")


def terms(study: Study, names: Collection[str]) -> tuple[Term, ...]:
    """The study's covariates, read against the columns of the table; what follows treatment is refused."""
    after = {c: "the treatment" for c in (study.treatment, study.adoption) if c is not None}
    for outcome in study.outcomes:
        if isinstance(outcome, Event):
            after |= dict.fromkeys((outcome.duration, outcome.status), "an outcome")
        elif outcome.periods is None and study.period is None:  # over time, the first value may be from before
            after[outcome.column] = "an outcome"
    read = tuple(_in_words(term(text, names), study) for text in study.covariates)
    for one in read:
        for column in one.columns:
            if column in after:
                raise ValueError(
                    f"The covariate `{one.text}` uses `{column}`, which is {after[column]} of the study: covariates "
                    "are known before treatment; leave it out."
                )
    return read


def _in_words(one: Term, study: Study) -> Term:
    """The term with the study's words for its columns."""
    factors = (f if f.kind == "computed" else f._replace(shown=study.say(f.columns[0])) for f in one.factors)
    return one._replace(factors=tuple(factors))


def materialise(chosen: Sequence[Term], rows: pd.DataFrame, treated: np.ndarray, notes: list[str]) -> dict[str, Any]:
    """The covariate fields of a Sample.

    Columns that are constant or follow from the others are left out of the design, with a note;
    balance is still judged on them. A column that tells the arms apart is noted.
    """
    if not chosen:
        empty = np.empty((len(rows), 0))
        return {"covariates": empty, "covariate_names": (), "characteristics": empty, "characteristic_names": (),
                "terms": {}, "formula": None}  # fmt: skip
    made, coded = recipe(chosen, rows)
    written, values = _Written(chosen, made), made.values(rows, coded)
    if made.plain:
        design, every = (written.columns_of(made, values, full_rank=rank) for rank in (True, False))
    else:
        table = made.table(values)
        design = _model_matrix("1 + " + written.formula, table, written, made, full_rank=True)
        every = _model_matrix("0 + " + written.formula, table, written, made, full_rank=False)
    owners = [written.term_of(f) for f in design.factors]
    kept = _independent(design.numbers, owners, notes)
    _note_separation(design.numbers, treated, owners, notes)
    whole = len(kept) == len(owners)
    return {
        "covariates": design.numbers if whole else np.asfortranarray(design.numbers[:, kept]),
        "covariate_names": tuple(design.names[j] for j in kept),
        "characteristics": every.numbers,
        "characteristic_names": every.names,
        "terms": written.positions(every.factors),
        "formula": replace(made, kept=tuple(kept), spec=design.spec),
    }


class _Made(NamedTuple):
    """Columns (n, q), stored one after the other, without an intercept: for each the factors that made it and its
    name; and formulaic's specification, if it was asked."""

    numbers: np.ndarray
    factors: list[frozenset[str]]
    names: tuple[str, ...]
    spec: Any = None


# ---- formulaic --------------------------------------------------------------------------------


class _Written:
    """The terms as one formula with stand-ins, and the way back from formulaic's columns."""

    def __init__(self, chosen: Sequence[Term], recipe: Recipe) -> None:
        self.chosen = chosen
        self.shown: dict[str, str] = {}
        self.products: dict[str, list[frozenset[str]]] = {}
        formula: list[str] = []
        for t in chosen:
            for product in t.products:
                texts = [self._write(f, recipe) for f in product]
                formula.append(":".join(texts))
                self.products.setdefault(t.text, []).append(frozenset(map(_tight, texts)))
        self.formula = " + ".join(dict.fromkeys(formula))

    def _write(self, factor: Factor, recipe: Recipe) -> str:
        coded = factor.kind != "computed" and factor.columns[0] in recipe.factors
        coded = coded and (factor.kind == "coded" or factor.columns[0] not in recipe.numeric)
        text = f"C({recipe.factors[factor.columns[0]]})" if coded else factor.write(recipe.numeric)
        text = text if recipe.plain else _as_formulaic_writes(text)
        self.shown[_tight(text)] = factor.shown
        return text

    def columns_of(self, recipe: Recipe, values: Mapping[str, np.ndarray], *, full_rank: bool) -> _Made:
        """Columns and levels as they stand, which need no formula."""
        levels = {f: recipe.levels[c] for c, f in recipe.factors.items()}
        factors, names = [], []
        for stand_in in recipe.plain:
            text = f"C({stand_in})" if stand_in in levels else stand_in
            shown = self.shown[text]
            words = [f"{shown}: {level}" for level in levels.get(stand_in, ())][int(full_rank) :]
            words = words if stand_in in levels else [shown.strip()]
            names += words
            factors += [frozenset([text])] * len(words)
        return _Made(recipe.columns(values, full_rank=full_rank), factors, tuple(names))

    def columns(self, matrix: Any) -> list[frozenset[str]]:
        """For each column of a model matrix, the factors that made it."""
        made: list[frozenset[str]] = [frozenset()] * len(matrix.columns)
        for t, span in matrix.model_spec.term_slices.items():
            for j in range(*span.indices(len(matrix.columns))):
                made[j] = frozenset(_tight(str(f)) for f in t.factors) - {"1"}
        return made

    def term_of(self, factors: frozenset[str]) -> str:
        return next(text for text, products in self.products.items() if factors in products)

    def positions(self, made: Sequence[frozenset[str]]) -> dict[str, tuple[int, ...]]:
        """Which columns each of the study's terms made, from the factors of each."""
        return {text: tuple(j for j, f in enumerate(made) if f in products) for text, products in self.products.items()}

    def readable(self, name: str, recipe: Recipe) -> str:
        """``C(f0)[T.l1]`` as ``education: secondary``."""
        levels = {f"C({s})": recipe.levels[c] for c, s in recipe.factors.items()}
        words = []
        for piece in _pieces(_tight(name)):
            factor = max((f for f in self.shown if piece.startswith(f)), key=len, default="")
            place = re.sub(r"^\[(?:T\.)?|\]$", "", piece.removeprefix(factor))
            level = _LEVEL.fullmatch(place)
            if level and factor in levels:
                words.append(f"{self.shown[factor]}: {levels[factor][int(level.group(1))]}")
            else:
                words.append(f"{self.shown.get(factor, factor)} {place}".strip())
        return " × ".join(words)


def _as_formulaic_writes(factor: str) -> str:
    from formulaic import Formula

    (term,) = Formula("0 + " + factor)
    return str(term.factors[0])


def _tight(text: str) -> str:
    return re.sub(r"\s+", "", text)


def _pieces(name: str) -> list[str]:
    """The factors in formulaic's name of a column: cut at ``:`` outside brackets."""
    return split(name, ":")


def _model_matrix(formula: str, table: pd.DataFrame, written: _Written, recipe: Recipe, *, full_rank: bool) -> _Made:
    """The matrix of a formula, by formulaic."""
    from formulaic import model_matrix
    from formulaic.errors import FormulaicError

    shown = ", ".join(f"`{t.text}`" for t in written.chosen)
    try:
        with np.errstate(all="ignore"):  # what is infinite or undefined is counted below
            matrix = model_matrix(formula, table, context=CONTEXT, ensure_full_rank=full_rank, na_action="ignore")
    except (FormulaicError, ArithmeticError, TypeError, ValueError) as problem:
        kind = type(problem.__cause__ or problem).__name__
        raise ValueError(
            f"The covariates {shown} cannot be computed ({kind}): check the arguments of the functions, and that "
            "curves have fewer pieces than the column has values."
        ) from None
    numbers = np.asarray(matrix, float)
    wrong = (~np.isfinite(numbers)).sum(axis=0)
    factors_of = written.columns(matrix)
    for factors, count in zip(factors_of, wrong, strict=True):
        if count:
            raise ValueError(
                f"The covariate `{written.term_of(factors)}` is infinite or undefined for {count} of {len(table)} "
                "units: take logarithms and roots of positive numbers only."
            )
    own = slice(int(full_rank), None)
    names = tuple(written.readable(c, recipe) for c in matrix.columns)
    return _Made(np.asfortranarray(numbers[:, own]), factors_of[own], names[own], matrix.model_spec)


# ---- rank -------------------------------------------------------------------------------------


def _independent(design: np.ndarray, owners: Sequence[str], notes: list[str]) -> list[int]:
    """Columns that are neither constant nor follow from earlier ones, as R keeps them."""
    size = np.maximum(-design.min(axis=0, initial=0.0), design.max(axis=0, initial=0.0))
    size = np.where(size > 0, size, 1.0)
    even = np.full(len(design), 1 / max(len(design), 1))
    centre, gram = centred(design, even, size)
    spread = np.sqrt(np.maximum(np.diag(gram), 0.0))
    constant = [j for j in range(len(owners)) if spread[j] <= 1e-13]
    left = [j for j in range(len(owners)) if j not in constant]
    redundant: list[int] = []
    if left and root_of(gram[np.ix_(left, left)] / spread[left] / spread[left][:, None]) is None:
        scaled = (design / size - centre) / np.where(spread > 0, spread, 1.0)
        shape = np.asarray(np.linalg.qr(scaled / np.sqrt(len(design)), mode="r"))
        while len(left) <= len(shape):  # more columns than rows: the door says so
            diagonal = np.abs(np.diag(np.linalg.qr(shape[:, left], mode="r")))
            short = np.flatnonzero(diagonal < 1e-7)
            if not len(short):
                break
            redundant.append(left.pop(int(short[0])))
    if constant:
        notes.append(f"Left out of the adjustment, the same for every unit: {_counted(constant, owners)}.")
    if redundant:
        notes.append(f"Left out of the adjustment, determined by other covariates: {_counted(redundant, owners)}.")
    return left


def _note_separation(design: np.ndarray, treated: np.ndarray, owners: Sequence[str], notes: list[str]) -> None:
    """Say which columns alone tell the arms apart: nobody can be compared on them."""
    if not 0 < treated.sum() < len(treated):
        return
    # Columns whose values overlap among a few units overlap among all.
    few = np.concatenate([np.flatnonzero(arm)[:50] for arm in (treated, ~treated)])
    apart = _apart(design[few], treated[few])
    apart = apart[_apart(design[:, apart], treated)] if len(apart) else apart
    if len(apart):
        notes.append(
            f"Without error the treated and the comparison units are told apart by {_counted(apart.tolist(), owners)}: "
            "what adjusts for it goes beyond the data, so leave it out, or choose a comparison group that overlaps."
        )


def _apart(columns: np.ndarray, treated: np.ndarray) -> np.ndarray:
    """Positions of the columns that are all smaller, or all larger, in one arm than in the other."""
    a, b = columns[treated], columns[~treated]
    return np.flatnonzero((a.min(axis=0) > b.max(axis=0)) | (a.max(axis=0) < b.min(axis=0)))


def _counted(columns: Sequence[int], owners: Sequence[str]) -> str:
    """Columns by the term that made them: names of levels are values of rows, and stay out of messages."""
    total = {t: owners.count(t) for t in dict.fromkeys(owners[j] for j in columns)}
    gone = {t: sum(owners[j] == t for j in columns) for t in total}
    return ", ".join(f"`{t}`" if gone[t] == n else f"{gone[t]} of the {n} columns of `{t}`" for t, n in total.items())
