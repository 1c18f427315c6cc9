"""The picture of a training: names that differ, and lie apart."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import smcore


def report_of(K, J, classes=None, features=None, n=200):
    """What is drawn of a model of K classes and J features."""
    pytest.importorskip("matplotlib")
    from smcore._cli import report
    from smcore._cli.sgd import Scores

    rng = np.random.default_rng(K + J)
    true = rng.integers(0, K, n)
    return report.Report(
        classes=classes or [f"class {k}" for k in range(K)],
        features=features or [f"feature {j}" for j in range(J)],
        image_shape=None,
        history=[Scores(0.5 / e, 0.8, 0.6 / e, 0.7) for e in range(1, 5)],
        true=true,
        predicted=np.where(rng.random(n) < 0.7, true, rng.integers(0, K, n)),
        weights=rng.standard_normal((J, K)),
        row=rng.standard_normal(J),
        row_class=K - 1,
        probabilities=smcore.softmax(rng.standard_normal(K)),
    )


LONG = [f"the length of segment {i} of the leaf, in millimetres" for i in range(38)]


@pytest.mark.parametrize(
    "K, J, names",
    [(2, 4, None), (10, 64, None), (38, 38, LONG), (491, 5000, None)],
    ids=["few", "some", "long names", "many"],
)
def test_names_in_the_picture_differ_and_lie_apart(K, J, names):
    report = report_of(K, J, names, names and list(names))
    import matplotlib

    from smcore._cli.report import SETTINGS, _figure

    with matplotlib.rc_context(SETTINGS):
        figure = _figure(report)
        figure.draw_without_rendering()
    named = 0
    for axes in figure.axes:
        for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
            boxes = [label.get_window_extent() for label in labels if label.get_text()]
            texts = [label.get_text() for label in labels if label.get_text()]
            assert len(set(texts)) == len(texts)
            named += len(texts) > 1
            for one, other in itertools.pairwise(boxes):
                assert not one.overlaps(other), texts
        if axes.images:
            texts = [text for text in axes.texts if text.get_visible()]
            boxes = [text.get_window_extent() for text in texts]
            for one, other in itertools.pairwise(boxes):
                assert not one.overlaps(other)
        assert all(image.get_interpolation() == "nearest" for image in axes.images)
    assert named >= 8


def test_names_that_no_font_has_are_escaped(monkeypatch):
    report = report_of(2, 2, ["花", "\ue000\n"], ["$x^2$", "\ue001"])
    from smcore._cli.lettering import fonts_for
    from smcore._cli.report import draw

    picture, note = draw(report)
    assert picture.startswith(b"\x89PNG") and "such as '\\n'" in note
    assert fonts_for(["a", "ä"]) == (["DejaVu Sans"], set())


@pytest.mark.parametrize(
    "names, expected",
    [
        (["sepal length (cm)", "sepal width (cm)"], ["sepal leng…", "sepal widt…"]),
        (["the same start 1", "the same start 2"], ["the s…tart 1", "the s…tart 2"]),
        (["short", "a"], ["short", "a"]),
        (["花弁の長さと幅一", "花弁の長さと幅二"], ["花弁…と幅一", "花弁…と幅二"]),
    ],
)
def test_names_are_cut_where_they_are_alike(names, expected):
    pytest.importorskip("matplotlib")
    from smcore._cli.lettering import shortened, width

    short = shortened(names, 12)
    assert all(width(name) <= 12 for name in short) and len(set(short)) == len(names)
    assert short[0][:2] == expected[0][:2]


def test_names_that_differ_in_the_middle_alone_are_numbered():
    pytest.importorskip("matplotlib")
    from smcore._cli.lettering import shortened, width

    names = [f"{'a' * 30}{i}{'b' * 30}" for i in range(12)]
    short = shortened(names, 12)
    assert len(set(short)) == 12 and all(width(name) <= 12 for name in short)
