"""Every check keeps the same promises: claim, verdict and table agree, and what cannot be decided says so."""

from __future__ import annotations

import re
from importlib import resources

import matplotlib.pyplot as plt
import pytest

from impact.check import VERDICTS
from impact.show import glossary
from tests.contracts import promises, walk

CHECKS = walk.functions("Check")
pytestmark = pytest.mark.filterwarnings("ignore::impact.ImpactWarning")


def answer(f):
    """The check on what it takes: a sample, or the path of an event study."""
    if walk.subject(f) == "Estimate":
        from impact.did import callaway_santanna

        return f(callaway_santanna.event_study(walk.samples()["regions"], base="universal"))
    return f(promises.frozen(next(iter(walk.samples_for(f).values()))))


each = pytest.mark.parametrize("f", CHECKS, ids=walk.name)


@each
def test_claim_verdict_and_table_agree(f):
    check = answer(f)
    assert check.claim and check.verdict == VERDICTS[check.passed]
    assert check.verdict in repr(check) and check.claim in repr(check)
    assert len(check.tidy()) and not glossary.unknown(check.tidy().columns)
    assert check.reason, "a verdict has a reason in words"


@each
def test_it_prints_plots_and_sets_in_type(f):
    check = answer(f)
    assert "<table" in check.to_html() and r"\toprule" in check.to_latex() and "|" in check.to_markdown()
    assert check.plot().get_figure() is not None
    plt.close("all")


@each
def test_it_says_what_it_assumes_and_whom_it_follows(f):
    text = f.__doc__ or ""
    known = set(re.findall(r"@\w+\{(\w+),", resources.files("impact").joinpath("references.bib").read_text("utf-8")))
    keys = re.search(r"\*\*References\*\*:?\s*([\w ;,.\n]+)", text)
    assert "**Assumptions**" in text and keys
    cited = set(re.findall(r"\b[a-z]+\d{4}[a-z]?\b", keys.group(1)))
    assert cited and cited <= known and set(answer(f).references) <= known
