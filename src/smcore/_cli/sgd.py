"""Training by mini-batch SGD with momentum, and the three ways to get loss and gradient."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

import smcore

from .data import Floats, Labels, Split
from .errors import CliError

Batch: TypeAlias = tuple[Floats, Labels]
LossAndGradient: TypeAlias = Callable[[Floats, Labels], tuple[float, Floats]]


def smcore_loss(logits: Floats, y: Labels) -> tuple[float, Floats]:
    """Return the mean cross-entropy and its gradient by the logits, from smcore."""
    loss, gradient = smcore.cross_entropy_with_grad(logits, y)
    return float(loss), gradient


def numpy_loss(logits: Floats, y: Labels) -> tuple[float, Floats]:
    """Return the same by the formulas, as one would write them with NumPy."""
    rows = np.arange(len(y))
    shifted = logits - logits.max(axis=1, keepdims=True)
    gradient = np.exp(shifted)
    total = gradient.sum(axis=1, keepdims=True)
    loss = np.mean(np.log(total[:, 0]) - shifted[rows, y])
    gradient /= total
    gradient[rows, y] -= 1
    gradient /= len(y)
    return float(loss), gradient


def scipy_loss() -> LossAndGradient | None:
    """Return the function that does the same with `scipy.special`, or None without SciPy."""
    try:
        from scipy.special import log_softmax
    except ModuleNotFoundError:
        return None

    def loss_and_gradient(logits: Floats, y: Labels) -> tuple[float, Floats]:
        rows = np.arange(len(y))
        log_s = log_softmax(logits, axis=1)
        loss = -np.mean(log_s[rows, y])
        gradient = np.exp(log_s)
        gradient[rows, y] -= 1
        gradient /= len(y)
        return float(loss), gradient

    return loss_and_gradient


@dataclass(frozen=True)
class Settings:
    """How to train."""

    epochs: int
    lr: float
    batch_size: int
    momentum: float
    l2: float
    seed: int


@dataclass
class Model:
    """A softmax layer in training. All models share the loop; `loss_and_gradient` differs."""

    name: str
    loss_and_gradient: LossAndGradient
    W: Floats
    b: Floats
    seconds: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.W_velocity = np.zeros_like(self.W)
        self.b_velocity = np.zeros_like(self.b)

    def train_epoch(self, batches: Sequence[Batch], settings: Settings) -> float:
        """Take one step for every batch, timed; return the mean loss of the batches."""
        lr, momentum, l2 = settings.lr, settings.momentum, settings.l2
        loss = 0.0
        start = time.perf_counter()
        for X, y in batches:
            batch_loss, dZ = self.loss_and_gradient(X @ self.W + self.b, y)
            loss += batch_loss
            self.W_velocity *= momentum
            self.W_velocity -= lr * (X.T @ dZ + l2 * self.W)
            self.W += self.W_velocity
            self.b_velocity *= momentum
            self.b_velocity -= lr * dZ.sum(axis=0)
            self.b += self.b_velocity
        self.seconds.append(time.perf_counter() - start)
        return loss / len(batches)


@dataclass(frozen=True)
class Scores:
    """Loss and accuracy after an epoch."""

    train_loss: float
    train_accuracy: float
    test_loss: float
    test_accuracy: float


def make_models(split: Split, n_classes: int, compare: bool) -> list[Model]:
    """Make smcore's model, and one for each other way to get the gradient, all of zeros."""
    losses: dict[str, LossAndGradient | None] = {"smcore": smcore_loss}
    if compare:
        losses |= {"NumPy": numpy_loss, "SciPy": scipy_loss()}
    models = []
    for name, loss in losses.items():
        if loss is None:
            continue
        W = np.zeros((split.X_train.shape[1], n_classes), dtype=split.X_train.dtype)
        b = np.zeros(n_classes, dtype=W.dtype)
        loss(split.X_train[:2] @ W + b, split.y_train[:2])  # no first call falls into the timing
        models.append(Model(name, loss, W, b))
    return models


def train(models: Sequence[Model], split: Split, settings: Settings) -> Iterator[Scores]:
    """Train all models on the same batches, in turn; yield the first one's scores every epoch.

    Raises
    ------
    CliError
        The loss is no longer finite.
    """
    rng = np.random.default_rng(settings.seed)
    for epoch in range(1, settings.epochs + 1):
        batches = _batches(split, settings.batch_size, rng)
        # A run that diverges is reported below; the warnings on the way there say less.
        with np.errstate(all="ignore"), _no_garbage_collection():
            losses = [model.train_epoch(batches, settings) for model in _rotated(models, epoch)]
            scores = _evaluate(models[0], split)
        if not all(map(math.isfinite, (*losses, scores.train_loss, scores.test_loss))):
            raise CliError(f"the loss is not finite in epoch {epoch}: try a smaller --lr")
        yield scores


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Keep the collector, whose pauses would hit one model or another, out of the timing."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _rotated(models: Sequence[Model], epoch: int) -> list[Model]:
    """Let every model be the first in turn: what ran before leaves its mark on the timing."""
    first = epoch % len(models)
    return [*models[first:], *models[:first]]


def _batches(split: Split, size: int, rng: np.random.Generator) -> list[Batch]:
    order = rng.permutation(len(split.y_train))
    X, y = split.X_train[order], split.y_train[order]
    return [(X[i : i + size], y[i : i + size]) for i in range(0, len(y), size)]


def _evaluate(model: Model, split: Split) -> Scores:
    def scores(X: Floats, y: Labels) -> tuple[float, float]:
        loss = smcore.linear_cross_entropy(X, model.W, y, model.b)
        predicted = smcore.softmax_layer(X, model.W, model.b).argmax(axis=1)
        return float(loss), float(np.mean(predicted == y))

    return Scores(*scores(split.X_train, split.y_train), *scores(split.X_test, split.y_test))
