"""The command line: ``csg COMMAND`` (also ``python -m csg``)."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Final

from csg.commands import check_command
from csg.config.flags import HELP
from csg.messages.console import Console
from csg.messages.exit_codes import run_to_exit_code
from csg.training.program import get_program_digest

COMMANDS: Final = {
    "train": "train one configuration, or go on with it",
    "evaluate": "measure finished runs, on their own images or on another labelled set",
    "predict": "classify a folder's images, or their every pixel, by the weights of a finished run",
    "export": "write a finished run's network as ONNX or .pt2",
    "data": "check images before they are trained on",
    "pretrain": "make the weights that the bundled benchmarks start from",
}
"""Each is a module of ``csg.commands`` with a function of its name; with what it does."""
VERSION: Final = ("--version", "-V")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        0; 1 when training failed, or ``csg data check`` finds data at fault; else see
        :func:`csg.messages.exit_codes.run_to_exit_code`.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments and arguments[0] in HELP:
        lines = [f"  {name:<9} {does}" for name, does in COMMANDS.items()]
        Console().print("\n".join(["usage: csg COMMAND [flags] (csg COMMAND --help shows them)", "", *lines]))
        return 0
    if arguments and arguments[0] in VERSION:
        Console().print(f"csg {version('csg-ablation')}, program {get_program_digest()}")
        return 0

    def run() -> int:
        check_command("csg", arguments, tuple(COMMANDS))
        command = getattr(importlib.import_module(f"csg.commands.{arguments[0]}"), arguments[0])
        try:
            status: int = command(arguments[1:], Console())
        except ArithmeticError as error:
            Console(stderr=True).complain(error, "training failed:")
            return 1
        return status

    return run_to_exit_code(run, resumes=arguments[:1] == ["train"])
