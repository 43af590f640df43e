"""Text as LaTeX sets it."""

from __future__ import annotations

import re
from typing import Final

from csg.messages.text import make_one_line

LATEX: Final = {
    **{"&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}"},
    **{"^": r"\textasciicircum{}", "\\": r"\textbackslash{}", "±": r"$\pm$", "†": r"$^{\dagger}$", "Δ": r"$\Delta$"},
    **{"<": "$<$", ">": "$>$", "²": "$^2$", "|": r"\textbar{}"},
}
"""The LaTeX of characters that have a meaning there, or that its fonts lack."""
LABEL: Final = re.compile(r"[^\w:.+-]")
"""A character that the name of a LaTeX label cannot hold."""


def escape_latex(text: str) -> str:
    """Escape ``text`` for LaTeX. E_0 becomes a symbol with its index, the minus of a number a minus sign."""
    pieces = re.split(r"(\bE_[\ds]|(?<![\w.)\]])-(?=\d))", make_one_line(text))
    plain = ("".join(LATEX.get(character, character) for character in piece) for piece in pieces[::2])
    special = (f"${piece}$" for piece in pieces[1::2])
    return "".join(part for pair in zip(plain, [*special, ""], strict=True) for part in pair)


def make_label(name: str) -> str:
    """Return a name as a LaTeX label can hold it."""
    return LABEL.sub("-", name)
