"""Stands in a cluster of the tests where Ray has its script that starts a worker: the worker is forked by a server.

It is Ray's own worker, in a process of its own that can be killed, of the server of :mod:`tests.warm`, which has
imported what a trial imports: that takes longer than these trials train. What is more than a plain worker, such as one
of another environment or another language, is started by Ray's script.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Final

DOOR: Final = "CSG_TESTS_WARM_DOOR"
"""Names the variable that names the server's door."""


def main(arguments: list[str]) -> int:
    """Start a worker as Ray asks for it, and wait for its end."""
    sys.path[0] = str(Path(__file__).parents[1])
    from tests.warm import NotStartedError, run_worker

    parser = argparse.ArgumentParser()
    parser.add_argument("--serialized-runtime-env-context", default="{}")
    parser.add_argument("--language")
    known, told = parser.parse_known_args(arguments)
    context = json.loads(known.serialized_runtime_env_context)
    variables = context.pop("env_vars", {})
    is_plain = context.pop("py_executable", sys.executable) == sys.executable and not any(context.values())
    if known.language == "PYTHON" and is_plain and not any("$" in value for value in variables.values()):
        try:
            return run_worker(os.environ[DOOR], told, os.environ | variables)
        except NotStartedError:
            pass
    script = Path(told[0]).with_name("setup_worker.py")
    return os.execv(sys.executable, [sys.executable, str(script), *arguments])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
