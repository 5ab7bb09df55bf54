"""Tables in five forms: decimals from the error, aligned points, escaped words."""

from __future__ import annotations

import csv
import io
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from impact.show import digits, glossary, tables

HOSTILE = ["<script>alert(1)</script>", r"\input{/etc/passwd}", '=HYPERLINK("x")', "100 % & $x_1$ | äö"]


def estimates(**columns):
    frame = pd.DataFrame(
        {
            "outcome": ["in a job", "in a job", "earnings"],
            "group": ["private", "public", "private"],
            "time": [1.0, 12.0, np.nan],
            "estimate": [0.021, 0.0012, -8497.5],
            "std_error": [0.0153, 0.012, 632.1],
            "statistic": [1.4, 0.1, -13.4],
            "p_value": [0.16, 0.92, 1e-9],
            "conf_low": [-0.009, -0.02, -9736.0],
            "conf_high": [0.051, 0.0231, -7259.0],
        }
    )
    return frame.assign(**columns)


class Reader(HTMLParser):
    """What a browser would make of a fragment: tags opened, and text shown."""

    def __init__(self, fragment):
        super().__init__()
        self.tags, self.words = [], []
        self.feed(fragment)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.words.append(data)


def test_shares_and_euros_share_a_table():
    assert tables.text(estimates(), caption="Effects", notes=["Matched."]).splitlines() == [
        "Effects",
        "Outcome   Group    Time    Estimate          95% interval  Std. error  Statistic        p",
        "-----------------------------------------------------------------------------------------",
        "in a job  private     1       0.021       −0.009 to 0.051       0.015       1.40    0.160",
        "in a job  public     12       0.001       −0.020 to 0.023       0.012       0.10    0.920",
        "earnings  private        −8,498      −9,736 to −7,259         632         −13.40  < 0.001",
        "Matched.",
    ]


def test_percent_shows_points_of_differences_and_per_cent_of_levels():
    gap = estimates().head(2).drop(columns="group")
    said = tables.text(gap, percent=True)
    assert "Estimate (pp)" in said and "95% interval (pp)" in said and "2.1" in said and "−0.9 to 5.1" in said
    assert said.endswith("pp: percentage points.")
    levels = tables.text(estimates().head(2), percent=True)
    assert "Estimate (%)" in levels and "Std. error (pp)" in levels
    assert "Estimate (per mille)" in tables.text(gap, percent="per mille")


def test_the_level_and_other_headings_are_said():
    said = tables.markdown(estimates(), level=0.9, headings={"estimate": "Effect"})
    assert "| 90% interval |" in said and "| Effect |" in said


def test_what_is_the_same_in_every_row_stands_below_once():
    frame = estimates().head(2).assign(outcome="in a job")
    said = tables.text(frame)
    assert "Outcome: in a job." in said.splitlines() and said.count("in a job") == 1
    assert "in a job" in tables.csv(frame).splitlines()[1]
    # A table of one row, or with no other name, keeps its labels.
    assert "Outcome" in tables.text(frame.head(1)).splitlines()[0]
    lone = pd.DataFrame({"outcome": ["a", "a"], "estimate": [1.0, 2.0]})
    assert tables.text(lone).splitlines()[0].startswith("Outcome")


def test_points_stand_in_line_in_every_form():
    lines = tables.text(estimates()).splitlines()[2:5]
    starts = [line.index(word) for line, word in zip(lines, ("0.021", "0.001", "−8,498"), strict=True)]
    assert starts[0] == starts[1] and starts[0] + 1 == starts[2] + len("−8,498")
    assert r"\ensuremath{-}8,498\phantom{.000}" in tables.latex(estimates())
    assert "−8,498\u2008\u2007\u2007\u2007<" in tables.html(estimates())


@pytest.mark.parametrize("write", [tables.text, tables.html, tables.latex, tables.markdown, tables.csv])
def test_every_form_takes_the_same_words_and_leaves_the_frame_alone(write):
    frame = estimates()
    before = frame.copy()
    words = {"caption": "c", "notes": ("n",), "percent": True, "level": 0.9, "headings": {"time": "Month"}}
    assert write(frame, **words)
    pd.testing.assert_frame_equal(frame, before)
    assert write(frame.head(0)) and write(pd.DataFrame({"term": ["a"]}))


