"""What the pages hold: blocks of code, commands, and files to be written as they stand there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
PAGES: Final = (
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").glob("*.md")),
)
PROGRAM: Final = re.compile(r"(csg|python (?:tune_spaces|analysis)/\w+\.py|python -m (?:tune_spaces|analysis)\.\w+)\s")


def read_python(page: Path) -> dict[str, str]:
    """Return the Python blocks of a page that are files, by the name in their first line."""
    blocks = re.findall(r"^```python\n(# (\w+\.py)\n.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    return {name: text for text, name in blocks}


def list_commands(page: Path) -> list[list[str]]:
    """Return the command lines of csg and of the scripts on a page, in blocks of code and between the words.

    The program comes first: ``csg``, or a module such as ``tune_spaces.visda_search``. What stands for something that
    is left out (``...``) is left out here too.
    """
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    blocks = re.findall(r"^    (?! )(.*)$", re.sub(r"\\\n *", "", text), re.MULTILINE)
    prose = "\n".join(line for line in text.splitlines() if not line.startswith("    "))
    spans = [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose)]
    return [words for line in (*blocks, *spans) if (words := _split(line))]


def _split(line: str) -> list[str]:
    """Return the words of a command line behind variables, a launcher or a shell's; none of another program's."""
    made = re.match(r'make search ARGS="([^"]*)"', line)
    line = f"python tune_spaces/visda_search.py {made[1]}" if made else f"{line} "
    found = PROGRAM.search(line)
    if found is None or not re.fullmatch(r"((\S+=\S*|\$JOB) )*", line[: found.start()]):
        return []
    program = found[1].split()[-1].removesuffix(".py").replace("/", ".")
    return [program, *(word for word in shlex.split(line[found.end() :], comments=True) if word != "...")]
