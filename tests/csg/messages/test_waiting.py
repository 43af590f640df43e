"""Who waits at a terminal sees a bar; a log gets lines. Nothing of a bar is left behind."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from typing import Final

import pytest

from csg.messages import waiting
from csg.messages.waiting import Waiting

PROGRAM: Final = """
import logging, signal, sys, time
from csg.messages import waiting
from csg.messages.console import Console
from csg.messages.exit_codes import run_to_exit_code
from csg.messages.progress import CountProgress

waiting.BAR_SECONDS = waiting.DRAWN_SECONDS = 0.0

def work():
    with CountProgress(Console(), doing="looking", line="{}/{}".format, lines=1, left="nothing is left") as progress:
        progress(3, 4)
        with waiting.Waiting("finding files", "found {} files", 20) as counting:
            for number in range(10):
                counting.add(1)
                time.sleep(0.1)
            logging.getLogger("csg").warning("a word meanwhile")
            if "interrupted" in sys.argv:
                signal.raise_signal(signal.SIGINT)
    print("the end")
    return 0

sys.exit(run_to_exit_code(work, resumes=False))
"""


def show(*arguments: str) -> tuple[int, str]:
    """Run the program at a terminal, and return its exit code and what it has written."""
    terminal, end = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    command = [sys.executable, "-c", PROGRAM, *arguments]
    process = subprocess.Popen(command, stdin=end, stdout=end, stderr=end, env=environment)
    os.close(end)
    written = b""
    try:
        while part := os.read(terminal, 65536):
            written += part
    except OSError:  # nobody writes to it any more
        pass
    os.close(terminal)
    return process.wait(60), written.decode()


def read_last_lines(written: str) -> list[str]:
    """Return what stands on the screen in the end, as far as whole lines are erased."""
    screen = [""]
    for sign, text in re.findall(r"(\x1b\[[0-9;?]*[A-Za-z]|\r|\n)|([^\x1b\r\n]+)", written):
        if sign == "\n":
            screen.append("")
        elif sign.endswith("A"):
            screen = screen[: -int(sign[2:-1] or 1)]
        elif sign.endswith("K"):
            screen[-1] = ""
        elif not sign:
            screen[-1] += text
    return [line.rstrip() for line in screen if line.strip()]


def test_at_a_terminal_a_bar_is_shown_within_another_and_is_gone_in_the_end() -> None:
    code, written = show()
    assert code == 0
    shown = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line).strip() for line in re.split(r"[\r\n]+", written)]
    assert any(re.fullmatch(r"finding files .* [1-9]0?/20 .*", line) for line in shown), shown
    assert any(re.fullmatch(r"looking .* 3/4 .*", line) for line in shown)
    assert not any(line.startswith("found ") for line in shown), "a line of the log beside a bar"
    assert read_last_lines(written) == ["a word meanwhile", "the end"]


def test_an_interrupt_leaves_no_bar_and_shows_the_cursor_again() -> None:
    code, written = show("interrupted")
    assert code == 130
    assert read_last_lines(written) == ["a word meanwhile", "Interrupted; nothing is left."]
    assert written.rfind("\x1b[?25h") > written.rfind("\x1b[?25l")


@pytest.mark.parametrize("total", [None, 1200])
def test_a_log_gets_lines_and_only_after_some_seconds(
    total: int | None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with Waiting("finding files", "found {} files below {x}\n", total) as counting:
        counting.add(700)
        assert not caplog.records
        monkeypatch.setattr(waiting, "SECONDS", 0.0)
        monkeypatch.setattr(waiting, "BAR_SECONDS", 0.0)
        counting.add(500)
    number = "1,200" if total is None else "1,200 of 1,200"
    assert [record.getMessage() for record in caplog.records] == [f"found {number} files below {{x}}\\n"]
