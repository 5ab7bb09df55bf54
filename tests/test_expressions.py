"""Rules and terms are read as a small language: what it can say is right, and nothing else is ever run."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from impact import ImpactWarning, Outcome, Sample, Study, emulate, rules

N = 60
RNG = np.random.default_rng(1)


def table(**columns) -> pd.DataFrame:
    rows = {"id": np.arange(N), "arm": np.arange(N) % 2, "y": RNG.normal(size=N), "age": np.linspace(20, 64, N),
            "town": np.array(["Oulu", "Vaasa", "Kemi"])[np.arange(N) % 3]}  # fmt: skip
    return pd.DataFrame({**rows, **columns})


def ask(data: pd.DataFrame, rule: str | None = None, covariates: tuple[str, ...] = ()) -> Sample:
    eligibility = {} if rule is None else {"the rule": rule}
    study = Study(title="t", unit="id", treatment="arm", outcomes=Outcome("y"), eligibility=eligibility,
                  covariates=covariates)  # fmt: skip
    return emulate(study, data)


# ---- nothing is run ---------------------------------------------------------------------------

CODE = [
    "__import__('os').system('touch canary')",
    'exec(\'open("canary", "w")\')',
    'eval(\'open("canary", "w")\')',
    "open('canary', 'w')",
    "age.to_csv('canary')",
    "age.__class__.__mro__[1].__subclasses__()",
    "(lambda: open('canary', 'w'))()",
    "[open('canary', 'w') for _ in [1]]",
    "{open('canary', 'w') for _ in [1]}",
    "(open('canary', 'w') for _ in [1])",
    "(x := open('canary', 'w'))",
    "f\"{open('canary', 'w')}\"",
    "f'{age.to_csv(\"canary\")}'",
    "open('canary', 'w') if age else age",
    "age[open('canary', 'w')]",
    "@open",
    "@np.save('canary', age)",
    "@pd.DataFrame.to_csv",
    "age @ age",
    "np.save('canary', age)",
    "print(age)",
    "os",
    "self",
    "__builtins__",
    "index",
    "C.__init__",
    "`__import__('os').system('touch canary')`",
    "town == '`' + __import__('os').system('touch canary') + '`'",
    "'`' and open('canary', 'w') and '`'",
    'town == "`" + age.to_csv(\'canary\') + "`"',
    "await age",
    "yield age",
    "*age",
    "**age",
    "age; open('canary', 'w')",
    "age\nimport os",
    "import os",
    "del age",
    "age = 3",
    "age is None",
    "b'x'",
    "3j",
    "...",
    "",
    "   ",
    "\x00",
    "age\x00",
    "`age",
    "``",
    "'age",
    "age~town",
    "age|town",
    "{age}",
    "{open('canary', 'w')}",
    "Q('age')",
    "hashed(age, levels=9)",
    "lag(age)",
    "I(open('canary', 'w'))",
    "I(age.to_csv('canary'))",
    "I(__import__('os').system('touch canary'))",
    "C(age, contr.treatment(open('canary', 'w')))",
    "C(age, levels=[open('canary', 'w')])",
    "bs(age, df=open('canary', 'w'))",
    "bs(age, _state={})",
    "bs(*age)",
    "bs(**{'x': age})",
    "bs(age, 4, extrapolation=`age`)",
    "poly(age, degree=(lambda: 2)())",
    "log(age, open('canary', 'w'))",
    "I(town == 'Oulu')",
    "1",
    "0",
    "-1",
    "age - 1",
    "age + town",
    "age / town",
    "a" * 30_000,
]
BOMBS = [
    "age > 9**9**9",
    "age > 9**9**9**9",
    "age > 1e308 * 1e308 ** 9",
    "age > '9' * 9**9",
    "age in range(10**12)",
    "age in [0] * 10**12",
    "I(age + 9**9**9)",
    "I(9**9**9)",
    "I(age**9**9**9)",
    "I('9' * 10**12)",
    "bs(age, 10**9)",
    "bs(age, df=10**9)",
    "cr(age, df=99999)",
    "poly(age, 10**6)",
    "poly(age, degree=99999)",
    "bs(age, knots=[1" + ", 1" * 9999 + "])",
    "C(age) * C(id) * C(y) * C(town) * age",
    "C(id):C(y):C(town):C(arm):C(age)",
    ":".join(["age"] * 999),
    "*".join(["age"] * 30),
    "-" * 15_000 + "age",
    "not " * 4_000 + "age",
    "(" * 9_000 + "age" + ")" * 9_000,
    "[" * 9_000,
    "age" + " + age" * 2_500,
    "age" + " ** age" * 2_000,
    "log(" * 60 + "age" + ")" * 60,
    "9" * 19_000,
    "age > " + "9" * 4_000,
    "age > " + "9" * 400,
]


@pytest.mark.parametrize("place", ["rule", "term", "file"])
@pytest.mark.parametrize("code", [*CODE, *BOMBS], ids=lambda code: code[:40].replace("\x00", "NUL"))
def test_code_is_refused_in_a_sentence_and_nothing_is_run(code, place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data, begun = table(), time.perf_counter()
    with pytest.raises((ValueError, KeyError)) as refused, np.errstate(all="raise"):
        if place == "rule":
            ask(data, rule=code)
        elif place == "term":
            ask(data, covariates=(code,))
        else:
            study = Study(title="t", unit="id", treatment="arm", outcomes=Outcome("y"), covariates=(code,))
            emulate(Study.from_toml(study.to_toml()), data)
    assert time.perf_counter() - begun < 2.0
    assert not list(Path(".").iterdir()), "something was written"
    assert type(refused.value) in (ValueError, KeyError) and "The " in str(refused.value)


@settings(max_examples=300)
@given(st.text(alphabet="age town0123.+-*/%<>=!&|~^@:;,()[]{}'\"`\\_\n#fbrC", max_size=40))
def test_any_text_is_read_or_refused(text):
    data = table()
    for asked in ({"rule": text}, {"covariates": (text,)}):
        try:
            ask(data, **asked)
        except (ValueError, KeyError) as refused:
            assert type(refused) in (ValueError, KeyError)


# ---- rules say what they seem to ----------------------------------------------------------------

TABLE = pd.DataFrame(
    {"age": [20.0, 30.0, 40.0, np.nan], "support": [100, 400, 500, 600], "town": ["Oulu", "Vaasa", None, "Kemi"],
     "start": pd.to_datetime(["2020-01-01", "2020-02-29", None, "2021-01-01"]), "ill": [True, False, True, False],
     "day": ["2020-01-01", "2020-02-29", None, "2021-01-01"], "class": [1, 2, 3, 4], "in": [1, 1, 0, 0],
     "two words": [1, 2, 3, 4], "log": [0, 1, 0, 1], "Ikä ½": [5, 6, 7, 8], "level": pd.Categorical(
         ["low", "high", "low", None], categories=["low", "high"], ordered=True)}
)  # fmt: skip
YES, NO, UNKNOWN = 1, 0, -1
RULES = {
    "age >= 30": [NO, YES, YES, UNKNOWN],
    "30 <= age < 40": [NO, YES, NO, UNKNOWN],
    "not age >= 30": [YES, NO, NO, UNKNOWN],
    "~(age >= 30)": [YES, NO, NO, UNKNOWN],
    "age != 30": [YES, NO, YES, UNKNOWN],
    "age == age": [YES, YES, YES, UNKNOWN],
    "age >= 30 or support > 500": [NO, YES, YES, YES],
    "age >= 30 and support > 500": [NO, NO, NO, UNKNOWN],
    "(age >= 30) & (support > 300)": [NO, YES, YES, UNKNOWN],
    "(age < 30) | (support > 550)": [YES, NO, NO, YES],
    "town == 'Oulu'": [YES, NO, UNKNOWN, NO],
    "town != 'Oulu'": [NO, YES, UNKNOWN, YES],
    "town in ['Oulu', 'Kemi']": [YES, NO, UNKNOWN, YES],
    "town not in ('Oulu', 'Kemi')": [NO, YES, UNKNOWN, NO],
    "support in [100, 600]": [YES, NO, NO, YES],
    "start >= '2020-02-01'": [NO, YES, UNKNOWN, YES],
    "day >= '2020-02-01'": [NO, YES, UNKNOWN, YES],
    "day == '2020-02-29'": [NO, YES, UNKNOWN, NO],
    "start == day": [YES, YES, UNKNOWN, YES],
    "ill": [YES, NO, YES, NO],
    "not ill and age > 0": [NO, YES, NO, UNKNOWN],
    "ill == True": [YES, NO, YES, NO],
    "`two words` > 2": [NO, NO, YES, YES],
    "`class` > 2 and `in` == 0": [NO, NO, YES, YES],
    "log == 1": [NO, YES, NO, YES],
    "`Ikä ½` + 1 >= support / 100 + 2": [YES, YES, YES, YES],
    "support / log > 0": [UNKNOWN, YES, UNKNOWN, YES],
    "age ** 2 % 7 > -1": [YES, YES, YES, UNKNOWN],
    "level >= 'high'": [NO, YES, NO, UNKNOWN],
    "'low' == level": [YES, NO, YES, UNKNOWN],
}


@pytest.mark.parametrize("text", RULES)
def test_a_rule_holds_does_not_hold_or_is_unknown(text):
    answer = rules.holds(rules.rule(text, TABLE.columns), TABLE)
    said = np.where(answer.yes, YES, np.where(answer.no, NO, UNKNOWN))
    assert said.tolist() == RULES[text]
    assert not (answer.yes & answer.no).any()


@settings(max_examples=60)
@given(st.lists(st.sampled_from(["age >= 30", "town == 'Oulu'", "ill", "support < 450"]), min_size=2, max_size=3),
       st.sampled_from(["and", "or"]))  # fmt: skip
def test_negation_swaps_yes_and_no_and_keeps_the_unknown(parts, join):
    text = f" {join} ".join(f"({p})" for p in parts)
    plain = rules.holds(rules.rule(text, TABLE.columns), TABLE)
    negated = rules.holds(rules.rule(f"not ({text})", TABLE.columns), TABLE)
    assert (plain.yes == negated.no).all() and (plain.no == negated.yes).all()


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("town > 'Oulu'", "other text has no order"),
        ("town == 3", "compares text with a number"),
        ("town != 3", "compares text with a number"),
        ("age == 'x'", "compares a number with text"),
        ("start > 2020", "compares a date with a number"),
        ("start > 'spring'", "dates are written as in '2020-01-31'"),
        ("age + town > 3", "calculates with something that is not a number"),
        ("age", "as a yes or no"),
        ("age and support > 3", "as a yes or no"),
        ("age >= 30 & support > 3", "brackets around each comparison"),
        ("age in support", "needs a list"),
        ("3 > 2", "names no column"),
        ("level > 'highest'", "none of them"),
        ("Age >= 30", "columns that the data lack: `Age`"),
        ("age > None", "not a number"),
    ],
)
def test_a_rule_that_cannot_be_worked_out_says_why(rule, words):
    with pytest.raises((ValueError, KeyError)) as refused:
        rules.holds(rules.rule(rule, TABLE.columns), TABLE)
    assert words in str(refused.value)


def test_long_numbers_are_compared_exactly():
    data = pd.DataFrame({"code": [9007199254740993, 9007199254740992]})
    assert rules.holds(rules.rule("code == 9007199254740993", ["code"]), data).yes.tolist() == [True, False]


def test_who_cannot_be_judged_is_not_eligible_and_is_counted():
    age = np.where(np.arange(N) < 10, np.nan, 40.0)
    for rule in ("age < 100", "not age > 100", "age != 7"):
        with pytest.warns(ImpactWarning, match="“the rule” cannot be told for 10 of 60 units"):
            sample = ask(table(age=age), rule)
        assert len(sample) == 50 and sample.flow[-1].total == 50


# ---- any name is a name -----------------------------------------------------------------------------

NAMES = [
    "class", "in", "not", "None", "log", "C", "I", "bs", "np", "x0", "f0", "l1", "index", "two words", "a:b", "a*b",
    "a+b", "1", "a.b", "ikä", "ＷＩＤＥ", "a\u0308ge", "naïve", "名前", "$x^2$", r"\alpha_{1}", "50% & more", "<b>",
    "[18, 25]", "x[T.1]", "{x}", "a'b", 'a"b', "a,b", "(a)", "#", "a\tb", "Intercept", "quoted0", "__class__", "😀",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_column_of_any_name_is_a_covariate_and_can_be_compared(name):
    plain, odd = table(), table().rename(columns={"age": name, "town": f"{name} town"})
    sample, same = ask(odd, covariates=(name, f"{name} town")), ask(plain, covariates=("age", "town"))
    np.testing.assert_array_equal(sample.covariates, same.covariates)
    assert sample.covariate_names[0] == name and sample.covariate_names[1] == f"{name} town: Oulu"
    if "`" not in name:
        assert len(ask(odd, f"`{name}` >= 42")) == len(ask(plain, "age >= 42"))
        for term, meant in ((f"I(`{name}`**2)", "I(age**2)"), (f"C(`{name} town`):`{name}`", "C(town):age")):
            same = ask(plain, covariates=(meant,)).covariates
            np.testing.assert_array_equal(ask(odd, covariates=(term,)).covariates, same)


def test_names_in_another_form_of_unicode_are_found_without_backticks():
    odd = table().rename(columns={"age": "ikä".replace("ä", "a\u0308")})
    assert len(ask(odd, "ikä >= 42")) == len(ask(table(), "age >= 42"))
