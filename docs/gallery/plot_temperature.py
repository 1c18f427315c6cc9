"""
Temperature
===========

The argument `scale` of :func:`smcore.softmax` is an inverse temperature. It multiplies after the
maximum has been taken away, so no scale overflows; and it may have one number for each row.
"""

import matplotlib.pyplot as plt
import numpy as np

import smcore

logits = np.array([2.0, 1.5, 0.5, -0.5, -2.0])
temperatures = np.geomspace(0.05, 50, 300)

# %%
# One call: the same row, once for each temperature.

s = smcore.softmax(np.tile(logits, (300, 1)), scale=1 / temperatures)
log_s = smcore.log_softmax(np.tile(logits, (300, 1)), scale=1 / temperatures)
entropy = -(s * log_s).sum(axis=-1)

figure, (left, right) = plt.subplots(1, 2)
for k in range(5):
    left.plot(temperatures, s[:, k], lw=2, label=f"logit {logits[k]:+}")
left.set(xscale="log", xlabel="temperature", ylabel="probability")
left.legend(fontsize=9)
right.plot(temperatures, entropy / np.log(2), lw=2)
right.axhline(np.log2(5), color="0.5", ls="--", lw=1)
right.text(0.05, np.log2(5) - 0.02, "all alike: log₂ 5", va="top")
right.set(xscale="log", xlabel="temperature", ylabel="entropy in bits")
plt.show()

# %%
# Limits are exact: a scale of 0 makes all classes alike, a huge one leaves the largest.

print(smcore.softmax(logits, scale=0.0))
print(smcore.softmax(logits, scale=1e300))
