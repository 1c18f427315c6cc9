"""``smcore train``: fit a softmax classifier; on request, time it beside NumPy and SciPy."""

from __future__ import annotations

import argparse
import csv
import importlib.util
import io
import sys
import time
from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

import smcore

from . import data, output
from .data import Choice, Dataset, Split
from .errors import not_installed
from .model import FILE_NAME, TrainedModel
from .progress import loading
from .sgd import Model, Scores, Settings, make_models, train

if TYPE_CHECKING:
    from .report import Report

PACKAGES = {"matplotlib": "matplotlib", "rich": "rich", "sklearn": "scikit-learn"}
FILES = (FILE_NAME, "history.csv", "report.png")
RISE = 1.05  # of the test loss above its lowest: a smaller one is no news


def run(arguments: argparse.Namespace, choice: Choice) -> None:
    """Carry out the command: read, train, print, and write when all went well.

    What can be wrong with the request is found before anything large is imported.
    """
    for module, package in PACKAGES.items():
        if importlib.util.find_spec(module) is None:
            raise not_installed(package, "demo")
    output.check_directory(arguments.out, FILES)
    with loading(arguments.data) as progress:
        dataset = data.load(arguments.data, choice, progress)
    settings = Settings(**{name: getattr(arguments, name) for name in Settings.__annotations__})
    split = data.split(dataset, arguments.seed, arguments.dtype)
    _print_task(dataset, split, settings)
    models = make_models(split, len(dataset.classes), arguments.compare)
    history = _train_with_progress(models, split, settings)
    _print_history(models, history)
    _print_summary(models, history, split)
    from .report import draw

    picture, note = draw(_report(models[0], history, dataset, split))
    if note:
        print(f"note: {note}")
    model = _trained(models[0], dataset, split).to_bytes()
    contents = [model, _history_file(models, history), picture]
    paths = output.write_files(arguments.out, dict(zip(FILES, contents, strict=True)))
    print("\nWritten:", *paths, sep="\n  ")
    if arguments.data is not None:
        print(f"\nTo classify other rows: smcore predict --model {arguments.out} --data FILE")


def _train_with_progress(models: Sequence[Model], split: Split, settings: Settings) -> list[Scores]:
    """Train behind a bar on stderr, which is drawn between epochs so as not to be timed."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    history: list[Scores] = []
    drawn = time.monotonic()
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        auto_refresh=False,
        transient=True,
        disable=not sys.stderr.isatty(),
    ) as progress:
        task = progress.add_task("training", total=settings.epochs)
        progress.refresh()
        for scores in train(models, split, settings):
            history.append(scores)
            text = f"train loss {scores.train_loss:.4f}, test accuracy {scores.test_accuracy:.1%}"
            progress.update(task, advance=1, description=text)
            if time.monotonic() - drawn > 0.1:
                progress.refresh()
                drawn = time.monotonic()
    return history


def _report(model: Model, history: Sequence[Scores], dataset: Dataset, split: Split) -> Report:
    """Collect what the picture shows; the least certain row is that of the highest entropy."""
    from .report import Report

    log_s = smcore.log_softmax(split.X_test @ model.W + model.b)
    entropy = -(np.exp(log_s) * log_s).sum(axis=1)
    chosen = int(entropy.argmax())
    return Report(
        classes=[str(label) for label in dataset.classes],
        features=dataset.features,
        image_shape=dataset.image_shape,
        history=history,
        true=split.y_test,
        predicted=log_s.argmax(axis=1),
        weights=model.W,
        row=split.X_test[chosen] * split.scale + split.mean,
        row_class=int(split.y_test[chosen]),
        probabilities=smcore.softmax_layer(split.X_test[chosen], model.W, model.b),
    )


def _trained(model: Model, dataset: Dataset, split: Split) -> TrainedModel:
    return TrainedModel(
        W=model.W,
        b=model.b,
        mean=split.mean,
        scale=split.scale,
        classes=dataset.classes,
        columns=dataset.columns,
        target=dataset.target,
    )


def _history_file(models: Sequence[Model], history: Sequence[Scores]) -> bytes:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    times = [f"{model.name.lower()}_ms" for model in models]
    writer.writerow(["epoch", *Scores.__annotations__, *times])
    for i, scores in enumerate(history):
        writer.writerow([i + 1, *vars(scores).values(), *(1e3 * m.seconds[i] for m in models)])
    return buffer.getvalue().encode()


def _print_task(dataset: Dataset, split: Split, settings: Settings) -> None:
    n_rows, n_features = dataset.X.shape
    n_columns = len(dataset.columns)
    made_of = f" of {n_columns} columns" if n_columns < n_features else ""
    for note in dataset.notes:
        print(f"note      {note}")
    print(
        f"data      {dataset.source}: {n_rows} rows, "
        f"{n_features} feature{'s' * (n_features > 1)}{made_of}, "
        f"{len(dataset.classes)} classes\n"
        f"split     {len(split.y_train)} rows to train, {len(split.y_test)} held out for the test\n"
        f"training  lr {settings.lr:g}, momentum {settings.momentum:g}, l2 {settings.l2:g}, "
        f"batches of {settings.batch_size}, seed {settings.seed}\n"
        f"smcore    {smcore.__version__}, backend {smcore.backend()}, {split.X_train.dtype}"
    )


def _print_history(models: Sequence[Model], history: Sequence[Scores]) -> None:
    columns = ["epoch", "train\nloss", "train\nacc.", "test\nloss", "test\nacc."]
    rows = [
        [
            str(i + 1),
            f"{scores.train_loss:.4f}",
            f"{scores.train_accuracy:.1%}",
            f"{scores.test_loss:.4f}",
            f"{scores.test_accuracy:.1%}",
            *(f"{1e3 * model.seconds[i]:.2f}" for model in models),
        ]
        for i, scores in enumerate(history)
    ]
    _print_table(columns + [f"{model.name}\nms" for model in models], rows)


def _print_summary(models: Sequence[Model], history: Sequence[Scores], split: Split) -> None:
    n_test = len(split.y_test)
    accuracy = history[-1].test_accuracy
    print(f"Test accuracy {accuracy:.1%}: {round(accuracy * n_test)} of {n_test} held-out rows.")
    losses = [scores.test_loss for scores in history]
    best = int(np.argmin(losses))
    if losses[-1] > RISE * losses[best]:
        print(
            f"note: the test loss was lowest after epoch {best + 1} ({losses[best]:.4f}) and has "
            f"risen to {losses[-1]:.4f} since: fewer --epochs, a larger --l2 or a smaller --lr "
            "may serve better"
        )
    if len(models) > 1:
        _print_comparison(models)


def _print_comparison(models: Sequence[Model]) -> None:
    print("\nOne epoch of the same loop on the same batches, with loss and gradient from:")
    base = models[0]
    rows = [
        [
            model.name,
            f"{1e3 * min(model.seconds):.2f}",
            f"{1e3 * median(model.seconds):.2f}",
            f"{min(model.seconds) / min(base.seconds):.2f}",
            "" if model is base else f"{np.abs(model.W - base.W).max():.1e}",
        ]
        for model in models
    ]
    _print_table(["", "min ms", "median ms", "min / smcore", "weights differ by"], rows)


def _print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD)
    for column in columns:
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(*row)
    Console().print(table)
