"""``predict``, and ``explain`` of a row of a table, by a model that was not trained."""

from __future__ import annotations

import numpy as np
import pytest
from commands import PEOPLE, files, refuses, succeeds

import smcore


@pytest.fixture
def trained(tmp_path):
    """A model of people, without training it."""
    from smcore._cli.columns import Column
    from smcore._cli.model import TrainedModel

    columns = (Column("Age"), Column("Sex", "category", ("female", "male")))
    columns += (Column("Alone", "boolean"),)
    rng = np.random.default_rng(0)
    W, b = rng.standard_normal((4, 2)).astype("f"), rng.standard_normal(2).astype("f")
    mean, scale = np.array([30.0, 0.5, 0.5, 0.5]), np.array([10.0, 0.5, 0.5, 0.5])
    model = TrainedModel(W, b, mean, scale, np.array(["no", "yes"]), columns, "Lived")
    (tmp_path / "model").mkdir()
    (tmp_path / "model/weights.npz").write_bytes(model.to_bytes())
    return model


AGED = """\
Alone,Sex,Id,Age
true,male,7,22
FALSE,female,8,40.5
"""


def test_predict(run, tmp_path, trained):
    (tmp_path / "new.csv").write_text(AGED)
    X = np.array([[22, 0, 1, 1], [40.5, 1, 0, 0]])
    x = ((X - trained.mean) / trained.scale).astype("f")
    s = smcore.softmax_layer(x, trained.W, trained.b)
    labels = np.array(["no", "yes"])[s.argmax(axis=1)]
    out = succeeds(run("predict", "--model", "model", "--data", "new.csv", "--keep", "Id"))
    header, *lines = (line.split(",") for line in out.splitlines())
    assert header == ["Id", "Lived", "P(no)", "P(yes)"]
    assert [line[:2] for line in lines] == [["7", labels[0]], ["8", labels[1]]]
    np.testing.assert_array_equal(np.array([line[2:] for line in lines], "f"), s)
    model = ["--model", "model/weights.npz"]
    out = succeeds(run("predict", *model, "--data", "new.csv", "--show", "labels"))
    assert out.splitlines() == ["Lived", *labels]
    out = succeeds(run("predict", *model, "--data", "new.csv", "--out", "a/b.csv"))
    assert out == "" and (tmp_path / "a/b.csv").read_text().startswith("Lived,P(no),P(yes)\n")


def test_predict_says_how_many_are_right(run, tmp_path, trained):
    (tmp_path / "people.csv").write_text(PEOPLE)
    arguments = ["--model", "model", "--data", "people.csv", "--show", "labels"]
    refuses(run("predict", *arguments), "line 3", "'Age'", "--drop-missing", "2 of 6 rows")
    outcome = run("predict", *arguments, "--drop-missing", "--keep", "Name,Age")
    assert outcome.status == 0 and outcome.out.startswith('Name,Age,Lived\n"Braund, Mr. Owen",22,')
    assert "2 of 6 rows are left out" in outcome.err and "of 4 rows have the class" in outcome.err


def test_predict_without_a_header_takes_columns_in_order(run, tmp_path, trained):
    (tmp_path / "new.csv").write_text("22,male,true\n40.5,female,false\n")
    (tmp_path / "named.csv").write_text("Age,Sex,Alone\n22,male,true\n40.5,female,false\n")
    model = ["--model", "model", "--data"]
    expected = succeeds(run("predict", *model, "named.csv"))
    assert succeeds(run("predict", *model, "new.csv", "--no-header")) == expected


def test_predict_arrays(run, tmp_path, trained):
    X = np.array([[22, 0, 1, 1], [40.5, 1, 0, 0]])
    np.savez(tmp_path / "new.npz", X=X)
    np.savez(tmp_path / "bad.npz", X=X[:, 1:])
    (tmp_path / "new.csv").write_text(AGED)
    model = ["--model", "model", "--data"]
    assert succeeds(run("predict", *model, "new.npz")) == succeeds(
        run("predict", *model, "new.csv")
    )
    refuses(run("predict", *model, "bad.npz"), "bad.npz", "3 features", "has 4")


BAD_PREDICT = {
    "no model": ("", ["--model", "nowhere"], ("nowhere", "no such file")),
    "no file": ("", ["--data", "knew.csv"], ("knew.csv", "'new.csv'")),
    "lacks a column": ("Age,Sex\n1,male\n", [], ("'Alone'", "'Age', 'Sex'")),
    "another category": ("Age,Sex,Alone\n1,man,true\n", [], ("line 2", "'man'", "'female'")),
    "no boolean": ("Age,Sex,Alone\n1,male,maybe\n", [], ("line 2", "'maybe'", "'Alone'")),
    "no number": ("Age,Sex,Alone\nold,male,true\n", [], ("line 2", "'old'", "'Age'")),
    "infinite": ("Age,Sex,Alone\ninf,male,true\n", [], ("line 2", "infinite", "'Age'")),
    "out is a directory": (AGED, ["--out", "model"], ("--out", "model", "directory")),
    "not kept": (AGED, ["--keep", "Port"], ("--keep", "'Port'")),
}


@pytest.mark.parametrize("case", BAD_PREDICT)
def test_predict_refuses(run, tmp_path, trained, case):
    content, arguments, parts = BAD_PREDICT[case]
    (tmp_path / "new.csv").write_text(content)
    before = files(tmp_path)
    refuses(run("predict", "--model", "model", "--data", "new.csv", *arguments), *parts)
    assert files(tmp_path) == before


def test_predict_unknown_categories(run, tmp_path, trained):
    (tmp_path / "new.csv").write_text("Age,Sex,Alone\n22,man,1\n")
    np.savez(tmp_path / "new.npz", X=np.array([[22.0, 0, 0, 1]]))
    model = ["--model", "model", "--data"]
    out = succeeds(run("predict", *model, "new.csv", "--ignore-unknown"))
    assert out == succeeds(run("predict", *model, "new.npz"))


def test_explain_a_row_of_a_table(run, tmp_path, trained):
    (tmp_path / "new.csv").write_text(AGED)
    out = succeeds(run("explain", "--W", "model", "--data", "new.csv", "--row", "2"))
    assert "x[1] Sex=female 1.0" in " ".join(out.split())
    expected = succeeds(run("explain", "--W", "model", "--x", "40.5,1,0,0"))
    assert out == expected
    refuses(run("explain", "--W", "model", "--data", "new.csv", "--row", "3"), "--row", "2 rows")
    refuses(run("explain", "--data", "new.csv"), "--data", "--W")
    (tmp_path / "new.csv").write_text(AGED + "yes,male,9,\n")
    wanted = ("explain", "--W", "model", "--data", "new.csv", "--row", "3")
    refuses(run(*wanted), "line 4", "'Age'", "missing", "--row")


def test_the_command_is_installed():
    from importlib.metadata import entry_points

    from smcore._cli import main

    (script,) = entry_points(group="console_scripts", name="smcore")
    assert script.load() is main
