"""TOML written and read: the standard library only reads it, and the files here are small.

What is written is what a study holds: text, numbers, booleans, dates, lists of these, and tables.
"""

from __future__ import annotations

import datetime
import json
import tomllib
from collections.abc import Mapping
from typing import Any


def loads(text: str) -> dict[str, Any]:
    """Read TOML text; what is wrong with it is said with its line."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        raise ValueError(f"The study file is not valid TOML: {problem}. Mend that line.") from None


def dumps(content: Mapping[str, Any]) -> str:
    """Write nested mappings as TOML: plain values first, then tables, in the order given."""
    return "\n".join(_table(content, ())).strip("\n") + "\n"


def _table(content: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    lines = [f"{_key(k)} = {_value(v)}" for k, v in content.items() if not _is_table(v) and not _is_tables(v)]
    for key, value in content.items():
        inner = (*path, key)
        name = ".".join(_key(k) for k in inner)
        if _is_table(value):
            lines += ["", f"[{name}]", *_table(value, inner)]
        elif _is_tables(value):
            for item in value:
                lines += ["", f"[[{name}]]", *_table(item, inner)]
    return lines


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping)


def _is_tables(value: Any) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(v, Mapping) for v in value)


def _key(key: str) -> str:
    plain = key.replace("-", "").replace("_", "")
    return key if plain.isascii() and plain.isalnum() else _text(key)


def _text(value: str) -> str:
    # A JSON string without ASCII escapes is a TOML basic string, but for DEL, which TOML wants escaped.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return {"nan": "nan", "inf": "inf", "-inf": "-inf"}.get(repr(value), repr(value))
    if isinstance(value, datetime.date | datetime.datetime | datetime.time):
        return value.isoformat()
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_value(v) for v in value) + "]"
    if isinstance(value, str):
        return _text(value)
    raise TypeError(f"A study file holds text, numbers, dates and lists of them, not {type(value).__name__}.")
