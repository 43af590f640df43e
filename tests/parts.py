"""Run the checks of the project one after the other, and say at the end how long each took.

``python -m tests.parts`` runs all of them, ``python -m tests.parts --quick`` leaves out the tests that take minutes;
further arguments are pytest's.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

BIN: Final = Path(sys.executable).parent
PROCESSES: Final = max(2, min(4, os.cpu_count() or 1))
"""That run tests at a time: one test of this suite keeps a core or two busy, and one of Ray waits half of its time."""
PYTEST: Final = (sys.executable, "-m", "pytest", "--numprocesses", str(PROCESSES), "--dist", "loadfile")
"""A file's tests run in one process, so that they can share what takes long to make."""
NO_TESTS: Final = 5
"""Pytest's exit code where the arguments leave none of a part."""


def list_parts(arguments: Sequence[str], *, quick: bool) -> dict[str, tuple[str, ...]]:
    """Return the command of every part by its name."""
    slow = {"slow tests": (*PYTEST, "--no-loadscope-reorder", "-m", "slow", *arguments)}
    return {
        "linter": (str(BIN / "ruff"), "check", "."),
        "formatter": (str(BIN / "ruff"), "format", "--check", "."),
        "type checker": (str(BIN / "mypy"),),
        "layering contracts": (str(BIN / "lint-imports"),),
        "quick tests": (*PYTEST, "-m", "not slow", *arguments),
        **({} if quick else slow),
    }


def main() -> int:
    """Run the parts up to the first that fails.

    Returns:
        0, the exit code of the part that failed, or pytest's where the arguments leave no test at all.
    """
    arguments = [argument for argument in sys.argv[1:] if argument != "--quick"]
    parts = list_parts(arguments, quick="--quick" in sys.argv)
    took: dict[str, float] = {}
    failed, without_tests = 0, 0
    for name, command in parts.items():
        began = time.monotonic()
        code = subprocess.run(command, check=False).returncode
        took[name] = time.monotonic() - began
        if code == NO_TESTS and arguments:  # of one part: the other one may have some
            without_tests += 1
        elif code:
            failed = code
            break
    print()
    for name, seconds in took.items():
        print(f"{name:<20}{seconds:6.0f} s" + ("   failed" if failed and name == list(took)[-1] else ""))
    print(f"{'all':<20}{sum(took.values()):6.0f} s", flush=True)
    return failed or (NO_TESTS if without_tests == sum(name.endswith("tests") for name in parts) else 0)


if __name__ == "__main__":
    sys.exit(main())
