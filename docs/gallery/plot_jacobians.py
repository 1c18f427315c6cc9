"""
The Jacobian of an uncertain row and of a confident one
=======================================================

The Jacobian of softmax is :math:`\\operatorname{diag}(s) - s s^T`. An uncertain row reacts to all
its logits. A confident one hardly reacts at all: its entries are small, but they are not zero, and
:func:`smcore.softmax_jacobian` gives them to the last digits even in float32.
"""

import matplotlib.pyplot as plt
import numpy as np

import smcore

uncertain = np.array([0.4, 1.1, 0.2, 0.9, 0.0, 0.6, 1.3, 0.3], np.float32)
confident = uncertain + np.float32(20) * (np.arange(8) == 3)
rows = {"uncertain": uncertain, "confident": confident}

# %%
# On the scale of one matrix the other would be all white; so each has its own.

figure, axes = plt.subplots(1, 2, figsize=(8, 4))
for axis, (name, logits) in zip(axes, rows.items(), strict=True):
    jacobian = smcore.softmax_jacobian(smcore.softmax(logits))
    limit = abs(jacobian).max()
    image = axis.imshow(jacobian, cmap="RdBu", vmin=-limit, vmax=limit)
    figure.colorbar(image, ax=axis, shrink=0.75, ticks=[-limit, 0, limit], format="%.1e")
    axis.set(title=name, xlabel="logit", ylabel="output", xticks=range(8), yticks=range(8))
    axis.grid(False)
plt.show()

# %%
# The formula as it is written loses the confident class: in float32 its probability is 1, and
# :math:`s(1 - s)` is 0.

s = smcore.softmax(confident)
exact = smcore.softmax_jacobian(smcore.softmax(confident, dtype=np.float64))[3, 3]
print(f"written out: {s[3] * (1 - s[3]):.6e}")
print(f"smcore:      {smcore.softmax_jacobian(s)[3, 3]:.6e}")
print(f"in float64:  {exact:.6e}")