def test_html_is_a_table_with_scopes_and_no_tag_from_data():
    frame = pd.DataFrame({"term": HOSTILE, HOSTILE[0]: HOSTILE, "estimate": [1.0] * 4})
    read = Reader(tables.html(frame, caption=HOSTILE[0], notes=HOSTILE, headings={"estimate": HOSTILE[0]}))
    assert {tag for tag, _ in read.tags} == {"div", "table", "caption", "thead", "tbody", "tr", "th", "td", "p"}
    scopes = [attrs.get("scope") for tag, attrs in read.tags if tag == "th"]
    assert scopes == ["col"] * 3 + ["row"] * 4
    assert all(text in "".join(read.words) for text in HOSTILE)
    assert [attrs["aria-label"] for _, attrs in read.tags if "aria-label" in attrs] == [HOSTILE[0]]


def test_csv_is_data_in_full_precision_and_no_formula():
    frame = pd.DataFrame({"term": HOSTILE, "=cmd": ["-1", "@x", "\tx", "ok"], "estimate": [0.1 + 0.2, -1.0, np.nan, 2]})
    rows = list(csv.reader(io.StringIO(tables.csv(frame, caption="no", percent=True))))
    assert rows[0] == ["term", "'=cmd", "estimate"]
    assert [row[2] for row in rows[1:]] == ["0.30000000000000004", "-1.0", "", "2.0"]
    assert [row[0] for row in rows[1:]] == [HOSTILE[0], HOSTILE[1], "'" + HOSTILE[2], HOSTILE[3]]
    assert [row[1] for row in rows[1:]] == ["'-1", "'@x", "'\tx", "ok"]


def test_markdown_keeps_its_columns():
    lines = tables.markdown(pd.DataFrame({"term": HOSTILE, "estimate": [1.0] * 4}), caption="a|b").splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in table} == {3}
    assert lines[0] == r"**a\|b**" and "<script" not in "".join(lines)


def test_latex_is_booktabs_and_long_tables_break_over_pages():
    short = tables.latex(estimates(), caption="Effects at 12 months")
    assert r"\toprule" in short and r"\begin{tabular}" in short
    assert r"\caption{Effects at 12 months}\label{tab:effects-at-12-months}" in short
    assert r"\label{tab:mine}" in tables.latex(estimates(), caption="x", label="tab:mine")
    long = tables.latex(pd.concat([estimates()] * 20, ignore_index=True), caption="Long")
    assert r"\begin{longtable}" in long and r"\endhead" in long and r"\begin{table}" not in long
    # An optional argument of a line break would swallow a cell that begins with a bracket.
    said = tables.latex(pd.DataFrame({"term": ["[a]", "*"], "estimate": [1.0, 2.0]}))
    assert not re.search(r"\\(tabularnewline|midrule|\\\\)\s*[\[*]", said)


def test_a_terminal_is_sent_no_control_characters_and_no_wall():
    frame = pd.DataFrame({"term": ["\x1b[2Jred\u202e", "x" * 500], "estimate": [1.0, 2.0]})
    said = tables.text(frame)
    assert "\x1b" not in said and "\u202e" not in said and max(map(len, said.splitlines())) < 90
    many = tables.text(pd.DataFrame({"term": range(500), "estimate": 1.0}))
    assert "440 rows more" in many and len(many.splitlines()) < 70


def test_labels_of_every_kind_become_words():
    frame = pd.DataFrame(
        {
            "term": [1.5, None, pd.Timestamp("2024-03-01")],
            "adoption_group": [2004.0, np.inf, 2006.0],
            "flag": [True, False, True],
            "count": pd.array([1, None, 12345], dtype="Int64"),
            "estimate": [1.0, 2.0, 3.0],
        }
    )
    lines = tables.text(frame).splitlines()
    assert lines[0].split()[:2] == ["Term", "Adopted"]
    assert lines[2].split()[:4] == ["1.5", "2004", "yes", "1"]
    assert lines[3].split()[:3] == ["never", "no", digits.MISSING]
    assert lines[4].split()[:4] == ["2024-03-01", "2006", "yes", "12,345"]


def test_terms_on_scales_far_apart_do_not_share_decimals():
    frame = pd.DataFrame({"term": ["share", "euros"], "estimate": [0.123, 45678.9], "std_error": [0.01, 900.0]})
    said = tables.text(frame)
    assert "0.123" in said and "45,679" in said and "45,678.9" not in said


def test_every_word_of_the_glossary_is_a_sentence():
    for name, entry in glossary.GLOSSARY.items():
        assert entry.heading and entry.meaning.endswith(".") and entry.meaning[0].isupper(), name
    assert glossary.unknown(["estimate", "nonsense"]) == ["nonsense"]
    assert set(glossary.LABELS) | set(glossary.IN_OUTCOME_UNIT) <= set(glossary.GLOSSARY)
    assert glossary.heading("my column") == "my column" and glossary.meaning("my column") == ""
