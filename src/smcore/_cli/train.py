"""``python -m smcore train``: fit a softmax classifier, time it beside NumPy and SciPy."""

from __future__ import annotations

import argparse
import csv
import io
import sys
import time
from collections.abc import Sequence
from statistics import median

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from sklearn.metrics import confusion_matrix

import smcore

from . import data, output
from .data import Dataset, Split
from .report import Report, draw
from .sgd import Model, Scores, Settings, make_models, train


def run(arguments: argparse.Namespace) -> None:
    """Carry out the command: read, train, print, and write when all went well."""
    output.check_directory(arguments.out)
    dataset = data.load(arguments.data, arguments.target)
    split = data.split(dataset, arguments.seed, arguments.dtype)
    settings = Settings(**{name: getattr(arguments, name) for name in Settings.__annotations__})
    _print_task(dataset, split, settings)
    models = make_models(split, len(dataset.classes))
    history = _train_with_progress(models, split, settings)
    _print_history(models, history)
    _print_summary(models, history, split)
    paths = output.write_files(
        arguments.out,
        {
            "weights.npz": _weights_file(models[0], dataset, split),
            "history.csv": _history_file(models, history),
            "report.png": draw(_report(models[0], history, dataset, split)),
        },
    )
    print("\nWritten:", *paths, sep="\n  ")


def _train_with_progress(models: Sequence[Model], split: Split, settings: Settings) -> list[Scores]:
    """Train behind a bar on stderr, which is drawn between epochs so as not to be timed."""
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
    log_s = smcore.log_softmax(split.X_test @ model.W + model.b)
    entropy = -(np.exp(log_s) * log_s).sum(axis=1)
    chosen = int(entropy.argmax())
    s = smcore.softmax_layer(split.X_test[chosen], model.W, model.b)
    labels = np.arange(len(dataset.classes))
    return Report(
        classes=[str(label) for label in dataset.classes],
        features=dataset.features,
        image_shape=dataset.image_shape,
        train_loss=[scores.train_loss for scores in history],
        test_loss=[scores.test_loss for scores in history],
        test_accuracy=history[-1].test_accuracy,
        confusion=confusion_matrix(split.y_test, log_s.argmax(axis=1), labels=labels),
        weights=model.W,
        row=split.X_test[chosen] * split.scale + split.mean,
        row_class=int(split.y_test[chosen]),
        probabilities=s,
        jacobian=smcore.softmax_jacobian(s),
    )


def _weights_file(model: Model, dataset: Dataset, split: Split) -> bytes:
    buffer = io.BytesIO()
    np.savez(
        buffer,
        W=model.W,
        b=model.b,
        classes=dataset.classes,
        features=np.array(dataset.features, dtype=np.str_),
        mean=split.mean,
        scale=split.scale,
    )
    return buffer.getvalue()


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
    n_classes = len(dataset.classes)
    print(
        f"data      {dataset.source}: {n_rows} rows, {n_features} features, {n_classes} classes\n"
        f"split     {len(split.y_train)} rows to train, {len(split.y_test)} held out for the test\n"
        f"training  lr {settings.lr:g}, momentum {settings.momentum:g}, l2 {settings.l2:g}, "
        f"batches of {settings.batch_size}, seed {settings.seed}\n"
        f"smcore    {smcore.__version__}, backend {smcore.backend()}, {split.X_train.dtype}"
    )


def _print_history(models: Sequence[Model], history: Sequence[Scores]) -> None:
    columns = ["epoch", "train\nloss", "train\nacc.", "test\nloss", "test\nacc."]
    table = _table(columns + [f"{model.name}\nms" for model in models])
    for i, scores in enumerate(history):
        table.add_row(
            str(i + 1),
            f"{scores.train_loss:.4f}",
            f"{scores.train_accuracy:.1%}",
            f"{scores.test_loss:.4f}",
            f"{scores.test_accuracy:.1%}",
            *(f"{1e3 * model.seconds[i]:.2f}" for model in models),
        )
    Console().print(table)


def _print_summary(models: Sequence[Model], history: Sequence[Scores], split: Split) -> None:
    n_test = len(split.y_test)
    accuracy = history[-1].test_accuracy
    print(f"Test accuracy {accuracy:.1%}: {round(accuracy * n_test)} of {n_test} held-out rows.\n")
    print("One epoch of the same loop on the same batches, with loss and gradient from:")
    table = _table(["", "min ms", "median ms", "min / smcore", "weights differ by"])
    base = models[0]
    for model in models:
        table.add_row(
            model.name,
            f"{1e3 * min(model.seconds):.2f}",
            f"{1e3 * median(model.seconds):.2f}",
            f"{min(model.seconds) / min(base.seconds):.2f}",
            "" if model is base else f"{np.abs(model.W - base.W).max():.1e}",
        )
    Console().print(table)


def _table(columns: Sequence[str]) -> Table:
    table = Table(box=SIMPLE_HEAD)
    for column in columns:
        table.add_column(column, justify="right")
    return table
