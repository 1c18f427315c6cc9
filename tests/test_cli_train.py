"""``train``: what it prints and writes, and one line on stderr for every mistake."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import DAMAGED, files, flowers, refuses, succeeds, write_csv, write_damaged

import smcore

OTHER_BACKEND = {"native": "numpy", "numpy": "native"}[smcore.backend()]


@pytest.mark.usefixtures("demo")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_train_on_the_users_csv(run, tmp_path, dtype):
    write_csv(tmp_path / "flowers.csv")
    out = succeeds(
        run(
            "train",
            "--data",
            "flowers.csv",
            "--target",
            "species",
            "--epochs",
            "3",
            "--out",
            "model",
            "--dtype",
            dtype,
            "--seed",
            "7",
        )
    )
    assert {"model/weights.npz", "model/report.png"} <= files(tmp_path)
    assert (tmp_path / "model/report.png").read_bytes().startswith(b"\x89PNG")
    with np.load(tmp_path / "model/weights.npz") as model:
        W, b, classes, mean, scale = (
            model[name] for name in ("W", "b", "classes", "mean", "scale")
        )
    assert W.shape == (2, 3) and b.shape == (3,) and W.dtype == dtype
    assert sorted(classes) == ["iris", "lily", "rose"]
    names, X, y = flowers()
    guess = classes[np.argmax(smcore.softmax_layer((X - mean) / scale, W, b), -1)]
    assert (guess == np.array(names)[y]).mean() > 0.95
    assert "loss" in out and "accuracy" in out


@pytest.mark.usefixtures("demo")
def test_train_on_an_npz_is_the_same(run, tmp_path):
    _, X, y = flowers()
    np.savez(tmp_path / "flowers.npz", X=X, species=y)
    for out in ("one", "two"):
        succeeds(
            run(
                "train",
                "--data",
                "flowers.npz",
                "--target",
                "species",
                "--epochs",
                "2",
                "--out",
                out,
            )
        )
    one, two = (np.load(tmp_path / out / "weights.npz") for out in ("one", "two"))
    with one, two:
        np.testing.assert_array_equal(one["W"], two["W"])
        assert one["classes"].tolist() == [0, 1, 2]


@pytest.mark.usefixtures("demo")
def test_train_on_the_digits(run, tmp_path):
    """Two epochs are enough to see it learn; thirty reach the accuracy promised."""
    out = succeeds(run("train", "--epochs", "2"))
    assert {"smcore-train/weights.npz", "smcore-train/report.png"} <= files(tmp_path)
    with np.load(tmp_path / "smcore-train/weights.npz") as model:
        assert model["W"].shape == (64, 10)
    assert "Test accuracy" in out and "NumPy" not in out


@pytest.mark.usefixtures("demo")
def test_train_with_the_numpy_backend(environment, tmp_path):
    write_csv(tmp_path / "flowers.csv")
    command = [
        sys.executable,
        "-m",
        "smcore",
        "train",
        "--data",
        "flowers.csv",
        "--target",
        "species",
        "--epochs",
        "2",
        "--backend",
        "numpy",
    ]
    result = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")
    assert "smcore-train/weights.npz" in files(tmp_path)


@pytest.mark.usefixtures("demo")
@pytest.mark.skipif(OTHER_BACKEND == "numpy", reason="the native backend can be had")
def test_backend_that_cannot_be_had(environment, tmp_path):
    code = "import sys; sys.modules['smcore._core'] = None"
    (tmp_path / "sitecustomize.py").write_text(code)
    command = [sys.executable, "-m", "smcore", "info", "--backend", "native"]
    paths = filter(None, [str(tmp_path), environment.get("PYTHONPATH")])
    forced = {**environment, "PYTHONPATH": os.pathsep.join(paths)}
    result = subprocess.run(command, env=forced, cwd=tmp_path, capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.count("\n") == 1 and "native" in result.stderr


DATA = ["--data", "flowers.csv", "--target", "species"]
BAD_TRAIN = {
    "no such file": (None, ["--data", "missing.csv", "--target", "species"], ("missing.csv",)),
    "a directory": (None, ["--data", ".", "--target", "species"], ()),
    "another format": (
        {},
        ["--data", "flowers.xlsx", "--target", "species"],
        ("flowers.xlsx", ".csv", ".parquet"),
    ),
    "no such column": (
        {},
        ["--data", "flowers.csv", "--target", "color"],
        ("flowers.csv", "'color'", "'species'"),
    ),
    "no target": ({}, ["--data", "flowers.csv"], ("--target",)),
    "target without data": (None, ["--target", "species"], ("--data",)),
    "text in a number": (
        {4: "1.0,rose,tall"},
        DATA,
        ("flowers.csv", "line 4", "'height'", "'tall'"),
    ),
    "NaN": ({9: "1.0,rose,nan"}, DATA, ("flowers.csv", "line 9", "'height'", "missing")),
    "infinity": ({9: "inf,rose,1"}, DATA, ("flowers.csv", "line 9", "'width'", "infinite")),
    "empty cell": ({9: ",rose,1"}, DATA, ("flowers.csv", "line 9", "'width'", "missing")),
    "empty label": ({9: "1,,1"}, DATA, ("flowers.csv", "line 9", "'species'", "missing")),
    "too few cells": ({9: "1,rose"}, DATA, ("flowers.csv", "line 9", "2", "3")),
    "too many cells": ({9: "1,rose,1,1"}, DATA, ("flowers.csv", "line 9", "4", "3")),
    "column twice": ({1: "width,species,width"}, DATA, ("flowers.csv", "line 1", "'width'")),
    "a class of one": ({9: "1,tulip,1"}, DATA, ("flowers.csv", "line 9", "'tulip'")),
    "target alone": ({}, ["--data", "lone.csv", "--target", "species"], ("lone.csv", "species")),
    "one class": (
        {},
        ["--data", "single.csv", "--target", "species"],
        ("single.csv", "'rose'", "two"),
    ),
    "no rows": ({}, ["--data", "header.csv", "--target", "species"], ("header.csv", "no rows")),
    "empty file": ({}, ["--data", "empty.csv", "--target", "species"], ("empty.csv", "empty")),
    "not text": ({}, ["--data", "binary.csv", "--target", "species"], ("binary.csv",)),
    "not an archive": ({}, ["--data", "text.npz", "--target", "y"], ("text.npz",)),
    "no such array": ({}, ["--data", "arrays.npz", "--target", "z"], ("arrays.npz", "'z'", "'y'")),
    "NaN in an array": (
        {},
        ["--data", "nan.npz", "--target", "y"],
        ("nan.npz", "'X'", "NaN", "1, 0"),
    ),
    "text in an array": (
        {},
        ["--data", "letters.npz", "--target", "y"],
        ("letters.npz", "'X'", "U1"),
    ),
    "lengths differ": (
        {},
        ["--data", "lengths.npz", "--target", "y"],
        ("lengths.npz", "'y'", "(5,)", "6"),
    ),
    "labels that are no integers any more": (
        {},
        ["--data", "labels.npz", "--target", "y"],
        ("labels.npz", "'y'", "[1]", "1e+19"),
    ),
    "no epochs": ({}, [*DATA, "--epochs", "0"], ("--epochs", "'0'")),
    "half an epoch": ({}, [*DATA, "--epochs", "0.5"], ("--epochs", "'0.5'")),
    "rate of zero": ({}, [*DATA, "--lr", "0"], ("--lr", "'0'")),
    "rate that is not a number": ({}, [*DATA, "--lr", "nan"], ("--lr", "'nan'")),
    "batch of none": ({}, [*DATA, "--batch-size", "0"], ("--batch-size", "'0'")),
    "negative seed": ({}, [*DATA, "--seed", "-1"], ("--seed", "'-1'")),
    "unknown dtype": ({}, [*DATA, "--dtype", "int8"], ("--dtype", "'int8'", "float32")),
    "unknown backend": ({}, [*DATA, "--backend", "cuda"], ("--backend", "'cuda'", "numpy")),
    "out is a file": ({}, [*DATA, "--out", "flowers.csv"], ("--out", "flowers.csv")),
}


def write_bad_files(directory: Path) -> None:
    _, X, y = flowers(6)
    (directory / "flowers.xlsx").write_text("x")
    (directory / "lone.csv").write_text("species\nrose\nlily\n")
    (directory / "single.csv").write_text("width,species\n" + "1,rose\n" * 6)
    (directory / "header.csv").write_text("width,species\n")
    (directory / "empty.csv").write_text("")
    (directory / "binary.csv").write_bytes(b"width,species\n\xff\xfe,rose\n")
    (directory / "text.npz").write_text("width,species\n")
    np.savez(directory / "arrays.npz", X=X, y=y)
    np.savez(directory / "nan.npz", X=np.where(np.arange(6)[:, None] == 1, np.nan, X), y=y)
    np.savez(directory / "letters.npz", X=np.full((6, 2), "a"), y=y)
    np.savez(directory / "lengths.npz", X=X, y=y[:5])
    np.savez(directory / "labels.npz", X=X, y=np.array([1.0, 1e19, 2e19] * 2))


@pytest.mark.usefixtures("demo")
@pytest.mark.parametrize("case", BAD_TRAIN)
def test_train_refuses(run, tmp_path, case):
    lines, arguments, parts = BAD_TRAIN[case]
    if lines is not None:
        write_csv(
            tmp_path / "flowers.csv",
            {n: line for n, line in lines.items() if n > 1},
            lines.get(1, "width,species,height"),
        )
        write_bad_files(tmp_path)
    before = {name: (tmp_path / name).read_bytes() for name in files(tmp_path)}
    refuses(
        run("train", *arguments, *([] if "--epochs" in arguments else ["--epochs", "2"])), *parts
    )
    assert {name: (tmp_path / name).read_bytes() for name in files(tmp_path)} == before


@pytest.mark.parametrize("package", ["sklearn", "matplotlib", "rich"])
def test_train_without_a_package_it_needs(environment, tmp_path, package):
    code = f"""
