"""Run the checks of the project and say at the end how long each took.

``python -m tests.parts`` runs all of them, ``python -m tests.parts --quick`` leaves out the tests that take minutes;
further arguments are pytest's. One part follows the other, but for the type checker: it takes what they leave of the
processor, and what it says is shown when it and the part beside it are done.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO, Final

BIN: Final = Path(sys.executable).parent
PROCESSES: Final = max(2, min(4, os.cpu_count() or 1))
"""That run tests at a time: one test of this suite keeps a core or two busy, and one of Ray waits half of its time."""
PYTEST: Final = (sys.executable, "-m", "pytest", "--numprocesses", str(PROCESSES), "--dist", "loadfile")
"""A file's tests run in one process, so that they can share what takes long to make."""
TYPE_CHECKER: Final = ("nice", "-n", "19", str(BIN / "mypy"))
"""One process that computes for a minute: tests of processes, which often wait, leave it room."""
NO_TESTS: Final = 5
"""Pytest's exit code where the arguments leave none of a part."""
ENVIRONMENT: Final = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
"""Tests start hundreds of processes: none of them compiles again what another one has compiled."""


def list_parts(arguments: Sequence[str], *, quick: bool) -> dict[str, tuple[str, ...]]:
    """Return the command of every part that follows another one, by its name."""
    slow = {"slow tests": (*PYTEST, "--no-loadscope-reorder", "-m", "slow", *arguments)}
    return {
        "linter": (str(BIN / "ruff"), "check", "."),
        "formatter": (str(BIN / "ruff"), "format", "--check", "."),
        "layering contracts": (str(BIN / "lint-imports"),),
        "quick tests": (*PYTEST, "-m", "not slow", *arguments),
        **({} if quick else slow),
    }


def run(command: Sequence[str], output: IO[bytes] | None = None) -> tuple[int, float]:
    """Return a command's exit code and the seconds that it took; what it says goes to ``output``, if there is one."""
    began = time.monotonic()
    done = subprocess.run(command, stdout=output, stderr=output, env=ENVIRONMENT, check=False)
    return done.returncode, time.monotonic() - began


def main() -> int:
    """Run the parts up to the first that fails.

    Returns:
        0, the exit code of a part that failed, or pytest's where the arguments leave no test at all.
    """
    arguments = [argument for argument in sys.argv[1:] if argument != "--quick"]
    parts = list_parts(arguments, quick="--quick" in sys.argv)
    began = time.monotonic()
    took: dict[str, float] = {}
    codes: dict[str, int] = {}
    with tempfile.TemporaryFile() as said, ThreadPoolExecutor() as pool:
        checking = pool.submit(run, TYPE_CHECKER, said)
        for name, command in parts.items():
            codes[name], took[name] = run(command)
            if _fails(codes[name], arguments) or _has_failed(checking):
                break
        codes["type checker"], took["type checker"] = checking.result()
        said.seek(0)
        print(f"\n{said.read().decode()}")
    failed = [name for name, code in codes.items() if _fails(code, arguments)]
    for name, seconds in took.items():
        print(f"{name:<20}{seconds:6.0f} s" + ("   failed" if name in failed else ""))
    print(f"{'all':<20}{time.monotonic() - began:6.0f} s", flush=True)
    if failed:
        return codes[failed[0]]
    return NO_TESTS if all(codes[name] == NO_TESTS for name in parts if name.endswith("tests")) else 0


def _fails(code: int, arguments: Sequence[str]) -> bool:
    """Whether an exit code is a failure: where arguments pick tests, one part may have none, since another has some."""
    return code != 0 and not (code == NO_TESTS and arguments)


def _has_failed(checking: Future[tuple[int, float]]) -> bool:
    return checking.done() and checking.result()[0] != 0


if __name__ == "__main__":
    sys.exit(main())
