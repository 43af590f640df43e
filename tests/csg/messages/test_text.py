"""Text from users is shown, hashed, quoted and written as text, whatever is in it."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.table import Table

from csg.cli import main
from csg.messages.console import Console
from csg.messages.text import (
    encode_text,
    get_first_line,
    get_last_line,
    is_utf8,
    make_one_line,
    make_printable,
    quote_for_shell,
)

ODD = [
    "car [old]",
    "[/red]",
    "a\x1b[31mb",
    "a\nb",
    "stra\udcdfe",
    "it's",
    'q"q',
    "$HOME `x` \\n",
    "a b",
    ":smile:",
    "Tür",
    "a\x85\udc85b",
]


def printed(*texts: str) -> str:
    file = io.StringIO()
    Console(file=file).print(*texts, sep="\n")
    return file.getvalue()


def test_what_a_terminal_obeys_and_what_is_no_text_is_shown_as_escapes() -> None:
    assert make_printable("a\x1b[1mb\r\u202e\n") == "a\\x1b[1mb\\r\\u202e\n"
    assert make_printable("stra\udcdfe, Tür, 漢字, 👍") == "stra\\xdfe, Tür, 漢字, 👍"
    assert make_one_line("a\n\tb") == "a\\n\\tb"


def test_a_character_and_a_byte_of_one_number_have_escapes_of_their_own() -> None:
    assert make_printable("\x85\udc85") == "\\u0085\\x85"
    assert is_utf8("\x85 Tür") and not is_utf8("\udc85") and not is_utf8("\ud800")


def test_one_line_of_a_text_is_not_blank_and_not_long() -> None:
    assert (get_first_line("\n a b \nc"), get_last_line("a\n c \n\n")) == ("a b", "c")
    assert get_first_line("") == get_last_line(" \n ") == ""
    assert get_first_line("x" * 500) == get_last_line("x" * 500) == "x" * 300
    assert get_first_line("x" * 500, 5) == "x" * 5


def test_bytes_of_a_files_name_are_hashed_as_they_are() -> None:
    assert encode_text("stra\udcdfe") == os.fsencode("stra\udcdfe") == b"stra\xdfe"
    assert encode_text("Tür") == "Tür".encode()


def test_brackets_are_no_markup_anywhere_on_the_console() -> None:
    names = ["car [old]", "car [new]", "[/red]", "[bold]x", ":smile:"]
    assert printed(*names).splitlines() == names
    table = Table(title="[t]")
    table.add_column("[c]")
    for name in names:
        table.add_row(name)
    file = io.StringIO()
    Console(file=file).print(table)
    assert all(name in file.getvalue() for name in (*names, "[t]", "[c]"))


@pytest.mark.parametrize("text", ODD)
def test_a_quoted_word_comes_back_from_a_shell(text: str) -> None:
    command = f"printf %s {quote_for_shell(text)}"
    assert command.isprintable()
    found = subprocess.run(["bash", "-c", command], capture_output=True, check=True, env={"LC_ALL": "C.UTF-8"})
    assert found.stdout == os.fsencode(text)


def test_a_plain_word_is_not_quoted() -> None:
    assert quote_for_shell("runs/searches/glyphs/best.yaml") == "runs/searches/glyphs/best.yaml"


def test_an_encoding_that_lacks_a_character_ends_no_command() -> None:
    code = "from csg.messages.console import Console; "
    code += "Console().print('Tür ± stra\\udcdfe'); Console(stderr=True).complain('→')"
    environment = {**os.environ, "PYTHONIOENCODING": "ascii:strict"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment, text=True, check=True)
    assert (done.stdout, done.stderr) == ("T\\xfcr \\xb1 stra\\xdfe\n", "error: \\u2192\n")


def test_an_error_names_what_it_found_with_its_brackets(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["train", "--config", str(tmp_path / "[red]x[/blue].yaml")]) == 2
    assert "[red]x[/blue].yaml" in capsys.readouterr().err