import runpy, sys
sys.modules[{package!r}] = None
sys.argv = ["smcore", "train"]
runpy.run_module("smcore", run_name="__main__")
"""
    result = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True
    )
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.count("\n") == 1 and "[demo]" in result.stderr
    assert files(tmp_path) == set()


@pytest.mark.usefixtures("demo")
def test_train_beside_numpy_and_scipy(run, tmp_path):
    write_csv(tmp_path / "flowers.csv")
    out = succeeds(run("train", *DATA, "--epochs", "2", "--compare"))
    assert "NumPy" in out and "weights differ by" in out
    header = (tmp_path / "smcore-train/history.csv").read_text().splitlines()[0]
    assert header.startswith("epoch,train_loss") and "smcore_ms,numpy_ms" in header


LIGHT = """
import runpy, sys
sys.argv = ["smcore", *sys.argv[1:]]
try:
    runpy.run_module("smcore", run_name="__main__", alter_sys=True)
finally:
    print([name for name in ("sklearn", "scipy", "matplotlib", "rich") if name in sys.modules])
"""


@pytest.mark.usefixtures("demo")
@pytest.mark.parametrize(
    "arguments",
    [
        ["--data", "flower.csv", "--target", "species"],
        ["--data", "flowers.csv", "--target", "specie"],
        ["--data", "flowers.csv", "--target", "species", "--out", "flowers.csv"],
        ["--data", "flowers.csv", "--target", "species", "--out", "full"],
    ],
    ids=["file", "column", "out", "a directory in the place of a file"],
)
def test_mistakes_are_found_before_large_imports(environment, tmp_path, arguments):
    write_csv(tmp_path / "flowers.csv", {60: "1,rose"})  # a fault that reading alone would find
    (tmp_path / "full" / "report.png").mkdir(parents=True)
    result = subprocess.run(
        [sys.executable, "-c", LIGHT, "train", *arguments],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert result.stdout == "[]\n" and result.stderr.count("\n") == 1
    assert "line 60" not in result.stderr


def test_names_nearby_are_told(run, tmp_path):
    write_csv(tmp_path / "flowers.csv")
    for package in ("sklearn", "matplotlib", "rich"):
        pytest.importorskip(package)
    refuses(run("train", "--data", "flower.csv", "--target", "species"), "'flowers.csv'")
    refuses(run("train", "--data", "flowers.csv", "--target", "Species"), "mean 'species'")
    refuses(run("train", "--data", "flowers.csv"), "--target", "'width', 'species', 'height'")


def test_the_note_of_a_rising_loss(capsys):
    pytest.importorskip("rich")
    from smcore._cli import sgd, train

    def summary(*losses):
        history = [sgd.Scores(0.1, 0.9, loss, 0.8) for loss in losses]
        split = argparse.Namespace(y_test=np.zeros(10))
        train._print_summary([None], history, split)
        return capsys.readouterr().out

    assert "after epoch 2 (0.3000)" in summary(0.5, 0.3, 0.4)
    assert "note" not in summary(0.5, 0.4, 0.3) and "note" not in summary(0.5, 0.4, 0.401)


@pytest.mark.usefixtures("demo")
@pytest.mark.parametrize("header", DAMAGED.values(), ids=DAMAGED)
def test_train_refuses_a_damaged_file(run, tmp_path, header):
    write_damaged(tmp_path / "bad.npz", header)
    refuses(run("train", "--data", "bad.npz", "--target", "y"), "bad.npz")
