"""The arguments of every command, and the checks that need nothing but the argument itself."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn, TypeVar

import smcore

from .errors import CliError

PROGRAM = "python -m smcore"
Number = TypeVar("Number", int, float)
DEMO_PACKAGES = {"matplotlib": "matplotlib", "rich": "rich", "sklearn": "scikit-learn"}
MAX_SEED = 2**32 - 1

TRAIN_DESCRIPTION = """\
Fit a softmax classifier (softmax layer, cross-entropy, mini-batch SGD with momentum) and write a
report. Without --data: the 1797 handwritten digits that come with scikit-learn. A quarter of the
rows, drawn class by class, is held out for the test; features are standardised with the mean and
the spread of the training rows. The same loop is run on the same batches with plain NumPy
formulas (and with SciPy) and timed beside it. Needs the extra [demo]."""

TRAIN_EPILOG = """\
data files:
  .csv  UTF-8, commas, a header line. --target names the column of class labels (text or whole
        numbers); every other column is a feature and holds finite numbers.
  .npz  --target names the array of class labels, one per row. The features are the array 'X', or
        the only other array: (rows, features), or (rows, height, width) for images.

files written to --out, all at the end, and none after an error:
  weights.npz  W, b, classes, features, mean, scale: softmax((X - mean) / scale @ W + b)
  history.csv  loss, accuracy and milliseconds of every epoch
  report.png   loss curves, confusion matrix, weights, the Jacobian of the least certain row

examples:
  python -m smcore train
  python -m smcore train --data iris.csv --target species --epochs 50 --out iris-model"""

EXPLAIN_DESCRIPTION = """\
Print the softmax layer h = softmax(W^T x + b) and its derivatives step by step: from first
principles, by the shortcut, and the difference between the two."""

EXPLAIN_EPILOG = """\
An ARRAY is written out, rows separated by semicolons ("1,2;3,4"), or is a file: .csv (numbers
only, no header), .npy, or .npz (the array of that name: W, x or b).

What else is in the .npz given as --W is used, as train writes it: b, mean and scale, by which x is
standardised, and the names of features and classes.

examples:
  python -m smcore explain
  python -m smcore explain --W "1,2,0;0,1,1" --x=-1,0.5
  python -m smcore explain --W smcore-train/weights.npz --x row.csv"""


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` whose errors are one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        """Print `message` as one line and exit with status 2."""
        command = self.prog.removeprefix("python -m ")
        self.exit(2, f"{command}: error: {' '.join(message.split())}\n")


def build_parser() -> Parser:
    """Make the parser of the whole command line."""
    parser = Parser(
        prog=PROGRAM,
        description="Softmax, its derivatives and its losses for NumPy.",
        epilog=f"'{PROGRAM} COMMAND --help' explains a command.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"smcore {smcore.__version__}")
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND")

    train = _add_command(commands, "train", _train, "fit a softmax classifier, write a report")
    train.description, train.epilog = TRAIN_DESCRIPTION, TRAIN_EPILOG
    _add_train_arguments(train)
    explain = _add_command(commands, "explain", _explain, "print the worked example of the layer")
    explain.description, explain.epilog = EXPLAIN_DESCRIPTION, EXPLAIN_EPILOG
    _add_explain_arguments(explain)
    info = _add_command(
        commands, "info", _info, "print version, backend, target, compiler, threads"
    )
    info.description = "Print what this installation of smcore is and what it uses."
    return parser


def _add_command(
    commands: argparse._SubParsersAction[Parser],
    name: str,
    run: Callable[[argparse.Namespace], None],
    summary: str,
) -> Parser:
    command = commands.add_parser(
        name,
        help=summary,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.set_defaults(run=run, parser=command)
    command.add_argument(
        "--backend",
        choices=("native", "numpy"),
        help="compute with the compiled kernels or with NumPy (default: as imported)",
    )
    return command


def _add_train_arguments(parser: Parser) -> None:
    data = parser.add_argument_group("data")
    data.add_argument("--data", type=Path, metavar="FILE", help="a .csv or .npz file, see below")
    data.add_argument("--target", metavar="NAME", help="the column or array of class labels")
    data.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        default=Path("smcore-train"),
        help="directory for the results (default: %(default)s)",
    )
    training = parser.add_argument_group("training")
    for name, kind, default, text in (
        ("--epochs", _positive_int, 30, "passes over the training rows"),
        ("--lr", _positive_float, 0.05, "learning rate"),
        ("--batch-size", _positive_int, 32, "rows per step"),
        ("--momentum", _momentum, 0.9, "share of the last step that is kept, below 1"),
        ("--l2", _non_negative_float, 1e-3, "pull of the weights towards zero"),
        ("--seed", _seed, 0, "seed of the split and of the batches"),
    ):
        training.add_argument(
            name,
            type=kind,
            default=default,
            metavar="N" if isinstance(default, int) else "X",
            help=f"{text} (default: %(default)s)",
        )
    training.add_argument(
        "--dtype",
        choices=("float32", "float64"),
        default="float32",
        help="precision of the training (default: %(default)s)",
    )


def _add_explain_arguments(parser: Parser) -> None:
    for name, text in (
        ("--W", "weights, one row per input and one column per output (default: built in, 3 x 5)"),
        ("--x", "input, one number per row of W (default: built in, if W is)"),
        ("--b", "bias, one number per column of W (default: that of the .npz given as --W, or 0)"),
    ):
        parser.add_argument(name, metavar="ARRAY", help=text)


def _train(arguments: argparse.Namespace) -> None:
    try:
        from .train import run
    except ModuleNotFoundError as error:
        package = DEMO_PACKAGES.get((error.name or "").partition(".")[0])
        if package is None:
            raise
        raise CliError(
            f'{package} is not installed: python -m pip install "softmax-core[demo]"'
        ) from None
    run(arguments)


def _explain(arguments: argparse.Namespace) -> None:
    from .explain import run

    run(arguments)


def _info(arguments: argparse.Namespace) -> None:
    smcore.show_config()


def _positive_int(text: str) -> int:
    return _checked(text, int, lambda value: value > 0, "a whole number above 0")


def _seed(text: str) -> int:
    return _checked(
        text, int, lambda value: 0 <= value <= MAX_SEED, f"a whole number from 0 to {MAX_SEED}"
    )


def _positive_float(text: str) -> float:
    return _checked(text, float, lambda value: 0 < value < math.inf, "a finite number above 0")


def _non_negative_float(text: str) -> float:
    return _checked(text, float, lambda value: 0 <= value < math.inf, "a finite number, 0 or above")


def _momentum(text: str) -> float:
    return _checked(text, float, lambda value: 0 <= value < 1, "a number from 0 to below 1")


def _checked(
    text: str, kind: Callable[[str], Number], accepts: Callable[[Number], bool], expected: str
) -> Number:
    """Convert one argument; NaN fails every comparison, so `accepts` need not mention it."""
    try:
        value = kind(text)
        if accepts(value):
            return value
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"must be {expected}, not {text!r}")
