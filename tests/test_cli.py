"""The command line, ``info`` and ``explain``: what is printed, and one line on stderr for mistakes.

The commands run in this process, as ``python -m smcore`` would run them; a few run in their own.
"""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from commands import DAMAGED, refuses, succeeds, write_damaged

import smcore

OTHER_BACKEND = {"native": "numpy", "numpy": "native"}[smcore.backend()]


# ---- info, --help, --version ---------------------------------------------------------------------


def test_info_prints_show_config(run, capsys):
    out = succeeds(run("info"))
    smcore.show_config()
    assert capsys.readouterr().out.strip() in out
    assert smcore.backend() in out


def test_version(run):
    assert smcore.__version__ in succeeds(run("--version"))


@pytest.mark.parametrize("command", [[], ["train"], ["predict"], ["explain"], ["info"]])
def test_help(run, command):
    out = succeeds(run(*command, "--help"))
    assert "usage: python -m smcore" in out and "--help" in out
    for option in {
        "train": [
            "--data",
            "--target",
            "--out",
            "--epochs",
            "--lr",
            "--batch-size",
            "--seed",
            "--dtype",
            "--backend",
        ]
    }.get(*command or [""], []):
        assert option in out


def test_no_command_prints_the_help(run):
    assert "usage" in succeeds(run())


@pytest.mark.parametrize(
    "arguments, part",
    [
        (["bogus"], "'bogus'"),
        (["info", "--bogus"], "--bogus"),
        (["info", "extra"], "extra"),
        (["--epochs", "3"], "COMMAND"),
    ],
)
def test_unknown_arguments(run, arguments, part):
    refuses(run(*arguments), part)


