"""Text that comes from users, such as a file's name, on its way into a terminal, a hash or a command line.

A file's name may hold what a terminal obeys (ESC), and bytes that are no UTF-8, which Python keeps as surrogates: no
encoding takes those.
"""

from __future__ import annotations

import re
import shlex
from typing import Final

_HIDDEN: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters but for line breaks and tabs, marks that turn the direction of writing, and surrogates."""


def printable(text: str) -> str:
    r"""Return ``text`` with escapes for what cannot be shown: ``\x1b`` for ESC, ``\xdf`` for that byte.

    Line breaks and tabs stay. A character beyond ASCII has ``\u``, so that none is taken for a byte.
    """
    return _HIDDEN.sub(lambda found: _escape(found[0]), text)


def in_one_line(text: str) -> str:
    """Return what :func:`printable` does, with escapes for line breaks and tabs too."""
    return printable(text).replace("\n", "\\n").replace("\t", "\\t")


def first_line(text: str, limit: int = 300) -> str:
    """Return the first line of ``text`` that is not blank, cut to ``limit`` characters; empty where there is none."""
    return ["", *text.strip().splitlines()][:2][-1].strip()[:limit]


def last_line(text: str, limit: int = 300) -> str:
    """Return the last line of ``text`` that is not blank, cut to ``limit`` characters; empty where there is none."""
    return ["", *text.strip().splitlines()][-1].strip()[:limit]


def is_utf8(text: str) -> bool:
    """Whether all of ``text`` can be encoded, which what stands for a byte of a file's name cannot."""
    return not re.search("[\ud800-\udfff]", text)


def as_bytes(text: str) -> bytes:
    """Encode ``text`` as UTF-8; what stands for a byte of a file's name becomes that byte."""
    return text.encode("utf-8", "surrogateescape")


def shell_quoted(text: str) -> str:
    """Return ``text`` as one word of a command that can be pasted into a shell, whatever is in it."""
    if in_one_line(text) == text:
        return shlex.quote(text)
    quoted = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"$'{in_one_line(quoted)}'"


def _escape(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return f"\\u{code:04x}" if code >= 0x80 else repr(character)[1:-1]
