"""Files as tables: the same people from every kind of file, and a sentence for what cannot be read."""

from __future__ import annotations

import gzip
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from impact.registers import read
from tests.registers.broken import BROKEN

DATA = Path(__file__).parents[1] / "data"
TOWNS = ["Äänekoski", "Hämeenlinna", None, "Helsinki"] * 3


def unpacked(name: str, folder: Path) -> Path:
    """A file of tests/data, without the compression in which it is kept."""
    target = folder / name
    target.write_bytes(gzip.decompress((DATA / f"{name}.gz").read_bytes()))
    return target


def clients() -> pd.DataFrame:
    return pd.DataFrame(
        {"client": [f"{k:03d}" for k in range(1, 13)], "age": [30.5, None, 52, 41, 38, 45, 33, 60, 29, 51, 47, 36],
         "town": TOWNS, "private": [True, False, True] * 4, "days": np.arange(12) * 30,
         "enrolled": ["2019-11-30", "2020-02-29"] * 6}
    )  # fmt: skip


# ---- what is read ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["sas7bdat", "sav", "dta"])
def test_codes_letters_blanks_and_late_dates_survive_statistical_files(kind, tmp_path):
    path = unpacked(f"clients.{kind}", tmp_path)
    if kind != "dta":
        pytest.importorskip("pyreadstat")
    table = read(path)
    assert list(table.columns) == ["client", "age", "enrolled", "town", "provider"]
    assert table["client"].tolist() == [f"{k:03d}" for k in range(1, 13)]
    assert table["town"].isna().sum() == 3 and table["town"][0] == "Äänekoski"
    assert table["age"].isna().sum() == 1 and table["age"].sum() == pytest.approx(462.5)
    assert str(table["enrolled"][0])[:10] == "2019-11-30"
    assert str(table["enrolled"][1])[:4] == "9999", "the open end of a register"
    assert pd.isna(table["enrolled"][11])
    labels = [1.0, 0.0, 1.0] if kind == "sas7bdat" else ["private", "public", "private"]  # SAS keeps labels elsewhere
    assert table["provider"].tolist()[:3] == labels


@pytest.mark.parametrize("reader", ["pyreadstat", "pandas"])
def test_a_file_that_sas_wrote(reader, tmp_path, monkeypatch):
    if reader == "pandas":
        monkeypatch.setitem(sys.modules, "pyreadstat", None)  # as if it were not installed
    else:
        pytest.importorskip("pyreadstat")
    iris = read(unpacked("iris.sas7bdat", tmp_path))
    assert iris.shape == (150, 5)
    assert iris["Sepal_Length"].sum() == pytest.approx(876.5)  # R: sum(iris$Sepal.Length)
    kinds = {"setosa": 50, "versic": 50, "virgin": 50}  # cut short in the file: R's haven says the same
    assert iris["Species"].value_counts().to_dict() == kinds


def test_what_pandas_misreads_of_a_sas_file_is_not_taken(tmp_path, monkeypatch):
    """pandas 3.1 reads this file, which ReadStat wrote, with empty names and numbers in the place of towns."""
    monkeypatch.setitem(sys.modules, "pyreadstat", None)
    path = unpacked("clients.sas7bdat", tmp_path)
    try:
        table = read(path)
    except ModuleNotFoundError as refused:
        assert refused.name == "pyreadstat" and "pip install" in str(refused)
    else:
        assert table["town"][0] == "Äänekoski"


@pytest.mark.parametrize("name", ["clients.csv", "clients.tsv", "clients.csv.gz", "clients.parquet", "clients.dta"])
def test_every_kind_of_file_gives_the_same_people(name, tmp_path):
    people, path = clients(), tmp_path / name
    if name.endswith(".parquet"):
        pytest.importorskip("pyarrow")
        people.to_parquet(path)
    elif name.endswith(".dta"):
        people = people.assign(private=people["private"].astype(int))
        people.fillna({"town": ""}).to_stata(path, write_index=False)
    else:
        people.to_csv(path, index=False, sep="\t" if "tsv" in name else ",")
    table = read(path)
    assert table["client"].tolist() == people["client"].tolist()
    assert table["town"].isna().tolist() == people["town"].isna().tolist()
    assert (table["private"] == people["private"]).all() and (table["days"] == people["days"]).all()
    np.testing.assert_array_equal(table["age"].to_numpy(float), people["age"].to_numpy(float))
    assert table["enrolled"].astype(str).str[:10].tolist() == people["enrolled"].tolist()


