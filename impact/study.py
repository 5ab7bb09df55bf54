"""The question: a target trial, declared before any data is seen."""

from __future__ import annotations

import string
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from impact import toml

ESTIMANDS = {
    "ATT": "average effect on the treated (ATT)",
    "ATC": "average effect on the comparison group, had it been treated (ATC)",
    "ATE": "average effect on everybody eligible (ATE)",
    "ATO": "average effect on the overlap population, those likeliest to have been in either arm (ATO)",
    "ATM": "average effect on those whom matching one to one would keep (ATM)",
}

MISSING = {
    "error": "stop the study",
    "drop": "exclude the unit, counted in the flow",
    "keep": "units stay in the periods in which they are seen; other missing values stop the study",
}


@dataclass(frozen=True)
class Outcome:
    """A quantity measured on each unit: once, or in each of several periods.

    Parameters
    ----------
    column : str
        The column that holds it. For an outcome seen over time in one column a period,
        a pattern with ``{}`` in the place of the period, as in ``"employed_{}"``.
    label : str
        What it is called in tables and figures; the name, if empty.
    unit : str
        The unit of measurement in words, such as ``"euro"``.
    periods : iterable of numbers, optional
        The periods of a pattern, in order, as in ``range(1, 19)``.
    per : str
        What a period is, in words, for axes: ``"month since enrolment"``.
    """

    column: str
    label: str = ""
    unit: str = ""
    periods: tuple[float, ...] | None = None
    per: str = "period"

    def __post_init__(self) -> None:
        _refuse_types(self, f"The outcome `{self.column}`")
        if self.periods is not None:
            object.__setattr__(self, "periods", tuple(_plain(p) for p in _items(self.periods)))
            if "{}" not in self.column:
                raise ValueError(
                    f"The outcome `{self.column}` has periods but its name has no place for them: "
                    "write the column as a pattern such as `employed_{}`."
                )
            if not self.periods:
                raise ValueError(f"The outcome `{self.column}` has an empty list of periods: name at least one.")
            if not all(isinstance(p, int | float) for p in self.periods) or list(self.periods) != sorted(
                set(self.periods)
            ):
                raise ValueError(
                    f"The outcome `{self.column}` needs its periods as numbers, each once and in order: write them "
                    "as in [1, 2, 3]."
                )

    @property
    def name(self) -> str:
        """The key of this outcome in a sample: the column, or the pattern without its ``{}``."""
        return self.column if self.periods is None else self.column.replace("{}", "").strip(" _-.")

    @property
    def words(self) -> str:
        return self.label or self.name

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the table that this outcome needs."""
        if self.periods is None:
            return (self.column,)
        return tuple(self.column.replace("{}", _number(p)) for p in self.periods)


@dataclass(frozen=True)
class Event:
    """A time to an event that may compete with others.

    Parameters
    ----------
    duration : str
        Column with the time from time zero to the event, or to the end of observation.
        With ``since``, a date column: the day of the event or of the end of observation.
    status : str
        Column with what ended the duration.
    causes : mapping
        Names the codes of ``status`` in words, in the order to be shown: ``{1: "job"}``.
    label : str
        What the time is called in tables and figures.
    censored : object
        The code of ``status`` for units still without an event. Any code that is neither
        this nor in ``causes`` is refused.
    unit : str
        Unit of the duration: ``"days"``, ``"weeks"``, ``"months"`` or ``"years"``.
    since : str, optional
        Date column with time zero, if ``duration`` is a date. A month is 365.25/12 days.
    entry : str, optional
        Column with the time at which a unit came under observation (delayed entry),
        measured like ``duration``; a unit is at risk after it.
    """

    duration: str
    status: str
    causes: Mapping[Any, str]
    label: str = ""
    censored: Any = 0
    unit: str = "months"
    since: str | None = None
    entry: str | None = None

    def __post_init__(self) -> None:
        _refuse_types(self, f"The event `{self.duration}`")
        object.__setattr__(self, "causes", {_plain(code): word for code, word in self.causes.items()})
        object.__setattr__(self, "censored", _plain(self.censored))
        if not self.causes:
            raise ValueError(f"The event `{self.duration}` names no causes: write at least one, as in {{1: 'job'}}.")
        if self.censored in self.causes:
            raise ValueError(
                f"The event `{self.duration}` uses the code {self.censored!r} both for censoring and for "
                f"{self.causes[self.censored]!r}: give one of them another code."
            )
        if len(set(self.causes.values())) < len(self.causes):
            raise ValueError(f"The event `{self.duration}` gives two causes the same name: name each once.")
        if self.unit not in ("days", "weeks", "months", "years"):
            raise ValueError(f"The event `{self.duration}` has unit {self.unit!r}: use days, weeks, months or years.")

    @property
    def name(self) -> str:
        """The key of this event in a sample: its duration column."""
        return self.duration

    @property
    def words(self) -> str:
        return self.label or self.name

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the table that this event needs."""
        return tuple(c for c in (self.duration, self.status, self.since, self.entry) if c is not None)


