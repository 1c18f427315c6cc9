"""`benchmarks.compare`: what is derived from times, and that it runs, compares and writes.

No test looks at how long anything took.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import platform
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import smcore
from benchmarks.compare import card, goals, limits, measure, operands, peers, results, settings
from benchmarks.compare.card import Cell
from benchmarks.compare.measure import Timing
from benchmarks.compare.ops import OPS

ROOT = Path(__file__).parents[1]
CELLS = [cell for name in card.CARDS for cell in card.CARDS[name]]


def timing(*samples: float) -> Timing:
    return Timing(1, list(samples), cpu=sum(samples), wall=sum(samples))


@pytest.fixture
def result():
    """2 µs against 3 µs and 8 µs on 20 elements; the best a copy could do is 1 µs."""
    return results.Result(
        Cell("softmax", (2, 10)),
        {"smcore": timing(2e-6, 5e-6, 3e-6), "a": timing(9e-6, 8e-6), "b": timing(3e-6, 4e-6)},
        {"copy": 1e-6, "exp": 0.5e-6},
        {"c": "has no such function"},
    )


# ---- what is derived from the times --------------------------------------------------------------


def test_ratios(result):
    assert result.best_peer == "b"
    assert result.ratio == pytest.approx(1.5)
    assert result.ratio_of("a") == pytest.approx(4.0)
    assert result.per_element(result.seconds) == pytest.approx(100.0)
    assert (result.limit, result.distance) == ("copy", pytest.approx(2.0))


def test_spread_is_that_of_the_median():
    assert timing(2.0, 5.0, 3.0).spread == pytest.approx(0.5)


def test_geometric_means(result):
    slower = dataclasses.replace(
        result, cell=Cell("logsumexp", (2, 10)), timings=result.timings | {"b": timing(1e-6)}
    )
    means = results.means([result, slower])
    assert means == pytest.approx({"all": math.sqrt(0.75), "softmax": 1.5, "logsumexp": 0.5})
    assert results.means_by_peer([result, slower])["b"] == pytest.approx(math.sqrt(0.75))


def test_geometric_means_of_groups(result):
    long = dataclasses.replace(
        result,
        cell=Cell("softmax", (2, 65), "float64"),
        timings=result.timings | {"b": timing(1e-6)},
    )
    found = results.means_by_dtype([result, long])
    assert found == pytest.approx({"float32": 1.5, "float64": 0.5})
    assert results.mean_of_short_rows([result, long]) == pytest.approx(1.5)
    assert results.mean_of_short_rows([long]) is None


def test_goals(result):
    (missed,) = goals.misses(result)
    assert missed == "ratio to the best peer 1.5, goal 3"
    assert goals.misses(result, threads=2) == goals.misses(result, target="avx2") == []
    slow = dataclasses.replace(result, timings=result.timings | {"scipy": timing(4e-6)})
    assert goals.misses(slow, target="sse2") == ["ratio to scipy 2, goal 3"]
    huge = dataclasses.replace(result, cell=Cell("softmax", (1, 2**24)))
    assert goals.misses(huge) == ["2 times the copy, goal 1.9"]
    half = dataclasses.replace(result, cell=Cell("softmax", (2, 10), "float16"))
    assert goals.misses(half) == []
    tiny = dataclasses.replace(result, cell=Cell("softmax", (10,), out=True))
    assert "2 µs, goal 0.2 µs" in goals.misses(tiny)


def test_every_goal_is_on_the_card():
    cells = {(cell.op, cell.shape) for cell in card.CARDS["perf"]}
    assert goals.MICROSECONDS.keys() <= cells
    ops = {op for op, _ in goals.TIMES_LIMIT}
    assert ops <= OPS.keys()
    for op, (limit, _) in ((op, wanted) for (op, _), wanted in goals.TIMES_LIMIT.items()):
        assert limit in OPS[op].limits


def test_no_peer(result):
    alone = dataclasses.replace(result, timings={"smcore": timing(1e-6)})
    assert alone.best_peer is None and alone.ratio is None
    assert results.means([alone]) == {"all": None, "softmax": None}
    assert results.means([alone, result])["all"] == pytest.approx(1.5)


def test_more_than_one_thread_is_told(result):
    greedy = dataclasses.replace(timing(1e-6), cpu=2e-6)
    assert results.warnings([result]) == []
    greedy_result = dataclasses.replace(result, timings=result.timings | {"b": greedy})
    (warning,) = results.warnings([greedy_result])
    assert "b kept 2.0 threads busy" in warning
    assert results.warnings([greedy_result], threads=2) == []


# ---- the card ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", card.CARDS)
def test_card(name):
    cells = card.CARDS[name]
    assert len(set(cells)) == len(cells)
    if name != "perf":  # which has those for which there are goals
        assert {cell.op for cell in cells} == set(OPS)


def test_every_operation_is_ours_and_has_a_rival():
    loaded, missing = peers.load(("smcore", "numpy"))
    assert not missing
    for peer in loaded:
        assert peer.table.keys() == OPS.keys()


def test_quick_card_is_quick():
    assert len(card.CARDS["quick"]) < 50
    assert max(cell.elements for cell in card.CARDS["quick"]) <= 2**21


@pytest.mark.parametrize(
    ("cell", "elements", "classes"),
    [
        (Cell("softmax", (4, 5, 6), axis=1), 120, 5),
        (Cell("softmax", (4, 5, 6), axis=(1, 2)), 120, 30),
        (Cell("softmax_jacobian", (4, 5)), 100, 5),
        (Cell("softmax_layer_jacobian", (7, 5)), 175, 5),
        (Cell("linear_cross_entropy_with_grad", (3, 7, 5)), 15, 5),
        (Cell("softmax_layer_vjp", (3, 7, 5)), 15, 5),
    ],
    ids=str,
)
def test_elements(cell, elements, classes):
    assert (cell.elements, cell.classes) == (elements, classes)


@pytest.mark.parametrize("cell", card.CARDS["quick"], ids=str)
def test_operands_and_limits(cell):
    if cell.dtype == "bfloat16":
        pytest.importorskip("ml_dtypes")
    arrays = operands.make_operands(cell)
    assert ("out" in arrays) is cell.out
    first = next(iter(arrays.values()))
    assert first.dtype.name == cell.dtype
    assert first.flags.c_contiguous is not cell.strided
    for limit in limits.make_limits(cell, arrays).values():
        limit.call()
        assert limit.scale > 0


# ---- the peers and the rounds --------------------------------------------------------------------


@pytest.mark.parametrize("cell", card.CARDS["quick"], ids=str)
def test_numpy_does_the_same_work(cell):
    if cell.dtype == "bfloat16":
        pytest.importorskip("ml_dtypes")
    (ours, theirs), missing = peers.load(("smcore", "numpy"))
    assert not missing
    found = []
    for peer in (ours, theirs):
        arrays = operands.make_operands(cell)
        found.append(peer.sample(cell, peer.prepare(cell, arrays)()))
        if cell.out:
            assert arrays["out"].any()
    assert operands.agree(*found, cell.dtype)


def test_something_else_is_found_out():
    x = [np.linspace(0.1, 1.0, 5)]
    assert operands.agree(x, [x[0] * (1 + 1e-7)], "float32")
    assert not operands.agree(x, [x[0] * 1.05], "float32")
    assert not operands.agree(x, [x[0], x[0]], "float32")
    assert not operands.agree(x, [np.append(x[0], 1.0)], "float32")
    assert not operands.agree([1e-9 * x[0]], [1.05e-9 * x[0]], "float32")


@pytest.mark.parametrize("name", [name for name in peers.PEERS if name != "numpy"])
def test_every_peer_does_the_same_work(name):
    """On the smallest arrays of each number of axes, as far as it can."""
    (ours, *theirs), missing = peers.load(("smcore", name))
    if missing:
        pytest.skip(f"{name} is not installed")
    for op in theirs[0].table:
        cells = sorted((cell for cell in CELLS if cell.op == op), key=lambda cell: -cell.elements)
        for cell in {(len(cell.shape), cell.axis): cell for cell in cells}.values():
            found = []
            try:
                for peer in (ours, *theirs):
                    call = peer.prepare(cell, operands.make_operands(cell))
                    found.append(peer.sample(cell, call()))
            except peers.UnsupportedError:
                continue
            assert operands.agree(*found, cell.dtype), cell


def test_what_is_missing_is_told(monkeypatch):
    monkeypatch.setitem(peers.MODULES, "numpy", "on_nothing")
    loaded, missing = peers.load(("smcore", "numpy"))
    assert [peer.name for peer in loaded] == ["smcore"]
    assert list(missing) == ["numpy"]


def test_turns():
    order = []
    calls = {name: lambda name=name: order.append(name) for name in "abc"}
    timings = measure.measure(calls, 1e-9)
    assert {len(timing.samples) for timing in timings.values()} == {measure.MIN_ROUNDS}
    for name, timing in timings.items():
        rounds = measure.MIN_ROUNDS * (timing.calls + 1)  # one that is not timed comes first
        assert order.count(name) > rounds


def test_everyone_follows_everyone():
    orders = ["".join(measure._order("abc", turn)) for turn in range(6)]
    pairs = {pair for order in orders for pair in pairwise(order)}
    assert len(pairs) == 6
    assert {order[0] for order in orders} == set("abc")


# ---- the process ---------------------------------------------------------------------------------


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="is about the C library of GNU")
@pytest.mark.parametrize("n_bytes", [2**20, 2**26, 2**28])
def test_freed_memory_stays(environment, n_bytes):
    """No page is new to the process once a call has been made a few times."""
    script = f"""
