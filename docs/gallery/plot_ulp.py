"""
Errors over the number of classes, and over the spread of the logits
====================================================================

Errors are in units in the last place (ulp) of float32, the largest of each array, against the same
softmax in float64. The usual formula subtracts the maximum, which rounds: the further the logits
are apart, the more it loses. Its sum drifts with the number of classes. smcore stays below 3 units.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy import special

import smcore


def error(found, x):
    exact = smcore.softmax(x, dtype=np.float64)
    spacing = np.spacing(exact.astype(np.float32)).astype(np.float64)
    return np.max(np.abs(found - exact) / spacing)


def one_after_another(x):  # the formula in a loop over the classes
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / np.add.accumulate(e, axis=-1)[:, -1:]


peers = {
    "summed one by one": one_after_another,
    "SciPy": lambda x: special.softmax(x, axis=-1),
    "smcore": smcore.softmax,
}
colours = {"summed one by one": "C3", "SciPy": "C1", "smcore": "C0"}
rng = np.random.default_rng(0)

# %%
# Some 2¹⁸ normal numbers for each point.

lengths = 2 ** np.arange(1, 19)
spreads = np.geomspace(0.1, 1000, 17)
rows_by_length = [
    (3 * rng.standard_normal((2**18 // length, length))).astype(np.float32) for length in lengths
]
rows_by_spread = [(s * rng.standard_normal((256, 1000))).astype(np.float32) for s in spreads]

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4.2), sharey=True)
for name, softmax in peers.items():
    style = {"color": colours[name], "lw": 2, "marker": "o", "ms": 4, "label": name}
    left.loglog(lengths, [error(softmax(x), x) for x in rows_by_length], **style)
    right.loglog(spreads, [error(softmax(x), x) for x in rows_by_spread], **style)
left.set(xlabel="classes K", ylabel="largest error, ulp", title="logits of spread 3")
right.set(xlabel="spread of the logits", title="1000 classes")
for axis in (left, right):
    axis.axhline(3, color="0.5", ls="--", lw=1)
left.text(2, 3.2, "3 ulp: what is promised", fontsize=9)
left.legend(loc="upper left", bbox_to_anchor=(0, 0.9))
plt.show()
