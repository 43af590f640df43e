"""Ctrl-C: answered at once, since what it ends takes a moment to be put in order; given twice, it ends the process."""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from csg.messages.console import Console

ANSWER: Final = (
    "Stopping: what was trained so far is put on record, which takes some seconds; Ctrl-C again leaves at once, and "
    "then the last minute may be trained again."
)
LATER_SECONDS: Final = 0.1
"""After which a KeyboardInterrupt that Python has dropped is raised again."""
SHOW_CURSOR: Final = "\x1b[?25h"
"""What makes a terminal show its cursor again, which a live display hides."""


@contextmanager
def answer_interrupts() -> Iterator[None]:
    """Answer Ctrl-C while the block lasts: the first with a line, then a KeyboardInterrupt, the second by leaving.

    A KeyboardInterrupt that was raised amid the search for garbage, where Python drops it, is raised again. Nothing
    changes where Ctrl-C is ignored, as in a shell's background, or handled by somebody else.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before is not signal.default_int_handler:
        yield
        return
    show_dropped = sys.unraisablehook

    def notice(dropped: sys.UnraisableHookArgs) -> None:
        if dropped.exc_type is KeyboardInterrupt and signal.getsignal(signal.SIGINT) is _leave:
            signal.signal(signal.SIGINT, _raise_again)
            threading.Timer(LATER_SECONDS, _thread.interrupt_main).start()
        else:
            show_dropped(dropped)

    signal.signal(signal.SIGINT, _interrupt)
    sys.unraisablehook = notice
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        sys.unraisablehook = show_dropped


def announce_stop() -> None:
    """Say that the work ends. Within :func:`answer_interrupts` Ctrl-C ends the process from now on."""
    if signal.getsignal(signal.SIGINT) is _interrupt:
        signal.signal(signal.SIGINT, _leave)
    try:
        Console().print(ANSWER)
        sys.stdout.flush()
    except RuntimeError:  # the signal came amid another line
        os.write(sys.__stdout__.fileno() if sys.__stdout__ is not None else 1, f"\n{ANSWER}\n".encode())


def _interrupt(*_: object) -> None:
    announce_stop()
    raise KeyboardInterrupt


def _raise_again(*_: object) -> None:
    signal.signal(signal.SIGINT, _leave)
    raise KeyboardInterrupt


def _leave(*_: object) -> None:
    """End this process without another word. What it has started ends with it."""
    if sys.__stdout__ is not None and sys.__stdout__.isatty():
        os.write(sys.__stdout__.fileno(), f"{SHOW_CURSOR}\n".encode())
    os._exit(130)