def test_the_index_of_a_parquet_file_is_a_column_if_it_has_a_name(tmp_path):
    pytest.importorskip("pyarrow")
    clients().set_index("client").to_parquet(tmp_path / "clients.parquet")
    assert read(tmp_path / "clients.parquet")["client"][0] == "001"


def test_stata_labels_that_name_two_codes_alike_leave_the_codes(tmp_path):
    path = tmp_path / "labels.dta"
    pd.DataFrame({"exit": [1, 2, 3, 1]}).to_stata(
        path, write_index=False, value_labels={"exit": {1: "job", 2: "job", 3: "other"}}
    )
    with pytest.warns(UserWarning, match="name two codes alike"):
        table = read(path)
    assert table["exit"].tolist() == [1, 2, 3, 1] and len(table.attrs["notes"]) == 1


# ---- CSV --------------------------------------------------------------------------------------


def csv(tmp_path: Path, text: str | bytes, name: str = "t.csv", **settings) -> pd.DataFrame:
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return read(tmp_path / name, **settings)


@pytest.mark.parametrize("sign", [",", ";", "\t", "|"])
def test_the_sign_between_columns_is_found(tmp_path, sign):
    text = "\n".join(sign.join(row) for row in [["a", "b", "c"], ["1", '"x,y;z"', "2.5"], ["2", "w", "3"]])
    table = csv(tmp_path, text + "\n")
    assert table.to_dict("list") == {"a": [1, 2], "b": ["x,y;z", "w"], "c": [2.5, 3.0]}


def test_one_column_needs_no_sign(tmp_path):
    assert csv(tmp_path, "a\n1\n2\n")["a"].tolist() == [1, 2]


def test_decimal_commas_are_numbers_when_said_and_text_when_not(tmp_path):
    text = "a;b\n0,5;1\n1,25;2\n"
    assert csv(tmp_path, text)["a"].tolist() == ["0,5", "1,25"]
    assert csv(tmp_path, text, decimal=",")["a"].tolist() == [0.5, 1.25]


@pytest.mark.parametrize(
    ("cells", "kept"),
    [
        (["007", "042"], ["007", "042"]),
        (["0", "10"], [0, 10]),
        (["0.5", "-0.25"], [0.5, -0.25]),
        (["12345678901234567", "2"], [12345678901234567, 2]),
        (["12345678901234567", "3"], [12345678901234567, 3]),
        (["123456789012345678901", "2"], ["123456789012345678901", "2"]),
        (["2020-01-31", "2020-02-29"], ["2020-01-31", "2020-02-29"]),
        (["1e3", "Inf"], [1000.0, np.inf]),
        (["12", "twelve"], ["12", "twelve"]),
        (["TRUE", "false"], [True, False]),
        (["31.1.2020", "1.2.2020"], ["31.1.2020", "1.2.2020"]),
        (["0x1F", "1_000"], ["0x1F", "1_000"]),
        (["1 ", " 2"], [1, 2]),
    ],
)
def test_a_column_is_numbers_only_if_every_value_is(tmp_path, cells, kept):
    assert csv(tmp_path, "a,b\n" + "".join(f"{c},x\n" for c in cells))["a"].tolist() == kept


def test_long_identifiers_beside_a_missing_value_stay_exact(tmp_path):
    assert csv(tmp_path, "a,b\n12345678901234567,x\n,y\n")["a"][0] == "12345678901234567"


