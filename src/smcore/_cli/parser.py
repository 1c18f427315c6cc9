"""The arguments of every command, and the checks that need nothing but the argument itself."""

from __future__ import annotations

import argparse
import codecs
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeVar

import smcore

from . import texts

if TYPE_CHECKING:
    from .tables import Dialect

Number = TypeVar("Number", int, float)
DELIMITERS = {"tab": "\t", "\\t": "\t", "space": " ", "comma": ",", "semicolon": ";"}
MAX_SEED = 2**32 - 1


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` whose errors are one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        """Print `message` as one line and exit with status 2."""
        command = self.prog.removeprefix("python -m ")
        self.exit(2, f"{command}: error: {' '.join(message.split())}\n")


def build_parser(program: str) -> Parser:
    """Make the parser of the whole command line, called as `program`."""
    parser = Parser(
        prog=program,
        description="Softmax, its derivatives and its losses for NumPy.",
        epilog=f"'{program} COMMAND --help' explains a command.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"smcore {smcore.__version__}")
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND")

    train = _add_command(commands, "train", _train, "fit a softmax classifier, write a report")
    train.description, train.epilog = texts.TRAIN_DESCRIPTION, texts.TRAIN_EPILOG
    _add_train_arguments(train)
    predict = _add_command(commands, "predict", _predict, "classify the rows of a table")
    predict.description, predict.epilog = texts.PREDICT_DESCRIPTION, texts.PREDICT_EPILOG
    _add_predict_arguments(predict)
    explain = _add_command(commands, "explain", _explain, "print the worked example of the layer")
    explain.description, explain.epilog = texts.EXPLAIN_DESCRIPTION, texts.EXPLAIN_EPILOG
    _add_explain_arguments(explain)
    info = _add_command(
        commands, "info", _info, "print version, backend, target, compiler, threads"
    )
    info.description = "Print what this installation of smcore is and what it uses."
    for command in (train, predict, explain):
        command.epilog = (command.epilog or "").format(program=program)
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
    data.add_argument("--data", type=Path, metavar="FILE", help="a table or an .npz, see below")
    data.add_argument("--target", metavar="NAME", help="the column or array of class labels")
    data.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        default=Path("smcore-train"),
        help="directory for the results (default: %(default)s)",
    )
    tables = _add_table_arguments(parser)
    _add_drop_missing(tables)
    for name, text in (
        ("--drop", "columns to leave out; NAMES: one, several with commas between, or again"),
        ("--categorical", "columns whose numbers are names of categories"),
    ):
        tables.add_argument(name, metavar="NAMES", action="append", default=[], help=text)
    tables.add_argument(
        "--max-categories",
        type=_positive_int,
        metavar="N",
        default=100,
        help="most categories of a column of text (default: %(default)s)",
    )
    _add_training_arguments(parser)


def _add_drop_missing(tables: argparse._ArgumentGroup) -> None:
    tables.add_argument(
        "--drop-missing", action="store_true", help="leave out rows in which values are missing"
    )


def _add_table_arguments(parser: Parser) -> argparse._ArgumentGroup:
    tables = parser.add_argument_group("tables")
    tables.add_argument(
        "--no-header", action="store_true", help="line 1 is data; names are 1, 2, ..."
    )
    tables.add_argument(
        "--delimiter",
        type=_delimiter,
        metavar="C",
        help="between fields, or tab (default: found out)",
    )
    tables.add_argument(
        "--decimal",
        choices=(".", ","),
        default=".",
        metavar="C",
        help="the decimal sign, . or , (default: %(default)s)",
    )
    tables.add_argument(
        "--encoding", type=_encoding, default="utf-8-sig", metavar="NAME", help="(default: utf-8)"
    )
    return tables


def _add_training_arguments(parser: Parser) -> None:
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
    training.add_argument(
        "--compare",
        action="store_true",
        help="train with plain NumPy formulas and with SciPy, too, each timed",
    )


def _add_predict_arguments(parser: Parser) -> None:
    parser.add_argument(
        "--model",
        type=Path,
        metavar="DIR",
        default=Path("smcore-train"),
        help="what train wrote: the directory, or weights.npz (default: %(default)s)",
    )
    parser.add_argument(
        "--data", type=Path, metavar="FILE", required=True, help="a table, or an .npz"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="where to (default: stdout)")
    parser.add_argument(
        "--show",
        choices=("both", "labels", "probabilities"),
        default="both",
        help="what to write (default: %(default)s)",
    )
    parser.add_argument(
        "--keep",
        metavar="NAMES",
        action="append",
        default=[],
        help="columns of the table to write beside the results",
    )
    tables = _add_table_arguments(parser)
    _add_drop_missing(tables)
    tables.add_argument(
        "--ignore-unknown",
        action="store_true",
        help="take a category that the model does not know for none, rather than refuse it",
    )


def _add_explain_arguments(parser: Parser) -> None:
    for name, text in (
        ("--W", "weights, one row per input and one column per output (default: built in, 3 x 5)"),
        ("--x", "input, one number per row of W (default: built in, if W is)"),
        ("--b", "bias, one number per column of W (default: that of the .npz given as --W, or 0)"),
    ):
        parser.add_argument(name, metavar="ARRAY", help=text)
    parser.add_argument("--data", type=Path, metavar="FILE", help="a table to take the input from")
    parser.add_argument(
        "--row", type=_positive_int, metavar="N", default=1, help="its row (default: the first)"
    )
    _add_table_arguments(parser)


def _train(arguments: argparse.Namespace) -> None:
    from .data import Choice
    from .train import run

    choice = Choice(
        target=arguments.target,
        dialect=_dialect(arguments),
        drop=arguments.drop,
        categorical=arguments.categorical,
        drop_missing=arguments.drop_missing,
        max_categories=arguments.max_categories,
    )
    run(arguments, choice)


def _predict(arguments: argparse.Namespace) -> None:
    from .predict import run

    run(arguments, _dialect(arguments))


def _dialect(arguments: argparse.Namespace) -> Dialect:
    from .tables import Dialect

    return Dialect(
        header=not arguments.no_header,
        delimiter=arguments.delimiter,
        decimal=arguments.decimal,
        encoding=arguments.encoding,
    )


def _explain(arguments: argparse.Namespace) -> None:
    from .explain import run

    run(arguments, _dialect(arguments))


def _info(arguments: argparse.Namespace) -> None:
    smcore.show_config()


def _delimiter(text: str) -> str:
    delimiter = DELIMITERS.get(text, text)
    if len(delimiter) != 1 or delimiter in '"\r\n':
        raise argparse.ArgumentTypeError(f"must be one character, or tab, not {text!r}")
    return delimiter


def _encoding(text: str) -> str:
    try:
        name = codecs.lookup(text).name
    except LookupError:
        raise argparse.ArgumentTypeError(f"{text!r} is no encoding that Python knows") from None
    return "utf-8-sig" if name == "utf-8" else name


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
