"""
Rows longer than memory
=======================

A row is read in blocks. :func:`smcore.logsumexp_partial` makes a pair of numbers of each block,
:func:`smcore.logsumexp_merge` joins two pairs, in any order, and :func:`smcore.softmax_from_lse`
turns a block into probabilities. The second number of a pair holds what rounding took from the
first, so that many merges lose no more than a few.
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import smcore

folder = tempfile.TemporaryDirectory()
logits = np.memmap(Path(folder.name) / "logits", np.float32, "w+", shape=(1 << 22,))
rng = np.random.default_rng(0)
for start in range(0, len(logits), 1 << 18):
    logits[start : start + (1 << 18)] = 5 * rng.standard_normal(1 << 18, np.float32) + 1000

# %%
# In how many blocks the row is read hardly matters. ``np.logaddexp``, which rounds each time, loses
# digits with every block.

exact = smcore.logsumexp(np.asarray(logits), dtype=np.float64)
blocks = 4 ** np.arange(1, 8)
merged, rounded = [], []
for count in blocks:
    pair, plain = (np.float32(-np.inf), np.float32(0)), np.float32(-np.inf)
    for block in np.split(logits, count):
        pair = smcore.logsumexp_merge(pair, smcore.logsumexp_partial(block))
        plain = np.logaddexp(plain, smcore.logsumexp(block))
    merged.append(abs(pair[0].astype(float) + pair[1] - exact))
    rounded.append(abs(plain.astype(float) - exact))

figure, axis = plt.subplots()
axis.loglog(blocks, rounded, "C1o-", lw=2, label="np.logaddexp of rounded logsumexps")
axis.loglog(blocks, merged, "C0o-", lw=2, label="logsumexp_merge of pairs")
axis.axhline(np.spacing(np.float32(exact)), color="0.5", ls="--", lw=1)
axis.text(15, np.spacing(np.float32(exact)) * 1.2, "one unit in the last place")
axis.set(xlabel="blocks that the row was read in", ylabel="error of the logsumexp")
axis.legend(loc="upper left")
plt.show()

# %%
# The probabilities, block by block, in place; they sum to 1.

m, rest = pair
total = 0.0
for block in np.split(logits, 64):
    smcore.softmax_from_lse(block, m, rest=rest, out=block)
    total += block.sum(dtype=np.float64)
print(f"sum of 4 194 304 probabilities: {total:.9f}")
del block, logits
folder.cleanup()