import resource
import numpy as np
x = np.ones({n_bytes}, np.uint8)
for _ in range(4):
    np.add(x, 1)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    np.add(x, 1)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment | settings.KEEP_MEMORY,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) < 10


def test_everyone_gets_as_many_threads(monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    monkeypatch.setenv("SMCORE_TARGET", "scalar")
    variables = settings.prepared(2, None)
    assert "OPENBLAS_CORETYPE" not in variables
    assert variables["SMCORE_TARGET"] == "scalar"
    assert {variables[name] for name in settings.THREADS} == {"2"}
    assert not settings.is_prepared(2, None)
    monkeypatch.setattr(os, "environ", variables)
    assert settings.is_prepared(2, None)
    assert not settings.is_prepared(1, None) and not settings.is_prepared(2, "scalar")
    assert (settings.threads(), settings.target()) == (2, None)


@pytest.mark.skipif(not settings.X86_64, reason="is about the instruction sets of x86-64")
def test_everyone_is_kept_to_the_target(monkeypatch):
    best, avx2, scalar = (settings.prepared(1, name) for name in (None, "avx2", "scalar"))
    assert (avx2["SMCORE_TARGET"], scalar["SMCORE_TARGET"]) == ("avx2", "scalar")
    assert (avx2["ATEN_CPU_CAPABILITY"], scalar["ATEN_CPU_CAPABILITY"]) == ("avx2", "default")
    assert "xla_cpu_max_isa=AVX2" in avx2["XLA_FLAGS"] and "max_isa" not in best["XLA_FLAGS"]
    assert "X86_V3" not in avx2["NPY_DISABLE_CPU_FEATURES"]
    assert not best.keys() & set(settings.UNSET)
    monkeypatch.setattr(os, "environ", avx2)
    assert settings.is_prepared(1, "avx2") and settings.target() == "avx2"
    assert not settings.prepared(1, None).keys() & {*settings.UNSET, settings.MARK_TARGET}


# ---- the program ---------------------------------------------------------------------------------


@pytest.fixture
def compare(environment):
    """Run the program with these arguments, and with more in its environment."""
    for package in ("matplotlib", "rich", "threadpoolctl"):
        pytest.importorskip(package)

    def compare(*arguments, **variables):
        return subprocess.run(
            [sys.executable, "-m", "benchmarks.compare", *arguments],
            env=environment | variables,
            cwd=ROOT,
            capture_output=True,
            text=True,
        )

    return compare


def test_program(compare, tmp_path):
    done = compare(
        *("--ops=logsumexp,softmax_jacobian", "--dtype=float32", "--peers=numpy"),
        *("--seconds=0.001", f"--out={tmp_path}"),
        OPENBLAS_CORETYPE="Haswell",
        OMP_NUM_THREADS="2",
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "geometric mean" in done.stdout and "BLAS" in done.stdout
    assert {path.name for path in tmp_path.iterdir()} == {"bench.json", "bench.md", "bench.png"}
    assert (tmp_path / "bench.png").read_bytes().startswith(b"\x89PNG")
    found = json.loads((tmp_path / "bench.json").read_text())
    assert found["card"] == "quick"
    assert set(found["peers"]) == {"smcore", "numpy"}
    assert smcore.backend() in found["environment"]["backend"]
    assert (found["threads"], found["environment"]["threads"]) == (1, "1")
    assert "2 threads" not in found["environment"]["BLAS"]
    assert set(found["geometric_means"]) == {"all", "logsumexp", "softmax_jacobian"}
    expected = card.select("quick", ("logsumexp", "softmax_jacobian"), ("float32",))
    assert [tuple(cell["shape"]) for cell in found["cells"]] == [cell.shape for cell in expected]
    assert found["geometric_means_by_dtype"].keys() == {"float32"}
    markdown = (tmp_path / "bench.md").read_text()
    behind = markdown.partition("### Cells in which a peer is faster")[2].partition("###")[0]
    missing = markdown.partition("### Cells that miss a goal")[2].partition("##")[0]
    for cell, plan in zip(found["cells"], expected, strict=True):
        check_cell(cell)
        assert str(plan) in markdown
        assert (f"- {plan}: ratio" in behind) is (cell["ratio"] < 1)
        assert (f"- {plan}:" in missing) is bool(cell["goals_missed"])


@pytest.mark.heavy
@pytest.mark.skipif(len(smcore.targets()) < 2, reason="there is no other target")
@pytest.mark.parametrize("by_argument", [True, False])
def test_other_target(compare, tmp_path, by_argument):
    """By its argument, which is for all, or by the environment, which is for smcore alone."""
    name = smcore.targets()[-1]
    done = compare(
        *([f"--target={name}"] if by_argument else []),
        *("--ops=logsumexp", "--dtype=float32", "--peers=numpy"),
        *("--seconds=0.001", f"--out={tmp_path}"),
        **({} if by_argument else {"SMCORE_TARGET": name}),
    )
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads((tmp_path / "bench.json").read_text())
    assert found["environment"]["target"] == name
    assert found["target_forced"] == (name if by_argument else None)
    assert (f"kept to {name}" in done.stdout) is by_argument


def check_cell(cell):
    """What is derived agrees with the times beside it."""
    times = cell["times"]
    assert set(times) == {"smcore", "numpy"}
    for time in times.values():
        assert 0 < time["min_ns"] <= time["median_ns"] <= time["max_ns"]
        assert time["rounds"] >= measure.MIN_ROUNDS
    ours = times["smcore"]["min_ns"]
    assert cell["best_peer"] == "numpy"
    assert cell["ratio"] == pytest.approx(times["numpy"]["min_ns"] / ours)
    assert cell["ns_per_element"] == pytest.approx(ours / cell["elements"])
    assert cell["limit_distance"] == pytest.approx(ours / cell["limits_ns"][cell["limit"]])


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ("--ops=softmax,softmin", "'softmin' is unknown"),
        ("--peers=nothing", "'nothing' is unknown"),
        ("--dtype=", "there are float32"),
        ("--threads=0", "from 1 to 1024"),
        ("--target=z80", "no 'z80'"),
        ("--seconds=0", "finite number above 0"),
        ("--out={file}", "is not a directory"),
        ("--ops=softmax_layer --dtype=float64", "no such cells"),
    ],
)
def test_mistakes_are_told(compare, tmp_path, arguments, part):
    file = tmp_path / "file"
    file.touch()
    done = compare(*(argument.format(file=file) for argument in arguments.split()))
    assert (done.returncode, done.stdout) == (2, "")
    usage, mistake = done.stderr.splitlines()
    assert usage.startswith("usage") and part in mistake
