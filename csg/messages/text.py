"""Text from users, such as the name of a file, made safe for a terminal, a hash or a command line.

The name of a file may hold control characters that a terminal obeys, such as ESC. It may also hold bytes that are not
UTF-8. Python represents these as surrogates, which no encoding accepts.
"""

from __future__ import annotations

import re
import shlex
from typing import Final

_HIDDEN: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters except line breaks and tabs, marks of the direction of writing, and surrogates."""


def make_printable(text: str) -> str:
    r"""Return ``text`` with escapes for what a terminal cannot show: ``\x1b`` for ESC, ``\xdf`` for that byte.

    Line breaks and tabs stay. A character beyond ASCII is escaped as ``\u``, which tells it from a byte.
    """
    return _HIDDEN.sub(lambda found: _escape(found[0]), text)


def make_one_line(text: str) -> str:
    """Return ``text`` as :func:`make_printable` does, with escapes for line breaks and tabs too."""
    return make_printable(text).replace("\n", "\\n").replace("\t", "\\t")


def get_first_line(text: str, limit: int = 300) -> str:
    """Return the first line of ``text`` that is not blank, cut to ``limit`` characters; empty where there is none."""
    return ["", *text.strip().splitlines()][:2][-1].strip()[:limit]


def get_last_line(text: str, limit: int = 300) -> str:
    """Return the last line of ``text`` that is not blank, cut to ``limit`` characters; empty where there is none."""
    return ["", *text.strip().splitlines()][-1].strip()[:limit]


def is_utf8(text: str) -> bool:
    """Whether ``text`` can be encoded. A surrogate that stands for a byte of a file's name cannot."""
    return not re.search("[\ud800-\udfff]", text)


def encode_text(text: str) -> bytes:
    """Encode ``text`` as UTF-8. A surrogate becomes the byte that it stands for."""
    return text.encode("utf-8", "surrogateescape")


def quote_for_shell(text: str) -> str:
    """Return ``text`` as one word of a command that can be pasted into a shell."""
    if make_one_line(text) == text:
        return shlex.quote(text)
    quoted = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"$'{make_one_line(quoted)}'"


def _escape(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return f"\\u{code:04x}" if code >= 0x80 else repr(character)[1:-1]