def test_as_a_process(environment, tmp_path):
    result = subprocess.run(
        [sys.executable, "-m", "smcore", "info"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert (result.returncode, result.stderr) == (0, "") and smcore.__version__ in result.stdout
    result = subprocess.run(
        [sys.executable, "-m", "smcore", "explain", "--x=nonsense"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 2 and result.stdout == ""
    assert result.stderr.count("\n") == 1 and "Traceback" not in result.stderr


# ---- explain -------------------------------------------------------------------------------------


def test_explain_prints_the_worked_example(run):
    out = succeeds(run("explain"))
    for number in ("0.354", "0.418", "0.482", "0.546", "0.16"):  # Z
        assert number in out
    for number in ("0.19091352", "0.20353145", "0.21698333", "0.23132428", "0.15724743"):  # h
        assert number in out
    assert out.count("0.15446555") >= 1  # dS/dZ
    assert (
        out.count("-0.02200855") == 0 and out.count("0.07723277") == 2
    )  # the product and the shortcut
    assert "softmax_layer_jacobian" in out and "linear_weight_jacobian" in out


def test_explain_the_users_own_layer(run):
    out = succeeds(run("explain", "--W", "1,2,0;0,1,1", "--x=-1,0.5", "--b", "0,0,1"))
    h = smcore.softmax_layer([-1, 0.5], [[1, 2, 0], [0, 1, 1]], [0, 0, 1])
    for value in h:
        assert f"{value:.8f}" in out


def test_explain_arrays_from_files(run, tmp_path):
    W, x = np.array([[1.0, 2, 0], [0, 1, 1]]), np.array([-1, 0.5])
    expected = succeeds(run("explain", "--W", "1,2,0;0,1,1", "--x=-1,0.5"))
    np.savetxt(tmp_path / "W.csv", W, delimiter=",")
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "both.npz", W=W, x=x)
    assert succeeds(run("explain", "--W", "W.csv", "--x", "x.npy")) == expected
    assert succeeds(run("explain", "--W", "both.npz", "--x", "both.npz")) == expected


BAD_EXPLAIN = [
    (["--W", "1,2;3"], "--W", "row 2"),
    (["--W", "1,a"], "--W", "'a'"),
    (["--W", "1,nan"], "--W", "nan"),
    (["--W", ""], "--W"),
    (["--x", "1,2"], "--x", "2", "3"),
    (["--x", "1,inf,2"], "--x", "inf"),
    (["--x", "1,2;3,4"], "--x", "(2, 2)"),
    (["--b", "1,2"], "--b", "2", "5"),
    (["--W", "missing.csv"], "--W", "missing.csv"),
    (["--W", "missing.npy"], "--W", "missing.npy"),
    (["--x", "missing.npz"], "--x", "missing.npz"),
    (["--x"], "--x"),
    (["--W", "1,2;3,4"], "--x", "is wanted with --W", "2 numbers"),
]


@pytest.mark.parametrize("arguments, parts", [(a, p) for a, *p in BAD_EXPLAIN])
def test_explain_refuses(run, arguments, parts):
    refuses(run("explain", *arguments), *parts)


@pytest.fixture
def model(tmp_path):
    """A layer with all that train stores beside it, and what is made of a row."""
    arrays = {
        "W": np.array([[1.0, -1, 0], [0, 2, -2]]),
        "b": np.array([0.5, 0, -0.5]),
        "mean": np.array([5.0, -3]),
        "scale": np.array([0.5, 4]),
        "features": np.array(["length of the petal", "width"]),
        "classes": np.array(["rose", "lily", "iris"]),
    }
    np.savez(tmp_path / "model.npz", **arrays)
    return arrays


def test_explain_standardises_as_train_did(run, model):
    row = [5.5, 1.0]
    h = smcore.softmax_layer((row - model["mean"]) / model["scale"], model["W"], model["b"])
    out = succeeds(run("explain", "--W", "model.npz", "--x", "5.5,1"))
    for i, name in enumerate(model["classes"]):
        assert f"S[{i}] {name} {h[i]:.8f}" in out
    assert f"most probable class is {model['classes'][h.argmax()]}, at {h.max():.1%}" in out
    assert "x[0] length of the petal 5.5 5.0 0.5 1.0" in " ".join(out.split())
    assert "(rose)" in out  # the class that the loss takes for the right one


@pytest.mark.parametrize(
    "name, value, parts",
    [
        ("mean", np.zeros(3), ("'mean'", "3", "2")),
        ("scale", np.array([1.0, 0]), ("'scale'", "0")),
        ("scale", np.array([1.0, np.nan]), ("'scale'", "nan")),
        ("b", np.zeros(2), ("'b'", "2", "3")),
        ("classes", np.array(["rose"]), ("'classes'", "(1,)", "(3,)")),
        ("features", np.array([["a", "b"]]), ("'features'", "(1, 2)", "(2,)")),
        ("mean", np.array(["a", "b"]), ("'mean'", "U1")),
    ],
)
def test_explain_refuses_what_does_not_fit_the_weights(run, model, tmp_path, name, value, parts):
    np.savez(tmp_path / "model.npz", **{**model, name: value})
    refuses(run("explain", "--W", "model.npz", "--x", "1,2"), "model.npz", *parts)


@pytest.mark.usefixtures("demo")
def test_explain_a_row_of_the_data(run, tmp_path):
    """From the table to the class, by the files alone: what the model itself says."""
    from sklearn.datasets import load_iris

    iris = load_iris()
    lines = [",".join([*iris.feature_names, "species"])]
    names = iris.target_names[iris.target]
    lines += [f"{','.join(map(str, r))},{c}" for r, c in zip(iris.data, names, strict=True)]
    (tmp_path / "iris.csv").write_text("\n".join(lines))
    succeeds(run("train", "--data", "iris.csv", "--target", "species", "--epochs", "5"))
    with np.load(tmp_path / "smcore-train/weights.npz") as model:
        standardised = (iris.data - model["mean"]) / model["scale"]
        s = smcore.softmax_layer(standardised, *(model[name].astype(float) for name in "Wb"))
        classes = model["classes"]
    for row in (0, 60, 140):
        text = ",".join(map(str, iris.data[row]))
        out = succeeds(run("explain", "--W", "smcore-train/weights.npz", "--x", text))
        best = s[row].argmax()
        assert f"The most probable class is {classes[best]}, at {s[row, best]:.1%}." in out
        for name in iris.feature_names:
            assert name in out


@pytest.mark.parametrize("header", DAMAGED.values(), ids=DAMAGED)
def test_explain_refuses_a_damaged_file(run, tmp_path, header):
    write_damaged(tmp_path / "bad.npz", header)
    refuses(run("explain", "--W", "bad.npz", "--x", "1"), "--W", "bad.npz")
