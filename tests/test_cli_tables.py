"""Tables as they come, as `train` reads them."""

from __future__ import annotations

import bz2
import gzip
import lzma
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import PEOPLE, flowers


def load(path: Path, target: str, **options):
    """What `train` would learn from the file."""
    from smcore._cli import data
    from smcore._cli.tables import Dialect

    names = ("header", "delimiter", "decimal", "encoding")
    dialect = Dialect(**{name: options.pop(name) for name in names if name in options})
    return data.load(path, data.Choice(target, dialect, **options), lambda _: None)


def lines_of_flowers(delimiter=",", decimal=".", header=True, index=False, quote="", end=""):
    names, X, y = flowers()
    rows = [
        [*([str(i)] if index else []), f"{w:.3f}", f"{quote}{names[c]}{quote}", f"{h:.3f}"]
        for i, ((w, h), c) in enumerate(zip(X, y, strict=True))
    ]
    rows = [[field.replace(".", decimal) for field in row] for row in rows]
    first = [*([""] if index else []), "width", "species", "height"]
    text = [delimiter.join(row) + end for row in ([first] if header else []) + rows]
    return "\n".join(text) + "\n"


WRITTEN = {
    "commas": ("f.csv", {}, {}),
    "semicolons": ("f.csv", {"delimiter": ";"}, {}),
    "decimal commas": ("f.csv", {"delimiter": ";", "decimal": ","}, {"decimal": ","}),
    "tabs": ("f.tsv", {"delimiter": "\t"}, {}),
    "bars": ("f.data", {"delimiter": "|"}, {}),
    "blanks": ("f.txt", {"delimiter": "   ", "quote": '"'}, {}),
    "tildes": ("f.csv", {"delimiter": "~"}, {"delimiter": "~"}),
    "an index": ("f.csv", {"index": True}, {}),
    "delimiters at the end": ("f.csv", {"end": ","}, {}),
    "a column of row numbers": ("f.csv", {"index": True}, {}),
}


@pytest.mark.parametrize("case", WRITTEN)
@pytest.mark.parametrize("packed", ["", ".gz", ".bz2", ".xz"])
def test_text_as_it_comes(tmp_path, case, packed):
    name, written, options = WRITTEN[case]
    content = lines_of_flowers(**written)
    if case == "a column of row numbers":
        content = "Id" + content
    pack = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}[packed]
    (tmp_path / (name + packed)).write_bytes(pack(content.encode()))
    dataset = load(tmp_path / (name + packed), "species", **options)
    names, X, y = flowers()
    assert dataset.features == ("width", "height")
    np.testing.assert_array_equal(dataset.X, X.round(3))
    assert dataset.classes[dataset.y].tolist() == [names[c] for c in y]
    assert bool(dataset.notes) == ("index" in written or "end" in written)


def test_without_a_header(tmp_path):
    from smcore._cli.errors import CliError

    (tmp_path / "f.csv").write_text(lines_of_flowers(header=False))
    for target in ("2", "-2"):
        dataset = load(tmp_path / "f.csv", target, header=False)
        assert dataset.features == ("1", "3") and len(dataset.X) == 60
    dataset = load(tmp_path / "f.csv", "2")  # says what it has taken for names
    assert len(dataset.X) == 59 and "--no-header" in dataset.notes[-1]
    with pytest.raises(CliError, match="--no-header"):
        load(tmp_path / "f.csv", "species")


def test_categories_booleans_and_missing_values(tmp_path):
    from smcore._cli.errors import CliError

    path = tmp_path / "people.csv"
    path.write_text(PEOPLE)
    with pytest.raises(CliError) as error:
        load(path, "Lived", max_categories=5)
    for part in ("'Name'", "6 different texts", "--drop 'Name'"):
        assert part in str(error.value)
    with pytest.raises(CliError) as error:
        load(path, "Lived", drop=["Name"])
    for part in ("line 3", "'Age'", "2 in 'Age', 1 in 'Port'", "--drop-missing", "2 of 6 rows"):
        assert part in str(error.value)
    dataset = load(path, "Lived", drop=["Name,Id"], categorical=["Class"], drop_missing=True)
    assert dataset.features == (
        *("Class=1", "Class=3", "Sex=female", "Sex=male", "Age", "Alone", "Port=Q", "Port=S"),
    )
    assert dataset.X.tolist() == [
        [1, 0, 0, 1, 22, 1, 0, 1],
        [0, 1, 1, 0, 26, 1, 0, 1],
        [1, 0, 1, 0, 35, 0, 0, 1],
        [0, 1, 0, 1, 35, 1, 1, 0],
    ]
    assert dataset.classes[dataset.y].tolist() == ["no", "yes", "yes", "no"]
    assert any("2 of 6 rows" in note for note in dataset.notes)