@dataclass(frozen=True, kw_only=True)
class Study:
    """The protocol of the trial we would have run.

    It holds names of columns and values, never data: it can be written, read and
    printed before the data arrive, and applied to more than one table.

    Parameters
    ----------
    title : str
    unit : str
        Column that identifies a unit (person, firm, area).
    outcomes : Outcome, Event, or several of them
    treatment, treated, comparison : column and its values
        Who got the programme and who got the comparison. Rows with other values are
        left out and counted. With several programmes, ``treated`` is a list of values, in the
        order in which they are to be shown; such studies are for ``impact.matching.several``.
    adoption : column
        When a unit was first treated (empty: never), for staggered programmes.
        A study names either ``treatment`` or ``adoption``.
    never : number, optional
        A code of ``adoption`` that means never treated, besides an empty cell and infinity. If none
        is given, 0 is taken as never treated where the first period comes after it, and a note says so.
    period : column, optional
        Calendar period of long tables (one row per unit and period).
    covariates : column names or formula terms
        ``"age"``, ``"C(education)"``, ``"bs(income, 4)"``, ``"age:sex"``.
    eligibility : mapping
        Rule in words to rule on columns: ``{"aged 30 or over": "age >= 30"}``.
    time_zero, follow_up : str
        In words.
    estimand : ``"ATT"``, ``"ATC"`` or ``"ATE"``; ``"ATO"`` or ``"ATM"`` if overlap is thin
        The last two are defined by weights, and need :func:`impact.matching.propensity.weight`.
    cluster : column, optional
        Units of one cluster are not independent (households, offices, areas).
    weights : column, optional
        Sampling weights.
    labels : mapping
        Names of columns and of the values of ``treatment`` in words, for tables and figures:
        ``{"foreign_born": "born abroad", "private": "private providers"}``.
    missing : ``"error"``, ``"drop"`` or ``"keep"``
        Whether a missing covariate, outcome or treatment stops the study, or excludes the
        unit and counts it in the flow. ``"keep"`` is for outcomes over time: units that are not
        seen in every period stay, for the estimators of :mod:`impact.did` that know unbalanced
        panels; a repeated cross-section is a table in which each unit is seen once. Anything
        else that is missing then stops the study.

    References
    ----------
    hernan2016 (the target trial).
    """

    title: str
    unit: str
    outcomes: tuple[Outcome | Event, ...]
    treatment: str | None = None
    treated: Any = 1
    comparison: Any = 0
    adoption: str | None = None
    never: float | None = None
    period: str | None = None
    covariates: tuple[str, ...] = ()
    eligibility: Mapping[str, str] = field(default_factory=dict)
    time_zero: str = ""
    follow_up: str = ""
    estimand: str = "ATT"
    cluster: str | None = None
    weights: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    missing: str = "error"

    def __post_init__(self) -> None:
        _refuse_types(self, "The study")
        for name in ("treated", "comparison", "never"):
            _set(self, name, _plain(getattr(self, name)))
        _set(self, "treated", _one_or_several(self.treated))
        _set(self, "outcomes", _tuple(self.outcomes, (Outcome, Event)))
        _set(self, "covariates", tuple(dict.fromkeys(_tuple(self.covariates, str))))
        _set(self, "eligibility", dict(self.eligibility))
        _set(self, "labels", {str(k): str(v) for k, v in self.labels.items()})
        self._refuse_contradictions()

    def _refuse_contradictions(self) -> None:
        if (self.treatment is None) == (self.adoption is None):
            raise ValueError(
                "A study names either `treatment` (who is treated) or `adoption` (when each unit is first "
                "treated), not both and not neither: set one of them."
            )
        if not self.outcomes:
            raise ValueError("A study needs at least one outcome: add an Outcome or an Event.")
        names = [o.name for o in self.outcomes]
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise ValueError(f"The study names {_list(twice)} more than once among its outcomes: name each once.")
        if self.treated == ():
            raise ValueError("The study has an empty list as `treated`: name at least one value of the treatment.")
        values = (*self.treatments, self.comparison)
        alike = any(a == b for k, a in enumerate(values) for b in values[:k])
        if self.treatment is not None and (alike or len(set(self.arms)) < len(values)):
            raise ValueError("The study gives `treated` and `comparison` one value or label: give each arm its own.")
        if any(v is None for v in values):
            raise ValueError("A missing value is not an arm: give `treated` and `comparison` a value of the treatment.")
        for outcome in self.outcomes:
            if {self.treatment, self.adoption} & set(outcome.columns):
                raise ValueError(
                    f"The study uses `{self.treatment or self.adoption}` both as treatment and in the outcome "
                    f"`{outcome.name}`: an outcome comes after treatment; name another column."
                )
            if self.period is not None and isinstance(outcome, Outcome) and outcome.periods is not None:
                raise ValueError(
                    f"The study names `{self.period}` as the period of a long table, and the outcome "
                    f"`{outcome.name}` has a column a period: give one of them."
                )
        if self.estimand not in ESTIMANDS:
            raise ValueError(f"`estimand` is one of {', '.join(ESTIMANDS)}, not {self.estimand!r}.")
        if self.missing not in MISSING:
            raise ValueError(f"`missing` is 'error', 'drop' or 'keep', not {self.missing!r}.")
        over_time = self.period is not None or any(isinstance(o, Outcome) and o.periods for o in self.outcomes)
        if self.missing == "keep" and not over_time:
            raise ValueError(
                "The study has missing='keep', which keeps units that are not seen in every period, and no outcome "
                "over time: give the Outcome its `periods`, or the study the `period` of a long table."
            )
        if (
            self.adoption is not None
            and self.period is None
            and not any(isinstance(o, Outcome) and o.periods for o in self.outcomes)
        ):
            raise ValueError(
                f"A study of staggered adoption (`{self.adoption}`) needs outcomes over time: name the `period` "
                "column of a long table, or give an Outcome its `periods`."
            )

    def say(self, name: Any) -> str:
        """A column, or a value of the treatment, in words; itself, if the study has no words for it."""
        return self.labels.get(str(name), str(name))

    @property
    def treatments(self) -> tuple[Any, ...]:
        """The values of ``treatment`` that are treated: one, or several in the study's order."""
        return self.treated if isinstance(self.treated, tuple) else (self.treated,)

    @property
    def arms(self) -> tuple[str, ...]:
        """The arms in words, treated first: two, or more where ``treated`` has several values."""
        if self.treatment is None:
            return "adopters", "not yet adopters"
        return tuple(self.say(value) for value in (*self.treatments, self.comparison))

    @property
    def whose(self) -> str:
        """Whose effect is asked for, in words. With several treated arms the ATT is on the first of them."""
        if self.treatment is None or len(self.treatments) == 1:
            return ESTIMANDS[self.estimand]
        return {
            "ATT": f"average effects on those with {self.arms[0]} (ATT)",
            "ATC": "average effects on the comparison group, had it been in the other arms (ATC)",
            "ATE": "average effects on everybody eligible (ATE)",
            "ATO": "average effects on the overlap population, those likeliest to have been in any arm (ATO)",
            "ATM": "average effects on those whom matching of all arms would keep (ATM)",
        }[self.estimand]

    def revise(self, **changes: Any) -> Study:
        """The same study with some parts of its protocol changed."""
        known = {f.name for f in fields(self)}
        unknown = sorted(set(changes) - known)
        if unknown:
            raise KeyError(f"A study has no {_list(unknown)}: it has {_list(sorted(known))}.")
        return replace(self, **changes)

    def find(self, name: str) -> Outcome | Event:
        """The outcome or event of that name."""
        for outcome in self.outcomes:
            if outcome.name == name:
                return outcome
        raise KeyError(f"The study has no outcome {name!r}: it has {_list(o.name for o in self.outcomes)}.")

    def protocol(self) -> dict[str, str]:
        """The elements of the target trial in words, in the order a reader expects them."""
        if self.treatment:
            arms = f"{' versus '.join(self.arms)} ({self.say(self.treatment)})"
        else:
            arms = f"first treated at {self.adoption}, against units not yet or never treated"
        elements = {
            "Eligibility": "; ".join(self.eligibility) or "all units in the data",
            "Treatment strategies": arms,
            "Assignment": "observed, not randomised: made comparable on the covariates listed under adjustment"
            if self.covariates
            else "observed, with no adjustment for covariates",
            "Time zero": self.time_zero or "not stated",
            "Follow-up": self.follow_up or "not stated",
            "Outcomes": "; ".join(_outcome_words(o) for o in self.outcomes),
            "Causal contrast": self.whose,
            "Adjustment": ", ".join(self._covariate(c) for c in self.covariates) or "none",
        }
        if self.cluster:
            elements["Clusters"] = f"units of the same {self.say(self.cluster)} are taken as dependent"
        if self.weights:
            elements["Sampling weights"] = self.say(self.weights)
        elements["Missing values"] = MISSING[self.missing]
        return elements

    def _covariate(self, term: str) -> str:
        """A covariate in words: a factor ``C(education)`` by its column."""
        coded = term.startswith("C(") and term.endswith(")") and "," not in term and term.count("(") == 1
        return self.say(term) if term in self.labels or not coded else self.say(term[2:-1].strip("` "))

    def to_toml(self) -> str:
        """The study as TOML text, which :meth:`from_toml` reads back to an equal study."""
        content: dict[str, Any] = {}
        for f in fields(self):
            value = getattr(self, f.name)
            same = value == f.default and type(value) is type(f.default)  # True is 1, and is not written as it
            if f.name == "outcomes" or value is None or same or value == () or value == {}:
                continue
            content[f.name] = list(value) if isinstance(value, tuple) else value
        content["outcomes"] = [_outcome_table(o) for o in self.outcomes]
        return toml.dumps(content)

    @classmethod
    def from_toml(cls, text: str) -> Study:
        """Read a study from TOML text. Codes of ``causes`` that look like whole numbers are read as such."""
        return cls.from_mapping(toml.loads(text))

    @classmethod
    def from_mapping(cls, content: Mapping[str, Any]) -> Study:
        """A study from plain nested values, as a TOML or JSON file holds them."""
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(content) - known)
        if unknown:
            raise KeyError(
                f"The study file has {_list(unknown)}, which no study has: it may have {_list(sorted(known))}."
            )
        for needed in ("title", "unit", "outcomes"):
            if needed not in content:
                raise KeyError(f"The study file lacks `{needed}`: add it.")
        tables = content["outcomes"]
        if not isinstance(tables, list | tuple) or not all(isinstance(t, Mapping) for t in tables):
            raise TypeError("The study file has `outcomes` that are no tables: begin each with a line [[outcomes]].")
        return cls(**{**content, "outcomes": tuple(_outcome_of(t) for t in tables)})

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns named outright: all but those inside covariate terms and eligibility rules."""
        named = [self.unit, self.treatment, self.adoption, self.period, self.cluster, self.weights]
        for outcome in self.outcomes:
            named += outcome.columns
        return tuple(dict.fromkeys(c for c in named if c is not None))


def _outcome_words(outcome: Outcome | Event) -> str:
    if isinstance(outcome, Event):
        return f"{outcome.words} ({outcome.unit}), ending in {', '.join(outcome.causes.values())}"
    words = outcome.words + (f" ({outcome.unit})" if outcome.unit else "")
    if outcome.periods is None:
        return words
    return f"{words}, {outcome.per} {_number(outcome.periods[0])} to {_number(outcome.periods[-1])}"


def _number(period: float) -> str:
    """A period as it stands in the name of a column: every digit, and no decimals of a whole number."""
    return str(int(period)) if float(period).is_integer() else repr(float(period))


def _outcome_table(outcome: Outcome | Event) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for f in fields(outcome):
        value = getattr(outcome, f.name)
        if value is None or value == f.default:
            continue
        if f.name == "causes":
            value = _causes_table(value)
        table[f.name] = list(value) if isinstance(value, tuple) else value
    return table


def _outcome_of(table: Mapping[str, Any]) -> Outcome | Event:
    kind: type = Event if "causes" in table else Outcome
    known = {f.name for f in fields(kind)}
    unknown = sorted(set(table) - known)
    if unknown:
        raise KeyError(f"An outcome in the study file has {_list(unknown)}: it may have {_list(sorted(known))}.")
    lacking = [k for k in (("duration", "status") if kind is Event else ("column",)) if k not in table]
    if lacking:
        raise KeyError(f"An outcome in the study file lacks {_list(lacking)}: add it.")
    values = dict(table)
    if isinstance(values.get("causes"), Mapping):
        values["causes"] = {_code(k): v for k, v in values["causes"].items()}
    elif kind is Event:
        pairs = values["causes"]
        if not isinstance(pairs, list) or not all(isinstance(p, list) and len(p) == 2 for p in pairs):
            raise TypeError(
                f"The event `{values['duration']}` has `causes` that are no table: write causes = {{1 = 'job'}}."
            )
        values["causes"] = dict(pairs)
    return kind(**values)


def _causes_table(causes: Mapping[Any, str]) -> Any:
    """A table of codes to words, or pairs of them where TOML's keys, which are text, would not say the code."""
    keys = {str(code): word for code, word in causes.items()}
    if all(_code(k) == code and type(_code(k)) is type(code) for k, code in zip(keys, causes, strict=False)):
        return keys
    return [[code, word] for code, word in causes.items()]


