"""The command line: ``csg COMMAND`` (also ``python -m csg``)."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from csg.commands import check_command
from csg.config.flags import HELP
from csg.messages.console import Console
from csg.messages.exit_codes import run_to_exit_code

COMMANDS = ("train", "evaluate", "predict", "export", "data", "pretrain")
"""Each is a module of ``csg.commands`` with a function of its name."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        0; 1 when training failed or data are at fault; else see :func:`csg.messages.exit_codes.run_to_exit_code`.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments and arguments[0] in HELP:
        print(f"usage: csg {{{','.join(COMMANDS)}}} [flags] (csg COMMAND --help shows them)")
        return 0

    def run() -> int:
        check_command("csg", arguments, COMMANDS)
        command = getattr(importlib.import_module(f"csg.commands.{arguments[0]}"), arguments[0])
        try:
            status: int = command(arguments[1:], Console())
        except ArithmeticError as error:
            Console(stderr=True).complain(error, "training failed:")
            return 1
        return status

    return run_to_exit_code(run, resumes=arguments[:1] == ["train"])
