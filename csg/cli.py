"""The command line: ``csg COMMAND`` (also ``python -m csg``)."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from csg.commands import check_command
from csg.console import Console
from csg.faults import OutsideFaultError, find_outside_fault
from csg.flags import HELP
from csg.settings import ConfigError

COMMANDS = ("train", "evaluate", "predict", "export", "data")
"""Each is a module of ``csg.commands`` with a function of its name."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        0; 1 when training failed or data are at fault; 2 when a flag or a setting cannot be used; 3 when something
        outside ended it, such as a full disk or a store that is away; 130 when interrupted.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    errors = Console(stderr=True)
    if arguments and arguments[0] in HELP:
        print(f"usage: csg {{{','.join(COMMANDS)}}} [flags] (csg COMMAND --help shows them)")
        return 0
    try:
        check_command("csg", arguments, COMMANDS)
        command = getattr(importlib.import_module(f"csg.commands.{arguments[0]}"), arguments[0])
        status: int = command(arguments[1:], Console())
    except ConfigError as error:
        errors.complain(error)
        return 2
    except (OutsideFaultError, OSError) as error:
        fault = find_outside_fault(error)
        if fault is None:
            raise
        errors.complain(fault)
        return 3
    except ArithmeticError as error:
        errors.complain(error, "training failed:")
        return 1
    return status
