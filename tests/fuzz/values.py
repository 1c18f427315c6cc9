"""Sizes and numbers that favour borders."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
from truth import format_of

Array = np.ndarray[Any, np.dtype[Any]]

BORDERS = (
    *(1, 2, 3, 4, 5, 6, 7, 8, 9) * 2,
    *(15, 16, 17, 23, 24, 25, 31, 32, 33, 47, 48, 49, 63, 64, 65, 95, 96, 97),
    *(127, 128, 129, 191, 192, 193, 255, 256, 257, 511, 512, 513),
)
LONG = (1023, 1025, 2047, 2048, 2049, 4095, 4096, 4097, 8191, 8193, 16385, 32769, 65535, 65537)
VERY_LONG = (131_071, 131_073, 196_613, 262_145, 524_289)


def draw_sizes(draw: random.Random, budget: int) -> tuple[int, int]:
    """The number of rows and of classes, of at most so many elements in all."""
    most = budget if draw.random() < 0.1 else min(budget, 4000)
    pick = draw.random()
    if most > 4000 and pick < 0.5:
        k = draw.choice([long for long in (*LONG, *VERY_LONG) if long <= most] or [1025])
    else:
        k = draw.choice(BORDERS) if pick < 0.9 else draw.randrange(1, 1200)
    n = draw.choice((1, 1, 2, 3, 5, *BORDERS, draw.randrange(1, 300)))
    if most > 4000 and draw.random() < 0.5:
        n = draw.randrange(1, 1 + most // k)
    return max(1, min(n, most // k)), k


def largest(dtype: np.dtype[Any]) -> float:
    """The largest number, or just below it."""
    form = format_of(dtype)
    return float((2 - 2.0 ** (1 - form.bits)) * 2.0 ** (form.highest - 1))


def draw_logits(draw: random.Random, dtype: np.dtype[Any], n: int, k: int) -> tuple[str, Array]:
    """Rows of one kind; and its name."""
    rng = np.random.default_rng(draw.getrandbits(64))
    kind = draw.choice(KINDS)
    spread = draw.choice((0.1, 1, 3, 10, 30, 100, 300, 1000))
    offset = draw.choice((0, 0, 0, 255, -257, 2047, -2049, 1e5, -1e5))
    big = largest(dtype)
    x = rng.standard_normal((n, k)) * spread + offset
    match kind:
        case "peaked":
            x[np.arange(n), rng.integers(k, size=n)] += draw.choice((5, 20, 60, 100, 700))
        case "ties":
            x = rng.integers(-2, 3, (n, k)) * float(draw.choice((1, 1, 40, 0.125))) + offset
        case "constant":
            x = np.full((n, k), draw.choice((0.0, 0.3, -700.0, big, -big, offset)))
        case "ramp":
            deep = draw.choice((10, 104, 745, 3000))
            x = np.linspace(-deep, 0, k) * draw.choice((1, -1)) + x / 100
        case "largest":
            x = rng.choice((big, -big, big / 2, 0.0, big * 0.999), (n, k))
        case "subnormal":
            least = 2.0 ** max(format_of(dtype).lowest, -1074)
            x = rng.integers(-9, 10, (n, k)) * least * draw.choice((1, 2.0**9))
    x = np.clip(x, -big, big)
    with np.errstate(all="ignore"):
        if draw.random() < 0.2:
            x[rng.random((n, k)) < draw.choice((0.05, 0.5, 0.95))] = -np.inf
            kind += ", holes"
        if draw.random() < 0.15:
            for _ in range(draw.randrange(1, 4)):
                value = draw.choice((np.nan, np.inf, -np.inf))
                whole = draw.random() < 0.2
                x[draw.randrange(n), slice(None) if whole else draw.randrange(k)] = value
            kind += ", no numbers"
        return f"{kind} (spread {spread}, offset {offset})", x.astype(dtype)


KINDS = ("normal",) * 6 + ("peaked", "peaked", "ties", "constant", "ramp", "largest", "subnormal")

SCALES = (
    *(0.3, -1.0, -37.5, 1000.0, 0.0, -0.0, 1e-46, 5e-324, 1e-320, -1e-310, 1e-60, 1e-39),
    *(19999999.0, 3.3e15, 1e20, -1.7e38, 3.4e38, 1e45, -1e80, 1e160, 1e300, 1.7e308),
)


def draw_scale(draw: random.Random) -> float:
    """Any double, but often one."""
    pick = draw.random()
    if pick < 0.5:
        return 1.0
    if pick < 0.6:
        return draw.choice((-1, 1)) * 10 ** draw.uniform(-50, 50)
    return draw.choice(SCALES)


def draw_scaled(draw: random.Random, x: Array, scale: float) -> Array:
    """The logits, or those that are what these are once they are scaled."""
    if scale in (0.0, 1.0) or draw.random() < 0.5:
        return x
    most = largest(x.dtype)
    with np.errstate(all="ignore"):
        wide = x.astype(np.float64)
        divided = np.where(np.isfinite(wide), np.clip(wide / scale, -most, most), wide)
        return divided.astype(x.dtype)


def draw_directions(draw: random.Random, dtype: np.dtype[Any], n: int, k: int) -> Array:
    """What a Jacobian is multiplied by."""
    rng = np.random.default_rng(draw.getrandbits(64))
    g = rng.standard_normal((n, k))
    match draw.choice(
        ("normal", "normal", "offset", "one-hot", "outlier", "large", "small", "NaN")
    ):
        case "offset":
            g += 10
        case "one-hot":
            g = np.eye(k)[rng.integers(k, size=n)] if k <= 1200 else g
        case "outlier":
            g[:, k // 2] *= 1000
        case "large":
            g *= largest(dtype) / (64 * k)
        case "small":
            g *= 2.0 ** max(format_of(dtype).lowest // 2, -500)
        case "NaN":
            g[draw.randrange(n), draw.randrange(k)] = draw.choice((np.nan, np.inf))
    with np.errstate(all="ignore"):
        return g.astype(dtype)


def rounded(values: Array, dtype: np.dtype[Any]) -> Array:
    """To the nearest numbers of that dtype."""
    with np.errstate(all="ignore"):
        if dtype.itemsize == 2:
            values = values.astype(np.float64)
        return values.astype(dtype)
