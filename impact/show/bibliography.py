"""A bibliography: reading BibTeX as this package writes it, and setting its entries for a reader."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from impact.show import words


@dataclass(frozen=True)
class Entry:
    """One work: its key, its kind, its fields without braces, and its text as it stands in the file."""

    key: str
    kind: str
    fields: Mapping[str, str]
    source: str

    def __str__(self) -> str:
        """The work as a line of a list of references."""
        get = self.fields.get
        names = [_person(name) for name in re.split(r"\s+and\s+", get("author") or get("editor") or "")]
        volume = get("volume", "") + (f"({get('number')})" if get("number") else "")
        place = ", ".join(w for w in (get("journal") or get("booktitle"), volume, get("pages"), get("publisher"),
                                      get("institution"), get("note")) if w)  # fmt: skip
        doi = f"https://doi.org/{get('doi')}" if get("doi") else get("url", "")
        parts = [f"{words.listing(filter(None, names))} ({get('year', 'no date')})", get("title", ""), place, doi]
        return ". ".join(part for part in parts if part) + "."


def read(text: str) -> dict[str, Entry]:
    """The entries of a BibTeX file, by key. Fields stand in braces, or are bare numbers."""
    entries = {}
    for start in re.finditer(r"@(\w+)\s*\{\s*([^,\s]+)\s*,", text):
        end = _closing(text, text.index("{", start.start()))
        body = text[start.end() : end]
        entries[start.group(2)] = Entry(
            start.group(2), start.group(1).lower(), _fields(body), text[start.start() : end + 1]
        )
    return entries


def written(entries: Mapping[str, Entry], keys: list[str]) -> str:
    """A BibTeX file of the chosen entries, as they stand in the file they were read from."""
    return "\n".join(entries[key].source for key in sorted(keys) if key in entries) + "\n"


def _fields(body: str) -> dict[str, str]:
    fields, at = {}, 0
    while found := re.compile(r"\s*,?\s*(\w+)\s*=\s*").match(body, at):
        at = found.end()
        if body[at : at + 1] == "{":
            end = _closing(body, at)
            value, at = body[at + 1 : end], end + 1
        else:
            bare = re.compile(r"[^,\s]+").match(body, at)
            value, at = (bare.group(), bare.end()) if bare else ("", len(body))
        fields[found.group(1).lower()] = _plain(value)
    return fields


def _closing(text: str, at: int) -> int:
    """Where the brace that opens at ``at`` closes."""
    depth = 0
    for i in range(at, len(text)):
        depth += (text[i] == "{") - (text[i] == "}")
        if depth == 0:
            return i
    raise ValueError(f"A brace of the bibliography opens at character {at} and does not close: add the closing brace.")


def _plain(value: str) -> str:
    """A field as a reader sees it: no braces, dashes as dashes, one space between words."""
    value = value.replace("---", "\u2014").replace("--", "\u2013").replace(r"\&", "&")
    return re.sub(r"\s+", " ", re.sub(r"[{}]", "", value)).strip()


def _person(name: str) -> str:
    """Set "Imbens, Guido W." as "Imbens, G. W."; a name without a comma stays as it is."""
    family, comma, given = name.partition(",")
    initials = " ".join("-".join(f"{part[0]}." for part in word.split("-") if part) for word in given.split())
    return f"{family.strip()}, {initials}" if comma and initials else name.strip()
