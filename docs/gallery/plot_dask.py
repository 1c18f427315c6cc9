"""
A fit on Dask arrays, and what the workers did
==============================================

:class:`smcore.sklearn.SoftmaxRegression` takes Dask arrays as they are. Each gradient, and each
product with the Hessian, is a sum over the chunks, computed where they lie. So the result is that
of all rows together, not an average of models.
"""

import dask.array as da
import matplotlib.pyplot as plt
import numpy as np
from dask.diagnostics import Profiler

from smcore.sklearn import SoftmaxRegression

rng = np.random.default_rng(0)
X = rng.standard_normal((60_000, 20))
y = (X @ rng.standard_normal((20, 6)) + 2 * rng.standard_normal((60_000, 6))).argmax(axis=1)
rows, labels = da.from_array(X, chunks=(7_500, -1)), da.from_array(y, chunks=7_500)

# %%
# The profiler of Dask notes every task of the fit.

with Profiler() as profiler:
    model = SoftmaxRegression(solver="newton-cg", tol=1e-9).fit(rows, labels)
in_memory = SoftmaxRegression(solver="newton-cg", tol=1e-9).fit(X, y)
print(f"largest difference of a weight: {np.max(np.abs(model.coef_ - in_memory.coef_)):.1e}")

# %%
# Above: each line is a thread, each bar a task. Below: the weights beside those of a fit in memory.

figure, (above, below) = plt.subplots(2, 1, figsize=(8, 6.4), height_ratios=(1, 1.4))
start = min(task.start_time for task in profiler.results)
workers = sorted({task.worker_id for task in profiler.results}, key=str)
for task in profiler.results:
    place = workers.index(task.worker_id) - 0.4
    bar = [((task.start_time - start) * 1e3, (task.end_time - task.start_time) * 1e3)]
    above.broken_barh(bar, (place, 0.8), facecolor="C0", edgecolor="white", lw=0.2)
above.set(xlabel="milliseconds since the fit began", ylabel="thread", yticks=range(len(workers)))
below.plot(in_memory.coef_.ravel(), model.coef_.ravel(), "C1o", ms=5)
below.axline((0, 0), slope=1, color="0.5", lw=1, zorder=0)
below.set(xlabel="weights of the fit in memory", ylabel="weights of the fit in chunks")
plt.show()
