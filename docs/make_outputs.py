"""Run the Python of the pages on methods and write what it prints: `python docs/make_outputs.py`.

With the names of some pages, these only. A block of Python followed by a block of text is an example and its
output. Every page starts from the names that the first block of docs/designs/README.md makes, so that all of them
speak of the same people.
"""

from __future__ import annotations

import ast
import contextlib
import io
import re
import sys
import textwrap
import warnings
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
INDEX = HERE / "designs" / "README.md"
ALONE = [HERE / f"{name}.md" for name in ("effects", "checks", "did")]
PAGES = sorted([*HERE.glob("designs/*.md"), *HERE.glob("did/*.md"), *ALONE])
BLOCK = re.compile(r"```python\n(?P<code>.*?)```\n(?:\n```text\n(?P<text>.*?)```\n)?", flags=re.S)
WIDTH = 110


def start() -> dict[str, Any]:
    """The names that every page starts from."""
    names: dict[str, Any] = {}
    printed(BLOCK.findall(INDEX.read_text("utf-8"))[0][0], names)
    return names


def printed(code: str, names: dict[str, Any]) -> str:
    """What a block prints, its last expression included as in a notebook; long lines that are no table are broken."""
    tree = ast.parse(code)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    out = io.StringIO()
    with contextlib.redirect_stdout(out), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(compile(tree, "page", "exec"), names)  # noqa: S102  our own file
        if last is not None:
            value = eval(compile(ast.Expression(last.value), "page", "eval"), names)  # noqa: S307
            if value is not None:
                print(value if not isinstance(value, str) else repr(value), file=out)
    lines = (line.rstrip() for line in out.getvalue().splitlines())
    return "".join(_broken(line) + "\n" for line in lines)


def _broken(line: str) -> str:
    """A sentence on lines of a readable length; a line of a table as it is."""
    if len(line) <= WIDTH or re.search(r"\S {2,}\S|---", line):
        return line
    return textwrap.fill(line, WIDTH, subsequent_indent=" " * (2 + len(line) - len(line.lstrip())))


def page(path: Path, names: dict[str, Any]) -> str:
    """The page with every output written anew."""

    def again(found: re.Match[str]) -> str:
        said = printed(found["code"], names)
        text = f"\n```text\n{said}```\n" if found["text"] is not None and said else ""
        return f"```python\n{found['code']}```\n{text}"

    return BLOCK.sub(again, path.read_text("utf-8"))


def main() -> None:
    """All pages, or those named."""
    asked = [p for p in PAGES if not sys.argv[1:] or p.stem in sys.argv[1:]]
    for path in asked:
        path.write_text(page(path, start()), "utf-8")


if __name__ == "__main__":
    main()
