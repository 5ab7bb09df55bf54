"""Write docs/methods.md from the docstrings of every design, estimator and check: `python docs/make_methods.py`."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import impact

HERE = Path(__file__).parent
KINDS = {"Sample": "Designs: a sample to a sample, without looking at an outcome",
         "Estimate": "Estimators: a sample to an estimate",
         "Check": "Checks: a claim, the evidence, a verdict"}  # fmt: skip
TOPICS = ("matching", "survival", "did", "programmes", "checks")


def methods(kind: str) -> Iterator[Callable[..., Any]]:
    """Public functions of the topics that return this noun, in the order of modules and lines."""
    for topic in TOPICS:
        for module in pkgutil.iter_modules([f"{impact.__path__[0]}/{topic}"], f"impact.{topic}."):
            found = [
                f
                for f in vars(importlib.import_module(module.name)).values()
                if inspect.isfunction(f) and f.__module__ == module.name and not f.__name__.startswith("_")
                and inspect.signature(f).return_annotation == kind
            ]  # fmt: skip
            yield from sorted(found, key=lambda f: f.__code__.co_firstlineno)


def bibliography() -> dict[str, str]:
    """Key to author, year and title."""
    text = Path(impact.__path__[0], "references.bib").read_text("utf-8")
    entries = {}
    for key, body in re.findall(r"@\w+\{(\w+),(.*?)\n\}", text, flags=re.S):
        field = dict(re.findall(r"(\w+) = \{((?:[^{}]|\{[^{}]*\})*)\}", body))
        names = [a.split(",")[0] for a in field["author"].replace("{", "").replace("}", "").split(" and ")]
        who = names[0] + (" et al." if len(names) > 2 else "".join(f" and {n}" for n in names[1:]))
        entries[key] = f"{who} ({field['year']}), {field['title'].replace('{', '').replace('}', '')}"
    return entries


def _default(value: Any) -> str:
    """A default as one would write it: a function by its name."""
    if inspect.isfunction(value):
        return f"{value.__module__.split('.')[-1]}.{value.__name__}"
    return repr(dict(value)) if isinstance(value, Mapping) else repr(value)


def section(f: Callable[..., Any], books: dict[str, str]) -> list[str]:
    """One method: what it is, its equation and text up to the parameters, and whom it follows."""
    text = inspect.getdoc(f) or ""
    about = re.split(r"\nParameters\n-+", text)[0].strip()
    about = re.split(r"\n\*\*References\*\*", about)[0].strip()
    keys = re.search(r"\*\*References\*\*:?\s*([\w ;,.\n]+)", text)
    cited = [books[k] for k in re.findall(r"\b[a-z]+\d{4}[a-z]?\b", keys.group(1) if keys else "") if k in books]
    options = [p.name if p.default is p.empty else f"{p.name}={_default(p.default)}"
               for p in list(inspect.signature(f).parameters.values())[1:]]  # fmt: skip
    name = f"{f.__module__.removeprefix('impact.')}.{f.__name__}"
    call = f"`{f.__name__}({', '.join(['sample', *options])})`" if options else ""
    return [f"### `{name}`", "", call, "", about, "", *(f"- {c}" for c in cited), ""]


def page() -> str:
    """The whole page."""
    books = bibliography()
    opening = "Written from the docstrings, which also give parameters, errors and examples: `help(function)`."
    lines = ["# Methods", "", opening, ""]
    for kind, heading in KINDS.items():
        lines += [f"## {heading}", ""]
        for f in methods(kind):
            lines += section(f, books)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip() + "\n"


if __name__ == "__main__":
    (HERE / "methods.md").write_text(page(), "utf-8")
