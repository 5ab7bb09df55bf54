r"""Text as text: nothing a register holds may act as markup, as a command or as a formula.

Names of columns, categories and titles come from other people's files. HTML is escaped by jinja2; here
stand the escapes for LaTeX, Markdown and CSV, and the cleaning that all of them share.
"""

from __future__ import annotations

import re
import unicodedata

# Bidirectional overrides can show a reader another text than the file holds.
_DIRECTION = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c")
_SPACE = re.compile(r"\s+")


def plain(text: object) -> str:
    """One line of text without control characters, reversals of direction or half characters."""
    kept = "".join(" " if c.isspace() else c for c in str(text) if c.isspace() or not _is_control(c))
    return _SPACE.sub(" ", kept).strip()


def _is_control(character: str) -> bool:
    return character in _DIRECTION or unicodedata.category(character) in ("Cc", "Cs")


# LaTeX ----------------------------------------------------------------------------------------

_COMMANDS = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "%": r"\%", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}", "`": r"\textasciigrave{}",
    # A bare quotation mark is a command in several languages of babel.
    '"': r"{\char34}",
    # After the end of a row, these would be read as an option of the line break.
    "[": "{[}", "]": "{]}", "*": "{*}",
}  # fmt: skip
_SYMBOLS = {
    "\u2212": r"\ensuremath{-}", "\u2264": r"\ensuremath{\leq}", "\u2265": r"\ensuremath{\geq}",
    "\u2260": r"\ensuremath{\neq}", "\u2248": r"\ensuremath{\approx}", "\u221e": r"\ensuremath{\infty}",
    "\u2192": r"\ensuremath{\rightarrow}", "\u2190": r"\ensuremath{\leftarrow}", "\u221a": r"\ensuremath{\surd}",
    "\u2211": r"\ensuremath{\Sigma}", "\u2208": r"\ensuremath{\in}", "\u2202": r"\ensuremath{\partial}",
    "\u00d7": r"\ensuremath{\times}", "\u00f7": r"\ensuremath{\div}", "\u00b1": r"\ensuremath{\pm}",
    "\u00ac": r"\ensuremath{\lnot}", "\u00b7": r"\ensuremath{\cdot}", "\u00b0": r"\ensuremath{{}^{\circ}}",
    "\u00b5": r"\ensuremath{\mu}", "\u2013": "--", "\u2014": "---", "\u2018": "{\\textquoteleft}",
    "\u2019": "{\\textquoteright}", "\u201c": "{\\textquotedblleft}", "\u201d": "{\\textquotedblright}",
    "\u201e": "{\\quotedblbase}", "\u201a": "{\\quotesinglbase}", "\u2026": r"{\ldots}", "\u2022": r"{\textbullet}",
    "\u20ac": r"{\texteuro}", "\u2020": r"{\dag}", "\u2021": r"{\ddag}", "\u2122": r"{\texttrademark}",
    "\u00a0": "~", "\u2011": "-", "\u2010": "-", "\u00ad": r"\-",
}  # fmt: skip
_GREEK = dict(
    zip(
        "αβγδεζηθικλμνξπρστυφχψωΓΔΘΛΞΠΣΥΦΨΩ",
        "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon phi chi "
        "psi omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega".split(),
        strict=True,
    )
)
_SYMBOLS |= {letter: rf"\ensuremath{{\{name}}}" for letter, name in _GREEK.items()}
# What pdflatex sets from its UTF-8 input with the T1 fonts.
_T1 = frozenset(
    "ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖØÙÚÛÜÝÞßàáâãäåæçèéêëìíîïðñòóôõöøùúûüýþÿ"
    "ĂăĄąĆćČčĎďĐđĘęĚěĞğĹĺĽľŁłŃńŇňŊŋŐőŒœŔŕŘřŚśŞşŠšŢţŤťŮůŰűŸŹźŻżŽžİ¡¿«»£§"
)
_LIGATURE = re.compile(r"([-,'])(?=\1)")
_LONG_WORD, _BREAK_EVERY = 24, 12


def latex(text: object) -> str:
    r"""Text that LaTeX sets letter by letter: no character of it can begin a command.

    Characters outside the T1 fonts are set as symbols where LaTeX has one, else without their accents,
    else as their code point, ``[U+4E2D]``. Very long words may be broken across lines.
    """
    words = unicodedata.normalize("NFC", plain(text)).split(" ")
    return " ".join(_word(word) for word in words)


def _word(word: str) -> str:
    if len(word) <= _LONG_WORD:
        return _letters(word)
    pieces = [word[i : i + _BREAK_EVERY] for i in range(0, len(word), _BREAK_EVERY)]
    return r"\allowbreak{}".join(_letters(piece) for piece in pieces)


def _letters(word: str) -> str:
    # Two hyphens, commas or apostrophes in a row would be drawn as another sign.
    parts = _LIGATURE.sub("\\1\u2060", word)
    return "".join(_letter(c) for c in parts)


def _letter(c: str) -> str:
    if c == "\u2060":
        return "{}"
    if c in _COMMANDS:
        return _COMMANDS[c]
    if c in _SYMBOLS:
        return _SYMBOLS[c]
    if " " <= c <= "~" or c in _T1:
        return c
    if unicodedata.category(c) in ("Cf", "Mn", "Me"):
        return ""
    if unicodedata.category(c) == "Zs":
        return " "
    simpler = "".join(d for d in unicodedata.normalize("NFKD", c) if not unicodedata.combining(d))
    if simpler and simpler != c:
        return "".join(_letter(d) for d in simpler)
    return f"{{[}}U+{ord(c):04X}{{]}}"


def latex_label(text: object, prefix: str) -> str:
    """A label for cross-references: small letters, digits and hyphens after a prefix."""
    return f"{prefix}:{slug(text)}"


def slug(text: object, longest: int = 48) -> str:
    """A name for files and anchors: small letters, digits and hyphens only."""
    base = unicodedata.normalize("NFKD", plain(text)).encode("ascii", "ignore").decode().lower()
    name = re.sub(r"[^a-z0-9]+", "-", base).strip("-")
    if len(name) > longest:
        name = name[: longest + 1].rpartition("-")[0] or name[:longest]
    return name or "untitled"


# Markdown and CSV -----------------------------------------------------------------------------

_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def markdown(text: object) -> str:
    """Text that Markdown shows as it stands, in a cell of a table or outside."""
    return "".join(_ENTITIES.get(c, "\\" + c if c in r"\`*_[]|#$~" else c) for c in plain(text))


def csv_cell(text: object) -> str:
    """Text that no spreadsheet takes for a formula: a leading apostrophe where it could be one."""
    word = "".join(c for c in str(text) if unicodedata.category(c) != "Cs" and c != "\0")
    risky = word[:1] in tuple("\t\r\n") or word.lstrip()[:1] in tuple("=+-@\uff1d\uff0b\uff0d\uff20")
    return "'" + word if word and risky else word
