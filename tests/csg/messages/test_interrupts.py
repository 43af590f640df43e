"""Ctrl-C is answered at once; given twice, it ends the process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from csg.messages.interrupts import ANSWER, answer_interrupts

PROGRAM = """
import time
from csg.messages.exit_codes import run_to_exit_code

def body():
    try:
        print("at work", flush=True)
        time.sleep(60)
    except KeyboardInterrupt:
        print("putting in order", flush=True)
        time.sleep({seconds})
        raise
    return 0

raise SystemExit(run_to_exit_code(body, resumes=True))
"""


def started(*, seconds: float) -> subprocess.Popen[str]:
    """Start a command that takes so many seconds to put in order what it has done, and wait until it is at work."""
    program = PROGRAM.format(seconds=seconds)
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "at work\n"
    return process


def test_the_first_ctrl_c_is_answered_before_anything_is_put_in_order() -> None:
    process = started(seconds=0)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=30)
    assert said.splitlines() == [ANSWER, "putting in order", "Interrupted. The same command goes on where it was."]
    assert process.returncode == 130


def test_the_second_ctrl_c_ends_the_process() -> None:
    process = started(seconds=60)
    process.send_signal(signal.SIGINT)
    assert process.stdout is not None and process.stdout.readline() == f"{ANSWER}\n"
    assert process.stdout.readline() == "putting in order\n"
    process.send_signal(signal.SIGINT)
    assert not process.communicate(timeout=30)[0] and process.returncode == 130


def test_a_ctrl_c_amid_the_search_for_garbage_is_not_lost(capsys: pytest.CaptureFixture[str]) -> None:
    class Garbage:
        def __del__(self) -> None:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with answer_interrupts(), pytest.raises(KeyboardInterrupt):  # noqa: PT012 (the signal comes in the loop)
            garbage = Garbage()
            del garbage
            for _ in range(1000):
                time.sleep(0.01)
    finally:
        signal.signal(signal.SIGINT, before)
    assert capsys.readouterr() == (f"{ANSWER}\n", "")


def test_where_ctrl_c_is_ignored_it_stays_so() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with answer_interrupts():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
