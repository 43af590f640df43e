"""The commands of ``csg``, a file each."""

from __future__ import annotations

from collections.abc import Sequence

from csg.messages.errors import UserError
from csg.messages.wording import find_nearest


def check_command(prog: str, argv: Sequence[str], commands: Sequence[str]) -> None:
    """Refuse a command line that does not begin with one of ``commands``.

    Raises:
        UserError: it does not. The message names the nearest one.
    """
    if argv and argv[0] in commands:
        return
    near = find_nearest(argv[0], commands) if argv else ""
    raise UserError(
        f"{prog}: expected a command ({', '.join(commands)}), found {repr(argv[0]) if argv else 'none'}"
        f"{f'; the nearest is {near}' if near else ''}; {prog} COMMAND --help shows its flags"
    )
