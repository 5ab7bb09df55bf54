"""BibTeX is read as this package writes it, and set for a reader."""

from __future__ import annotations

import pytest

from impact.show import bibliography

TEXT = """\
@article{abadie2006,
  author = {Abadie, Alberto and Imbens, Guido W.},
  title = {Large Sample Properties of {M}atching Estimators},
  journal = {Econometrica},
  year = {2006}, volume = 74, number = {1}, pages = {235--267}, doi = {10.1111/x}
}
@book{efron1982, author = {Efron, Bradley and {The Group} and Plagborg-M\u00f8ller, Jean-Luc}, title = {A \\& B},
  publisher = {SIAM}, year = {1982}}
"""


def test_entries_are_set_for_a_reader():
    found = bibliography.read(TEXT)
    assert list(found) == ["abadie2006", "efron1982"]
    assert str(found["abadie2006"]) == (
        "Abadie, A. and Imbens, G. W. (2006). Large Sample Properties of Matching Estimators. "
        "Econometrica, 74(1), 235\u2013267. https://doi.org/10.1111/x."
    )
    assert str(found["efron1982"]) == "Efron, B., The Group and Plagborg-M\u00f8ller, J.-L. (1982). A & B. SIAM."
    assert found["efron1982"].kind == "book"


def test_only_the_chosen_entries_are_written_as_they_stand():
    found = bibliography.read(TEXT)
    assert bibliography.written(found, ["abadie2006", "unknown"]) == TEXT[: TEXT.index("@book")]
    assert bibliography.read(bibliography.written(found, list(found))) == found


def test_a_brace_that_does_not_close_is_said():
    with pytest.raises(ValueError, match="does not close"):
        bibliography.read("@article{a, title = {b}")
