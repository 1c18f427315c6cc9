"""
How much penalty? A path of softmax regressions
===============================================

:class:`smcore.sklearn.SoftmaxRegression` has the interface of scikit-learn's
``LogisticRegression``. With ``warm_start`` each fit begins where the one before ended.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import smcore
from smcore.sklearn import SoftmaxRegression

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X / 16, y, test_size=0.4, random_state=0)

# %%
# The loss of the test rows is least in between: a strong penalty (left) keeps the weights too
# small, a weak one (right) lets the model be too sure.

strengths = np.geomspace(1e-3, 1e3, 10)
model = SoftmaxRegression(warm_start=True, solver="newton-cg", tol=1e-6)
losses, scores, paths = {"train": [], "test": []}, [], []
for C in strengths:
    model.set_params(C=C).fit(X_train, y_train)
    for name, rows, labels in (("train", X_train, y_train), ("test", X_test, y_test)):
        logits = rows @ model.coef_.T + model.intercept_
        losses[name].append(smcore.cross_entropy(logits, labels))
    scores.append(model.score(X_test, y_test))
    paths.append(model.coef_[3].copy())

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4.2))
for name, values in losses.items():
    left.loglog(strengths, values, "o-", ms=4, lw=2, label=f"{name} rows")
left.set(xlabel="C, the inverse of the penalty", ylabel="cross-entropy")
left.legend()
right.plot(strengths, paths, lw=0.8, color="C0", alpha=0.5)
right.set(xscale="log", xlabel="C", ylabel="weights of the 64 pixels for a 3")
plt.show()
best = int(np.argmin(losses["test"]))
print(f"least test loss at C = {strengths[best]:.3g}, where {scores[best]:.1%} are right")
