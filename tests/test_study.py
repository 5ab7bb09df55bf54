"""A study says one thing, refuses to contradict itself, and survives being written to a file."""

from __future__ import annotations

import datetime
import tomllib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from impact import Event, Outcome, Study

JOB = Outcome("job", "in a job")
EXIT = Event("months", "exit", {1: "job", 2: "education"})
BASE = {"title": "Placement", "unit": "id", "treatment": "arm", "outcomes": (JOB,)}


def study(**changes) -> Study:
    return Study(**{**BASE, **changes})


# ---- files ------------------------------------------------------------------------------------

TEXT = st.text(max_size=12)
NAME = st.text(min_size=1, max_size=12)
CODE = st.one_of(st.integers(-9, 9), TEXT, st.sampled_from(["1", "01", "-1", "1.0", "true"]))
NUMBER = st.one_of(st.integers(-(10**6), 10**6), st.floats(-1e6, 1e6, allow_nan=False))


@st.composite
def outcomes(draw) -> tuple[Outcome | Event, ...]:
    found: list[Outcome | Event] = []
    for k in range(draw(st.integers(1, 3))):
        stem = f"{draw(NAME)}{k}".replace("{}", "")
        kind = draw(st.sampled_from(["once", "wide", "event"]))
        if kind == "once":
            found.append(Outcome(stem, draw(TEXT), draw(TEXT)))
        elif kind == "wide":
            periods = draw(st.lists(NUMBER, min_size=1, max_size=4, unique=True).map(sorted))
            found.append(Outcome(f"{stem}_{{}}", draw(TEXT), periods=periods, per=draw(TEXT)))
        else:
            codes = draw(st.lists(CODE, min_size=2, max_size=4, unique_by=lambda c: (type(c), c)))
            words = draw(st.lists(NAME, min_size=len(codes) - 1, max_size=len(codes) - 1, unique=True))
            unit = draw(st.sampled_from(["days", "weeks", "months", "years"]))
            since = draw(st.none() | st.just("the start"))
            found.append(Event(stem, f"{stem} status", dict(zip(codes[1:], words, strict=True)), draw(TEXT),
                               censored=codes[0], unit=unit, since=since))  # fmt: skip
    names = [o.name for o in found]
    return tuple(o for k, o in enumerate(found) if o.name not in names[:k])


@st.composite
def studies(draw) -> Study:
    arms = draw(st.lists(st.one_of(CODE, st.booleans()), min_size=2, max_size=4, unique_by=(str, lambda c: c)))
    return Study(
        title=draw(TEXT), unit="the unit", treatment="the arm", treated=arms[1:], comparison=arms[0],
        outcomes=draw(outcomes()),
        covariates=draw(st.lists(NAME, max_size=3)), eligibility=draw(st.dictionaries(TEXT, TEXT, max_size=3)),
        labels=draw(st.dictionaries(TEXT, TEXT, max_size=0)), time_zero=draw(TEXT), follow_up=draw(TEXT),
        estimand=draw(st.sampled_from(["ATT", "ATC", "ATE"])), cluster=draw(st.none() | NAME),
        weights=draw(st.none() | NAME), missing=draw(st.sampled_from(["error", "drop"])),
    )  # fmt: skip


@given(studies())
def test_a_study_survives_being_written_and_read(one):
    text = one.to_toml()
    back = Study.from_toml(text)
    assert back == one
    assert [list(o.causes) for o in back.outcomes if isinstance(o, Event)] == [
        list(o.causes) for o in one.outcomes if isinstance(o, Event)
    ], "exits keep their order"
    assert back.to_toml() == text
    for mine, other in zip(one.outcomes, back.outcomes, strict=True):
        if isinstance(mine, Event) and isinstance(other, Event):
            kinds = [[type(c) for c in (event.censored, *event.causes)] for event in (mine, other)]
            assert kinds[0] == kinds[1]


def test_a_staggered_study_survives_too():
    one = Study(title="t", unit="region", adoption="start", never=0, period="quarter", outcomes=Outcome("rate"),
                labels={"rate": "unemployment"})  # fmt: skip
    assert Study.from_toml(one.to_toml()) == one


def test_values_of_numpy_are_written_as_plain_ones():
    pay = Outcome("pay_{}", periods=np.arange(1, 4))
    exits = Event("m", "s", {np.int64(2): "job"}, censored=np.str_("c"))
    one = study(treated=np.int64(1), comparison=np.int64(0), outcomes=(pay, exits))
    assert Study.from_toml(one.to_toml()) == one
    several = study(treated=np.array([1, 2]), comparison=0)
    assert several.treated == (1, 2) and Study.from_toml(several.to_toml()) == several
    assert one.outcomes[0].columns == ("pay_1", "pay_2", "pay_3")


