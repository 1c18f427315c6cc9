"""
Label smoothing and the z-loss
==============================

A plain cross-entropy always asks for more confidence: its minimum is at infinity. Label smoothing
puts the minimum at a finite lead. The z-loss asks for a logsumexp near zero, which the
cross-entropy leaves free.
"""

import matplotlib.pyplot as plt
import numpy as np

import smcore

lead = np.linspace(-4, 12, 200)
x = np.zeros((200, 10))
x[:, 0] = lead
labels = np.zeros(200, int)

shift = np.linspace(-10, 10, 200)  # of all logits of a row together
rows = np.array([3.0, 1.0, 0.0, -1.0]) + shift[:, np.newaxis]

# %%
# The points on the left are the minima. On the right the plain cross-entropy is flat: it does not
# feel where the logits are.

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4.2))
for smoothing in (0.0, 0.05, 0.1, 0.2):
    loss = smcore.cross_entropy(x, labels, label_smoothing=smoothing, reduction="none")
    (line,) = left.plot(lead, loss, lw=2, label=f"{smoothing:g}")
    if smoothing:
        left.plot(lead[loss.argmin()], loss.min(), "o", color=line.get_color())
for factor in (0.0, 0.01, 0.03):
    loss, lse = smcore.cross_entropy(rows, labels, z_loss=factor, reduction="none", return_lse=True)
    right.plot(lse, loss, lw=2, label=f"{factor:g}")
left.set(xlabel="lead of the right logit", ylabel="loss", title="label smoothing", ylim=(0, 5))
right.set(xlabel="logsumexp of the logits", title="z-loss", ylim=(0, 3))
left.legend()
right.legend()
plt.show()
