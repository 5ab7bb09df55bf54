"""The pages on designs, effects and checks name everything that the package has, show it, and print what it prints."""

from __future__ import annotations

import importlib.util
import inspect
import math
import re
from pathlib import Path

import pytest

from tests.contracts import walk

DOCS = Path(__file__).parents[1] / "docs"
MAKER = DOCS / "make_pictures.py"
# What these find hangs on the version of a solver or a learner, or on draws: words are compared, and not numbers.
LOOSE = ("cardinality.match", "optimal.full", "RandomForest", "quantiles.difference")  # or of several as good
SHARE = 0.02  # how far a printed number may be from the page's: versions of solvers differ, not the story
pytestmark = pytest.mark.filterwarnings("ignore::impact.ImpactWarning")


def script(name):
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


PAGES = script("make_outputs")
PICTURE = re.compile(r"!\[([^\]]+)\]\(([^)]+\.png)\)")


def text(path):
    return path.read_text("utf-8")


# ---- everything has a page, and every page a picture ------------------------------------------


@pytest.mark.parametrize("design", walk.functions("Sample"), ids=walk.name)
def test_a_design_has_a_page_that_names_it_shows_it_and_says_when(design):
    _, module, name = walk.name(design).split(".")
    pages = [p for p in DOCS.glob("designs/*.md") if f"`matching.{module}.{name}`" in text(p)]
    assert pages, f"docs/designs has no page that names `matching.{module}.{name}`"
    for page in pages:
        said = text(page)
        assert PICTURE.search(said), f"{page.name} has no picture"
        for part in ("## When", "## Whose effect", "## Its standard errors", "## Names elsewhere", "## Example"):
            assert part in said, f"{page.name} lacks “{part}”"
        assert f"]({page.name}" in text(DOCS / "designs" / "README.md"), f"{page.name} is not in the index"


@pytest.mark.parametrize("option", ["matching", "checks"])
def test_every_estimator_and_check_is_named(option):
    page = text(DOCS / {"matching": "effects.md", "checks": "checks.md"}[option])
    kind = {"matching": "Estimate", "checks": "Check"}[option]
    for f in walk.functions(kind):
        topic, module, name = walk.name(f).split(".")
        if topic == option:
            assert re.search(rf"`[^`]*\b{name}\b", page) and re.search(rf"`{module}\.", page), f"{module}.{name}"


def test_every_estimator_of_differences_is_in_the_guide_and_on_a_page_with_an_example():
    guide, pages = text(DOCS / "did.md"), "".join(text(p) for p in DOCS.glob("did/*.md"))
    found = [walk.name(f).split(".") for kind in ("Estimate", "Check") for f in walk.functions(kind)]
    for _, module, name in (f for f in found if f[0] == "did"):
        assert re.search(rf"`{module}\b", guide), f"docs/did.md does not name {module}"
        assert re.search(rf"^[^`\n]*\b{module}\.\w+\(", pages, flags=re.M), f"no example of {module}"
        assert re.search(rf"`[^`]*\b{name}\b", guide + pages), f"{module}.{name}"


def test_every_option_of_a_design_is_on_its_page():
    for design in walk.functions("Sample"):
        _, module, name = walk.name(design).split(".")
        said = "".join(text(p) for p in DOCS.glob("designs/*.md") if f"`matching.{module}.{name}`" in text(p))
        for option in list(inspect.signature(design).parameters)[1:]:
            assert re.search(rf"`[^`\n]*\b{option}\b", said), f"{module}.{name} has an option `{option}`"


def test_pictures_exist_are_small_and_are_told_in_words():
    shown = {}
    for page in [*PAGES.PAGES]:
        for words, target in PICTURE.findall(text(page)):
            assert len(words) > 40, f"{target} on {page.name} is not described for readers who do not see it"
            shown[(page.parent / target).resolve()] = page.name
    drawn = sorted((DOCS / "pictures").glob("*.png"))
    assert set(shown) == {p.resolve() for p in drawn}
    assert {f"def picture_{p.stem}()" for p in drawn} == set(re.findall(r"def picture_\w+\(\)", text(MAKER)))
    sizes = [p.stat().st_size for p in drawn]
    assert max(sizes) < 60_000 and sum(sizes) < 1_500_000


@pytest.mark.parametrize("page", [*PAGES.PAGES, DOCS.parent / "README.md"], ids=lambda p: f"{p.parent.stem}-{p.stem}")
def test_a_link_to_a_heading_finds_it(page):
    for target, anchor in re.findall(r"\]\(([^)#\s]*)#([^)]+)\)", text(page)):
        prose = re.sub(r"```.*?```", "", text(page.parent / target if target else page), flags=re.S)
        headings = re.findall(r"^#+ (.*)$", prose, flags=re.M)
        assert anchor in [re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings], (target, anchor)


# ---- what they print --------------------------------------------------------------------------


def number(word):
    found = re.fullmatch(r"[(“]?([-−]?[\d,]+(?:\.\d+)?)[%),.;:”]*", word)
    return None if found is None else float(found[1].replace(",", "").replace("−", "-"))


def apart(said, written, share=SHARE):
    """The first two words that differ, numbers by more than a share or their last digit."""
    mine, theirs = said.split(), written.split()
    for a, b in zip(mine, theirs, strict=False):
        x, y = number(a), number(b)
        if x is None or y is None:
            if a != b and set(a) | set(b) != {"-"}:
                return a, b
        elif not math.isclose(x, y, rel_tol=share, abs_tol=1.01 * 10.0 ** -len(b.partition(".")[2].rstrip("%),.;:”"))):
            return a, b
    return None if len(mine) == len(theirs) else (len(mine), len(theirs))


@pytest.mark.parametrize("page", PAGES.PAGES, ids=lambda p: p.stem)
def test_the_examples_run_and_print_what_the_page_says(page):
    names = PAGES.start()
    found = list(PAGES.BLOCK.finditer(text(page)))
    assert found
    for block in found:
        said = PAGES.printed(block["code"], names)
        if block["text"] is not None:
            share = math.inf if any(word in block["code"] for word in LOOSE) else SHARE
            assert apart(said, block["text"], share) is None, f"run: python docs/make_outputs.py {page.stem}\n{said}"


def test_a_wrong_number_on_a_page_is_noticed():
    assert apart("effect 1,952 (652)", "effect 1,952 (652)") is None
    assert apart("effect 1,952 (652)", "effect 2,152 (652)") == ("1,952", "2,152")
    assert apart("holds", "does not hold") is not None
