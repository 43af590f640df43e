"""The commands that a person may want next, as they can be pasted into a shell."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from csg.messages.console import Console
from csg.messages.text import quote_for_shell

LOCAL_SERVER: Final = "http://127.0.0.1:5000"
"""Where ``mlflow ui`` listens unless told otherwise."""


def print_next(commands: Mapping[str, str], console: Console) -> None:
    """Print a line for each command, after an empty one."""
    console.print()
    for label, command in commands.items():
        console.print(f"{f'{label}:':<20}{command}")


def show_in_mlflow(uri: str, page: str) -> str:
    """Say how to open a page of MLflow's.

    Args:
        uri: the store.
        page: the page's address, without the server's.
    """
    command = f"{find_program('mlflow')} ui --backend-store-uri {quote_for_shell(uri)} --workers 1"
    ui = f"{command}, then open " if uri.startswith("sqlite") else ""
    return f"{ui}{uri if uri.startswith('http') else LOCAL_SERVER}{page}"


def find_program(name: str) -> str:
    """Return how to call a program of this environment from here."""
    here = Path(sys.executable).parent / name
    found = shutil.which(name)
    if found and Path(found) == here:
        return name
    return quote_for_shell(os.path.relpath(here) if here.is_relative_to(Path.cwd()) else str(here))
