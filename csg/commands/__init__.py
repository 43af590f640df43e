"""The commands of ``csg``, a file each."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from csg.messages.errors import UserError


def check_command(prog: str, argv: Sequence[str], commands: Sequence[str]) -> None:
    """See that a command line begins with one of ``commands``.

    Raises:
        UserError: it does not; names the nearest.
    """
    if argv and argv[0] in commands:
        return
    near = difflib.get_close_matches(argv[0], commands, n=1, cutoff=0.5) if argv else []
    raise UserError(
        f"{prog}: expected a command ({', '.join(commands)}), found {repr(argv[0]) if argv else 'none'}"
        f"{f'; the nearest is {near[0]}' if near else ''}; {prog} COMMAND --help shows its flags"
    )