def test_missing_values_in_every_type_of_column(tmp_path):
    table = csv(tmp_path, "a,b,c,d\n1,x,true,\nNA,,NA,\n.,NULL,false,\n")
    assert table["a"].isna().sum() == 2 and table["b"].isna().sum() == 2 and table["c"].isna().sum() == 1
    assert table["d"].isna().all() and table["c"].dropna().tolist() == [True, False]
    assert csv(tmp_path, "a,b\nNA,1\nDE,-9\n", missing=("-9",))["a"].tolist() == ["NA", "DE"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_unicode_is_read_without_a_word(tmp_path, encoding):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = csv(tmp_path, "kunta,ikä\nÄänekoski,3\n".encode(encoding))
    assert list(table.columns) == ["kunta", "ikä"] and table["kunta"][0] == "Äänekoski"


def test_another_encoding_is_read_with_a_note_that_reaches_the_sample(tmp_path):
    from impact import ImpactWarning, Outcome, Study, emulate

    rows = "".join(f"{i};{i % 2};{i % 3};Äänekoski – 5 €\n" for i in range(30))
    with pytest.warns(UserWarning, match="not UTF-8 and was read as Windows-1252"):
        table = csv(tmp_path, ("id;arm;job;kunta\n" + rows).encode("cp1252"))
    assert table["kunta"][0] == "Äänekoski – 5 €"
    with pytest.warns(ImpactWarning, match="Windows-1252"):
        sample = emulate(Study(title="t", unit="id", treatment="arm", outcomes=Outcome("job")), table)
    assert any("Windows-1252" in note for note in sample.notes)


def test_columns_named_twice_are_kept_so_that_a_study_that_needs_them_is_refused(tmp_path):
    assert list(csv(tmp_path, "a,b,a\n1,2,3\n").columns) == ["a", "b", "a"]


def test_a_column_without_a_name_is_given_one(tmp_path):
    with pytest.warns(UserWarning, match="Column 1 .* is called `column_1`"):
        assert list(csv(tmp_path, ',"age"\n"1",30\n').columns) == ["column_1", "age"]


def test_line_breaks_inside_quotes(tmp_path):
    assert csv(tmp_path, 'a,b\n"x\ny",2\nz,3\n')["a"].tolist() == ["x\ny", "z"]


# ---- what cannot be read --------------------------------------------------------------------------


@pytest.mark.parametrize("broken", BROKEN)
def test_what_cannot_be_read_is_said_in_a_sentence_with_the_name_as_given(broken, tmp_path, monkeypatch):
    name, content, error, words = BROKEN[broken]
    if name.endswith(".sav") or name.endswith(".parquet") and content and content.startswith(b"PAR1"):
        pytest.importorskip("pyreadstat")
        pytest.importorskip("pyarrow")
    monkeypatch.chdir(tmp_path)
    if content is not None:
        Path(name).write_bytes(content)
    with pytest.raises(error) as refused:
        read(name)
    message = str(refused.value)
    assert words in message and name in message
    assert str(tmp_path) not in message and refused.value.__cause__ is None
    assert message.endswith(".") and len(message) < 400


def test_a_folder_is_no_file(tmp_path):
    (tmp_path / "t.csv").mkdir()
    with pytest.raises(ValueError, match="cannot be opened"):
        read(tmp_path / "t.csv")


@pytest.mark.parametrize(("name", "package"), [("t.parquet", "pyarrow"), ("t.sav", "pyreadstat")])
def test_a_package_that_is_not_there_is_named(name, package, tmp_path, monkeypatch):
    (tmp_path / name).write_bytes(b"PAR1" + bytes(60) if package == "pyarrow" else b"$FL2@(#) SPSS")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ModuleNotFoundError, match=f"{package} is needed: pip install {package}"):
        read(tmp_path / name)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"encoding": "klingon"}, "is not known"),
        ({"encoding": "ascii"}, "is not in the encoding"),
        ({"separator": ";;"}, "`separator` is one character"),
        ({"decimal": "x"}, "`decimal` is"),
    ],
)
def test_settings_that_do_not_fit(tmp_path, settings, words):
    with pytest.raises(ValueError, match=words):
        csv(tmp_path, "a,b\nä,2\n", **settings)


def test_settings_of_text_are_refused_for_other_files(tmp_path):
    with pytest.raises(ValueError, match="decimal can be said of CSV files only"):
        read(unpacked("clients.dta", tmp_path), decimal=",")
