"""
The tail of a confident row, in float32
=======================================

A sure prediction has a small loss and a small gradient. Both are differences of numbers near one,
if the formulas are computed as written. smcore sums the other classes without the peak, so that
nothing cancels. The same rows go through SciPy, through PyTorch if it is installed, and through the
formula in NumPy.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy import special

import smcore

try:
    import torch
except ImportError:
    torch = None

gaps = np.linspace(0, 60, 121).astype(np.float32)  # by how much the first of 10 logits leads
x = np.zeros((121, 10), np.float32)
x[:, 0] = gaps
exact = -np.log1p(9 * np.exp(-gaps.astype(np.float64)))  # the logarithm of the first probability


def written_out(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.log(e / e.sum(axis=-1, keepdims=True))


found = {"NumPy, as written": written_out(x), "SciPy": special.log_softmax(x, axis=-1)}
if torch is not None:
    found["PyTorch"] = torch.log_softmax(torch.from_numpy(x), -1).numpy()
found["smcore"] = smcore.log_softmax(x)

# %%
# Where a curve reaches 1, nothing is left of the result: it is 0. The dashed line is the spacing of
# float32.

figure, axis = plt.subplots()
styles = {"NumPy, as written": "C3", "SciPy": "C1", "PyTorch": "C4", "smcore": "C0"}
for name, log_s in found.items():
    error = np.abs(log_s[:, 0] / exact - 1)
    width = 3 if name == "smcore" else 1.5
    axis.semilogy(gaps, np.maximum(error, 1e-9), styles[name], lw=width, label=name)
axis.axhline(np.finfo(np.float32).eps, color="0.5", ls="--", lw=1)
axis.set(xlabel="lead of the first logit", ylabel="relative error of its log-probability")
axis.legend()
plt.show()

# %%
# The gradient of the cross-entropy at the right label is minus what the others have together.

labels = np.zeros(len(x), int)
gradient = smcore.cross_entropy_with_grad(x, labels, reduction="sum")[1][:, 0]
as_written = special.softmax(x, axis=-1)[:, 0] - 1
right = np.expm1(exact)

figure, axis = plt.subplots()
axis.semilogy(gaps, -right, color="0.7", lw=6, label="exact")
axis.semilogy(
    gaps, np.where(as_written < 0, -as_written, np.nan), "C1.", label="softmax − 1, SciPy"
)
axis.semilogy(gaps, -gradient, "C0", lw=1.5, label="smcore")
axis.set(xlabel="lead of the first logit", ylabel="minus the gradient at the label")
axis.legend()
plt.show()
print(f"the largest relative error of smcore: {np.max(np.abs(gradient / right - 1)):.1e}")