def _code(key: str) -> Any:
    """TOML keys are text: ``1`` as a key means the number one."""
    sign, digits = (key[:1], key[1:]) if key[:1] == "-" else ("", key)
    plain = bool(digits) and set(digits) <= set(string.digits) and (digits == "0" or digits[0] != "0")
    return int(sign + digits) if plain else key


def _plain(value: Any) -> Any:
    """A numpy number or text as Python's own, which a file can hold."""
    return value.item() if hasattr(value, "item") and getattr(value, "ndim", None) == 0 else value


def _one_or_several(treated: Any) -> Any:
    """A value of the treatment, or several as a tuple in their order."""
    if isinstance(treated, set | frozenset | Mapping):
        raise TypeError(
            f"The study has {type(treated).__name__} as `treated`: give a value, or a list of values in the order in "
            "which they are to be shown."
        )
    several = isinstance(treated, list | tuple) or getattr(treated, "ndim", 0) == 1
    values = tuple(_plain(v) for v in treated) if several else (treated,)
    return values[0] if len(values) == 1 else values


def _items(value: Any) -> Iterable[Any]:
    return value if isinstance(value, Iterable) and not isinstance(value, str) else (value,)


def _refuse_types(noun: Any, what: str) -> None:
    """Refuse text where a table is needed, and the like, which a file may hold."""
    for f in fields(noun):
        value = getattr(noun, f.name)
        text = f.type == "str" or f.type == "str | None" and value is not None
        if text and not isinstance(value, str) or str(f.type).startswith("Mapping") and not isinstance(value, Mapping):
            needed = "text in quotes" if text else "a table of names and values"
            raise TypeError(f"{what} has {type(value).__name__} as `{f.name}`: it needs {needed}.")


def _tuple(value: Any, single: type | tuple[type, ...]) -> tuple[Any, ...]:
    items = (value,) if isinstance(value, single) else tuple(_items(value))
    strange = [type(i).__name__ for i in items if not isinstance(i, single)]
    if strange:
        kinds = single if isinstance(single, tuple) else (single,)
        raise TypeError(f"Expected {' or '.join(k.__name__ for k in kinds)}, found {_list(sorted(set(strange)))}.")
    return items


def _list(names: Iterable[str]) -> str:
    return ", ".join(f"`{n}`" for n in names)


def _set(study: Study, name: str, value: Any) -> None:
    object.__setattr__(study, name, value)
