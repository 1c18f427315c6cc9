"""
The spectrum of a Jacobian that is never made
=============================================

The Jacobian of 20 000 classes has 400 million entries. :class:`smcore.SoftmaxJacobian` multiplies
by it from 20 000 numbers, and SciPy's eigensolver needs no more.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.sparse.linalg import LinearOperator, eigsh

import smcore

classes = 20_000
rng = np.random.default_rng(0)
logits = rng.standard_normal(classes)

# %%
# Eigenvalues lie between neighbouring probabilities; the sharper the row, the faster they fall.

figure, axis = plt.subplots()
for sharpness in (1, 3, 6):
    s = smcore.softmax(logits, scale=float(sharpness))
    J = smcore.SoftmaxJacobian(s)
    operator = LinearOperator(J.shape, matvec=lambda v, J=J: J @ v, dtype=s.dtype)
    values = np.sort(eigsh(operator, k=40, return_eigenvectors=False))[::-1]
    (line,) = axis.semilogy(np.arange(1, 41), values, "o", ms=4, label=f"scale {sharpness}")
    axis.semilogy(np.arange(1, 41), np.sort(s)[::-1][:40], color=line.get_color(), lw=1)
axis.set(xlabel="number", ylabel="eigenvalue (points), probability (lines)")
axis.legend()
plt.show()