def test_a_file_in_plain_words():
    text = study(covariates=("age", "C(school)"), eligibility={"adults": "age >= 18"}, outcomes=(JOB, EXIT)).to_toml()
    content = tomllib.loads(text)
    assert content["covariates"] == ["age", "C(school)"] and content["eligibility"] == {"adults": "age >= 18"}
    assert content["outcomes"][1]["causes"] == {"1": "job", "2": "education"}
    assert "missing" not in content, "what is as usual is not written"


def test_dates_and_codes_of_text_are_kept():
    exits = Event("m", "s", {"1": "job", "01": "school"})
    one = study(treated=datetime.date(2020, 1, 1), comparison="0", outcomes=exits)
    back = Study.from_toml(one.to_toml())
    assert back.treated == datetime.date(2020, 1, 1) and list(back.outcomes[0].causes) == ["1", "01"]


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("title = ", ValueError, "is not valid TOML"),
        ("title = 't'\nunit = 'id'", KeyError, "lacks `outcomes`"),
        ("title = 't'\nunit = 'id'\noutcomes = 'job'", TypeError, "[[outcomes]]"),
        ("title = 't'\nunit = 'id'\noutcomes = [1]", TypeError, "[[outcomes]]"),
        ("title = 't'\nunit = 'id'\ntreatmant = 'arm'\n[[outcomes]]\ncolumn = 'y'", KeyError, "`treatmant`"),
        ("title = 't'\nunit = 3\ntreatment = 'arm'\n[[outcomes]]\ncolumn = 'y'", TypeError, "int as `unit`"),
        ("title = 't'\nunit = 'id'\ntreatment = 'a'\neligibility = 'x > 3'\n[[outcomes]]\ncolumn = 'y'", TypeError,
         "str as `eligibility`"),
        ("title = 't'\nunit = 'id'\ntreatment = 'a'\ncovariates = [1]\n[[outcomes]]\ncolumn = 'y'", TypeError,
         "Expected str, found `int`"),
        ("title = 't'\nunit = 'id'\ntreatment = 'a'\n[[outcomes]]\ncolum = 'y'", KeyError, "`colum`"),
        ("title = 't'\nunit = 'id'\ntreatment = 'a'\n[[outcomes]]\nlabel = 'y'", KeyError, "lacks `column`"),
        ("title = 't'\nunit = 'id'\ntreatment = 'a'\n[[outcomes]]\nduration = 'm'\nstatus = 's'\ncauses = 'job'",
         TypeError, "that are no table"),
        ("title = 't'\nunit = 'id'\ntreatment = 'a'\n[[outcomes]]\nduration = 'm'\ncauses = {1 = 'job'}", KeyError,
         "lacks `status`"),
        ("title = 't'\nunit = 'id'\ntreatment = 'a'\n[[outcomes]]\ncolumn = 'y_{}'\nperiods = 'all'", ValueError,
         "needs its periods as numbers"),
    ],
)  # fmt: skip
def test_a_file_that_holds_no_study_says_why(text, error, words):
    with pytest.raises(error) as refused:
        Study.from_toml(text)
    assert words in str(refused.value)


# ---- contradictions ------------------------------------------------------------------------------

