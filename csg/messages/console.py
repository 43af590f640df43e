"""The console of all commands and scripts, on which text from users is only ever text."""

from __future__ import annotations

import io
import sys
from typing import IO, Any, Final

import rich.console
from rich.text import Text

from csg.messages.text import printable

WIDTH_OF_A_FILE: Final = 200
"""Columns of a table where the output is no terminal."""


class Console(rich.console.Console):
    """Prints strings as they are, in tables too: brackets are no markup, and escapes stand for control characters.

    What is to be coloured is a :class:`rich.text.Text`. Lines are left to the terminal to wrap, and a character that
    the output's encoding lacks never ends a command.
    """

    def __init__(self, *, stderr: bool = False, file: IO[str] | None = None, width: int | None = None) -> None:
        """Print to standard output, to standard error or to a file."""
        stream = file or (sys.stderr if stderr else sys.stdout)
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
        super().__init__(
            stderr=stderr, file=file, width=width, markup=False, emoji=False, highlight=False, soft_wrap=True
        )
        if width is None and not self.is_terminal:
            self.width = WIDTH_OF_A_FILE

    def render_str(self, text: str, **style: Any) -> Text:
        """Turn a string into what is shown."""
        return super().render_str(printable(text), **style)

    def complain(self, what: object, heading: str = "error:") -> None:
        """Print what went wrong."""
        self.print(Text(heading, style="red"), str(what))
