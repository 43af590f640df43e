"""A process that begins with its imports done ends as one that Python starts."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests import warm


@pytest.mark.slow
@pytest.mark.parametrize(
    "line",
    [
        "print('out'); print('err', file=sys.stderr); sys.exit(3)",
        "sys.exit('a text')",
        "raise ValueError('wrong')",
        "raise KeyboardInterrupt",
        "print(sys.argv[1:], __name__, os.getcwd() == os.path.dirname(__file__)); sys.exit(True)",
        "os.kill(os.getpid(), signal.SIGTERM)",
    ],
)
def test_a_process_says_and_leaves_what_one_of_pythons_own_does(line: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(f"import os, signal, sys\n{line}\n")
    command = [sys.executable, str(script), "one", "two words"]
    theirs = subprocess.run(command, capture_output=True, text=True, check=False)
    mine = warm.run(command)
    assert (mine.returncode, mine.stdout) == (theirs.returncode, theirs.stdout)
    assert mine.stderr.splitlines()[-1:] == theirs.stderr.splitlines()[-1:]


@pytest.mark.slow
def test_a_process_is_killed_and_its_number_stays_its_own_until_that_is_known(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("import time\nprint('begun', flush=True)\ntime.sleep(600)\n")
    with warm.Popen([sys.executable, str(script)], stdout=warm.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == "begun\n"
        assert process.poll() is None
        process.kill()
        assert process.wait() == -signal.SIGKILL
    process.kill()