CONTRADICTIONS = {
    "neither treatment nor adoption": (lambda: study(treatment=None), "either `treatment`"),
    "both treatment and adoption": (lambda: study(adoption="start"), "either `treatment`"),
    "no outcome": (lambda: study(outcomes=()), "at least one outcome"),
    "an outcome twice": (lambda: study(outcomes=(JOB, Outcome("job"))), "more than once"),
    "a pattern like a column": (lambda: study(outcomes=(JOB, Outcome("job_{}", periods=[1]))), "more than once"),
    "one value for both arms": (lambda: study(treated=1, comparison=1), "one value or label"),
    "one label for both arms": (lambda: study(labels={"1": "a", "0": "a"}), "one value or label"),
    "one value for two treated arms": (lambda: study(treated=(1, 1)), "one value or label"),
    "a treated value that is the comparison's": (lambda: study(treated=(1, 0)), "one value or label"),
    "one label for two treated arms": (lambda: study(treated=(1, 2), labels={"1": "a", "2": "a"}), "value or label"),
    "nobody treated": (lambda: study(treated=()), "an empty list as `treated`"),
    "one of the arms missing": (lambda: study(treated=(1, None)), "A missing value is not an arm"),
    "an arm that is missing": (lambda: study(comparison=None), "A missing value is not an arm"),
    "the outcome as treatment": (lambda: study(treatment="job"), "comes after treatment"),
    "the status as treatment": (lambda: study(treatment="exit", outcomes=EXIT), "comes after treatment"),
    "an unknown estimand": (lambda: study(estimand="LATE"), "`estimand` is one of"),
    "an unknown way with missing": (lambda: study(missing="impute"), "'error', 'drop' or 'keep'"),
    "adoption without periods": (lambda: study(treatment=None, adoption="start"), "needs outcomes over time"),
    "a long table with a column a period": (
        lambda: study(period="month", outcomes=Outcome("pay_{}", periods=[1, 2])), "give one of them"),
    "a pattern without a place": (lambda: Outcome("pay", periods=[1, 2]), "no place for them"),
    "no periods": (lambda: Outcome("pay_{}", periods=[]), "an empty list of periods"),
    "a period twice": (lambda: Outcome("pay_{}", periods=[1, 1]), "each once and in order"),
    "periods out of order": (lambda: Outcome("pay_{}", periods=[2, 1]), "each once and in order"),
    "no causes": (lambda: Event("m", "s", {}), "names no causes"),
    "a cause that is censoring": (lambda: Event("m", "s", {0: "job"}), "both for censoring and for"),
    "two causes of one name": (lambda: Event("m", "s", {1: "job", 2: "job"}), "the same name"),
    "an unknown unit of time": (lambda: Event("m", "s", {1: "job"}, unit="hours"), "use days, weeks, months or years"),
}  # fmt: skip


@pytest.mark.parametrize("what", CONTRADICTIONS)
def test_contradictions_are_refused(what):
    make, words = CONTRADICTIONS[what]
    with pytest.raises(ValueError) as refused:
        make()
    assert words in str(refused.value)


def test_revise_changes_what_it_is_told_and_checks_again():
    one = study()
    assert one.revise(estimand="ATE").estimand == "ATE" and one.estimand == "ATT"
    with pytest.raises(KeyError, match="has no `estimnd`"):
        one.revise(estimnd="ATE")
    with pytest.raises(ValueError, match="one value or label"):
        one.revise(comparison=1)
    with pytest.raises(KeyError, match="no outcome 'pay'"):
        one.find("pay")


def test_the_columns_of_long_periods_keep_every_digit():
    assert Outcome("pay_{}", periods=[20200131, 20200229.5]).columns == ("pay_20200131", "pay_20200229.5")


# ---- protocol -----------------------------------------------------------------------------------------


def test_the_protocol_is_the_target_trial_in_words():
    one = study(
        treated="private", comparison="public",
        labels={"arm": "provider", "school": "education", "age": "age in years"},
        covariates=("age", "C(school)"), eligibility={"aged 30 or over": "age >= 30"}, time_zero="enrolment",
        follow_up="18 months", outcomes=(Outcome("pay_{}", "pay", "euro", periods=range(1, 19), per="month"), EXIT),
        cluster="office", weights="w", missing="drop",
    )  # fmt: skip
    assert one.protocol() == {
        "Eligibility": "aged 30 or over",
        "Treatment strategies": "private versus public (provider)",
        "Assignment": "observed, not randomised: made comparable on the covariates listed under adjustment",
        "Time zero": "enrolment",
        "Follow-up": "18 months",
        "Outcomes": "pay (euro), month 1 to 18; months (months), ending in job, education",
        "Causal contrast": "average effect on the treated (ATT)",
        "Adjustment": "age in years, education",
        "Clusters": "units of the same office are taken as dependent",
        "Sampling weights": "w",
        "Missing values": "exclude the unit, counted in the flow",
    }


def test_several_treated_arms():
    one = study(treated=["A", "B"], comparison="public", labels={"A": "Alpha"}, estimand="ATE")
    assert one.treated == one.treatments == ("A", "B") and one.arms == ("Alpha", "B", "public")
    assert tomllib.loads(one.to_toml())["treated"] == ["A", "B"]
    words = one.protocol()
    assert words["Treatment strategies"] == "Alpha versus B versus public (arm)"
    assert words["Causal contrast"] == "average effects on everybody eligible (ATE)"
    assert one.revise(estimand="ATT").protocol()["Causal contrast"] == "average effects on those with Alpha (ATT)"
    assert study(treated=["A"]).treated == "A" and study(treated=["A"]) == study(treated="A")
    with pytest.raises(TypeError, match="set as `treated`.* in the order"):
        study(treated={"A", "B"})


def test_what_is_not_said_is_said_to_be_unsaid():
    words = study().protocol()
    assert words["Time zero"] == words["Follow-up"] == "not stated" and words["Adjustment"] == "none"
    assert words["Eligibility"] == "all units in the data" and words["Missing values"] == "stop the study"
