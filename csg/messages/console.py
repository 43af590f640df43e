"""The console of all commands and scripts. It prints text from users as plain text."""

from __future__ import annotations

import io
import sys
from typing import IO, Any, Final

import rich.console
from rich.text import Text

from csg.messages.text import make_printable

FILE_WIDTH: Final = 200
"""Columns of a table where the output is not a terminal."""


class Console(rich.console.Console):
    """Prints strings as they are, in tables too: brackets are not markup, and control characters are escaped.

    Coloured text is a :class:`rich.text.Text`. The terminal wraps long lines. A character that the encoding of the
    output lacks is escaped.
    """

    def __init__(self, *, stderr: bool = False, file: IO[str] | None = None) -> None:
        """Print to ``file``, or else to standard output or standard error."""
        stream = file or (sys.stderr if stderr else sys.stdout)
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
        super().__init__(stderr=stderr, file=file, markup=False, emoji=False, highlight=False, soft_wrap=True)
        if not self.is_terminal:
            self.width = FILE_WIDTH

    def render_str(self, text: str, **style: Any) -> Text:
        """Turn a string into the text that is shown."""
        return super().render_str(make_printable(text), **style)

    def complain(self, what: object, heading: str = "error:") -> None:
        """Print an error after its heading."""
        self.print(Text(heading, style="red"), str(what))
