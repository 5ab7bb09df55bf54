r"""Text from registers stays text: no tag, command or formula comes out of it."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from impact.show import escape

HOSTILE = [
    "<script>alert(1)</script>",
    r"\input{/etc/passwd}",
    '=HYPERLINK("x")',
    "100 % & $x_1$ äö",
    "a^b~c#d{e}f|g`h\"i'j",
    r"\\[2cm] \write18{rm}",
    "[optional]*",
    "-- --- '' ,, ?` !`",
    "^^5cinput",
    "\ufeffzero\u200bwidth\u202eesrever",
    "tab\tnew\nline\x00null\x1b[2J",
    "中文 🙂 Ελληνικά ½ ﬁ ą þ ẽ Ж",
    "x" * 300,
    "",
]
# What the escaper may emit: everything else must be letters, digits and harmless signs.
ALLOWED = re.compile(
    r"\\(textbackslash|textasciicircum|textasciitilde|textless|textgreater|textbar|textasciigrave|char34|allowbreak|"
    r"ensuremath|textquoteleft|textquoteright|textquotedblleft|textquotedblright|quotedblbase|quotesinglbase|ldots|"
    r"textbullet|texteuro|dag|ddag|texttrademark|leq|geq|neq|approx|infty|rightarrow|leftarrow|surd|Sigma|in|"
    r"partial|times|div|pm|lnot|cdot|circ|mu|[a-zA-Z]+(?=\}))"
)


@pytest.mark.parametrize("text", HOSTILE)
def test_latex_commands_are_our_own(text):
    said = escape.latex(text)
    rest = re.sub(r"\\[{}$&#_%-]", "", said)  # escaped signs
    for command in re.findall(r"\\[a-zA-Z]+\d*", rest):
        assert ALLOWED.fullmatch(command) or command[1:] in escape._GREEK.values(), command
    assert "input{" not in rest and "write18{" not in rest
    assert said.count("{") == said.count("}")
    assert "\n" not in said and "\x00" not in said and "\x1b" not in said


@given(st.text(max_size=60))
def test_no_text_leaves_a_bare_special_character(text):
    said = escape.latex(text)
    bare = re.sub(r"\\[{}$&#_%]", "", said)
    bare = re.sub(r"\\[a-zA-Z]+\d*", "", bare).replace("\\-", "")
    assert not set(bare) & set('$&#%\\|"<>`')
    assert "_" not in bare
    # Groups are balanced at every point, so no text closes what it did not open.
    depth = 0
    for sign in re.sub(r"\\[{}]", "", said):
        depth += (sign == "{") - (sign == "}")
        assert depth >= 0
    assert depth == 0


@given(st.text(max_size=60))
def test_csv_cells_are_no_formulas_and_markdown_has_no_tags(text):
    assert escape.csv_cell(text)[:1] not in tuple("=+-@\t\r")
    said = escape.markdown(text)
    assert "<" not in said and ">" not in said and not re.search(r"(?<!\\)(\\\\)*\|", said)


def test_csv_numbers_in_text_are_left_readable():
    assert escape.csv_cell("-1") == "'-1"
    assert escape.csv_cell("private") == "private"
    assert escape.csv_cell("  =1+1") == "'  =1+1"
    assert escape.csv_cell("\uff1d1+1") == "'\uff1d1+1"


def test_slugs_name_files_and_nothing_else():
    assert escape.slug("Työ & koulutus: 12 kk") == "tyo-koulutus-12-kk"
    assert escape.slug("../../etc/passwd") == "etc-passwd"
    assert escape.slug("中文") == "untitled"
    assert len(escape.slug("word " * 50)) <= 48


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_every_letter_that_is_promised_is_set_by_pdflatex(tmp_path):
    letters = sorted(escape._T1) + sorted(escape._SYMBOLS) + sorted(escape._COMMANDS) + HOSTILE
    body = "\n\n".join(escape.latex(f"{i} {letter}") for i, letter in enumerate(letters))
    document = (
        r"\documentclass{article}\usepackage[utf8]{inputenc}\usepackage[T1]{fontenc}\usepackage{textcomp}"
        rf"\begin{{document}}\raggedright {body}\end{{document}}"
    )
    (tmp_path / "letters.tex").write_text(document, encoding="utf-8")
    done = subprocess.run(
        ["pdflatex", "-no-shell-escape", "-halt-on-error", "-interaction=nonstopmode", "letters.tex"],
        cwd=tmp_path, capture_output=True, timeout=120,
    )  # fmt: skip
    log = done.stdout.decode(errors="replace")
    assert done.returncode == 0, log[-2000:]
    assert "Missing character" not in log and "not set up for use" not in log
