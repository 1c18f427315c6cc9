"""
Speed over the number of classes, per processor
===============================================

The times are read from ``benchmarks/results``, where each file is a run of
``python -m benchmarks.compare`` on one processor. One thread, float32, with the allocation of the
result. The :doc:`table of all </benchmark_results>` can be sorted and filtered.
"""

import json
from pathlib import Path

import matplotlib.pyplot as plt

for root in (Path.cwd(), *Path.cwd().parents):
    if (root / "benchmarks" / "results").is_dir():
        break
titles = {"amd-25-1": "AMD Zen 3", "amd-25-17": "AMD Zen 4", "intel-6-207": "Intel Emerald Rapids"}
runs = {
    titles.get(file.stem, file.stem): json.loads(file.read_text(encoding="utf-8"))
    for file in sorted((root / "benchmarks" / "results").glob("*.json"))
}
peers = {"smcore": "C0", "numpy": "C3", "scipy": "C1", "pytorch": "C4", "jax": "C2"}


def per_element(cell, name):
    return cell["times"][name]["min_ns"] / cell["elements"]


# %%
# Softmax of a batch along the last axis.

figure, axes = plt.subplots(
    1, len(runs), figsize=(4 + 3 * len(runs), 4.2), sharey=True, squeeze=False
)
for axis, (processor, run) in zip(axes[0], runs.items(), strict=True):
    cells = [
        cell
        for cell in run["cells"]
        if cell["op"] == "softmax"
        and cell["dtype"] == "float32"
        and cell["axis"] == -1
        and cell["elements"] >= 40_000
    ]
    cells.sort(key=lambda cell: (cell["classes"], cell["elements"]))
    cells = list({cell["classes"]: cell for cell in reversed(cells)}.values())[::-1]
    for name, colour in peers.items():
        points = [(c["classes"], per_element(c, name)) for c in cells if name in c["times"]]
        axis.loglog(*zip(*points, strict=True), "o-", color=colour, ms=4, lw=2, label=name)
    axis.set(title=processor, xlabel="classes K")
axes[0, 0].set_ylabel("softmax, ns per element")
axes[0, -1].legend(loc="upper right")
plt.show()

# %%
# How many times the best peer's time is smcore's: one point for each shape. Below 1 the peer is
# faster.

operations = sorted({cell["op"] for run in runs.values() for cell in run["cells"]})
figure, axis = plt.subplots(figsize=(8, 5))
for i, (processor, run) in enumerate(runs.items()):
    points = [(c["ratio"], operations.index(c["op"])) for c in run["cells"] if c["ratio"]]
    ratios, places = zip(*points, strict=True)
    places = [place + 0.2 * (i - (len(runs) - 1) / 2) for place in places]
    axis.plot(ratios, places, "o", ms=6, alpha=0.7, label=processor)
axis.axvline(1, color="0.4", lw=1)
axis.set(xscale="log", xlabel="time of the best peer / time of smcore")
axis.set_yticks(range(len(operations)), operations)
axis.set_xticks([0.8, 1, 2, 3, 5], ["0.8", "1", "2", "3", "5"])
axis.minorticks_off()
axis.invert_yaxis()
axis.legend(loc="upper left", bbox_to_anchor=(1, 1))
plt.show()