BAD_TABLES = {
    "a decimal comma": ("a;y\n1,5;u\n2,5;v\n", ("line 2", "'1,5'", "--decimal ,")),
    "another encoding": (b"a,y\n1,\xe9\n2,b\n", ("line 2", "UTF-8", "--encoding")),
    "a quote that is not closed": ('a,y\n1,"u\n2,v\n', ("line",)),
    "fields too many": ("a,y\n1,u\n2,v,w\n", ("line 3", "3 fields", "--delimiter")),
    "text among numbers": ("a,y\n1,u\nx,v\n3,u\n", ("line 3", "'x'", "--categorical 'a'")),
    "numbers with underscores": ("a,y\n1_000,u\n2,v\n3,u\n", ("line 2", "'1_000'")),
    "nothing but gaps": ("a,b,y\n1,,u\n,2,v\n", ("every row", "1 in 'a'", "--drop")),
    "no column is left": (
        "Id,y\n" + "".join(f"{i},{'uv'[i % 2]}\n" for i in range(12)),
        ("besides 'y'", "'Id' is left out: it numbers the rows"),
    ),
    "a column that is not there": ("a,y\n1,u\n2,v\n", ("--drop", "'z'")),
}


@pytest.mark.parametrize("case", BAD_TABLES)
def test_tables_that_cannot_be_read(tmp_path, case):
    from smcore._cli.errors import CliError

    content, parts = BAD_TABLES[case]
    path = tmp_path / "t.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(CliError) as error:
        load(path, "y", drop=["z"] if case == "a column that is not there" else [])
    for part in ("t.csv", *parts):
        assert part in str(error.value)
    assert "\n" not in str(error.value)


def test_other_encodings(tmp_path):
    text = "größe,y\n1,é\n2,ü\n3,é\n4,ü\n"
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "cp1252"):
        (tmp_path / "t.csv").write_bytes(text.encode(encoding))
        given = encoding if encoding in ("utf-16", "cp1252") else "utf-8-sig"
        dataset = load(tmp_path / "t.csv", "y", encoding=given)
        assert dataset.features == ("größe",) and dataset.classes.tolist() == ["é", "ü"]


def test_a_packed_file_that_is_cut_off(tmp_path):
    from smcore._cli.errors import CliError

    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(lines_of_flowers().encode())[:-20])
    with pytest.raises(CliError, match="is damaged"):
        load(tmp_path / "t.csv.gz", "species")


def test_text_that_begins_as_numbers(tmp_path, monkeypatch):
    """A column of codes, all digits in the rows that are converted first, stays text."""
    from smcore._cli import text

    monkeypatch.setattr(text, "BLOCK", 2 * 600)
    lines = ["code,y", *(f"{i % 3}.0,u" for i in range(600)), *["x1,v"] * 1200]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    dataset = load(tmp_path / "t.csv", "y")
    assert dataset.features == ("code=0", "code=1", "code=2", "code=x1")
    assert dataset.X.sum(axis=0).tolist() == [200, 200, 200, 1200]


def test_parquet(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import feather, parquet

    from smcore._cli.errors import CliError

    table = pyarrow.table(
        {
            "n": [1, 2, None, 4],
            "x": [0.5, 1.5, 2.5, 3.5],
            "flag": [True, False, True, True],
            "kind": pyarrow.array(["a", "b", "a", "a"]).dictionary_encode(),
            "when": pyarrow.array([0, 1, 2, 3], pyarrow.timestamp("s")),
            "y": [1.0, 2.0, 1.0, 2.0],
        }
    )
    parquet.write_table(table, tmp_path / "t.parquet")
    feather.write_feather(table, tmp_path / "t.feather")
    for name in ("t.parquet", "t.feather"):
        with pytest.raises(CliError, match=r"'when'.*timestamp.*--drop"):
            load(tmp_path / name, "y")
        with pytest.raises(CliError, match=r"row 3, column 'n'.*--drop-missing"):
            load(tmp_path / name, "y", drop=["when"])
        dataset = load(tmp_path / name, "y", drop=["when,n"])
        assert dataset.features == ("x", "flag", "kind=a", "kind=b")
        assert dataset.X[1].tolist() == [1.5, 0, 0, 1] and dataset.classes.tolist() == [1, 2]
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(CliError, match=r"bad.parquet: is damaged"):
        load(tmp_path / "bad.parquet", "y")


def test_parquet_without_pyarrow(monkeypatch, tmp_path):
    from smcore._cli.errors import CliError

    (tmp_path / "t.parquet").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(CliError, match=r"softmax-core\[tables\]"):
        load(tmp_path / "t.parquet", "y")
