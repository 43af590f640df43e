"""Processes of this project's commands that begin with their imports done: those take half of a short command's time.

A server, one to a process of tests, imports what the commands import and forks for each that is started. What comes of
it has its own number, receives signals, is killed, and ends with its own exit code. What Python and libraries settle
before the first line of a script is the server's, and so the same for all: hashes' seeds, variables that are read when
something is imported (Ray's are read again). Where that may matter, a test starts one process as everybody does.
"""

from __future__ import annotations

import array
import atexit
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, NoReturn, Self

ROOT: Final = Path(__file__).parents[1]
AT_FIRST: Final = dict(os.environ)
"""The environment before any test changes it."""
END_SECONDS: Final = 10.0
"""How long the server may take to end."""
IMPORTED: Final = (
    *("csg.commands.train", "csg.commands.evaluate", "csg.tracking", "csg.workers.distributed"),
    *("tune_spaces.search.script", "tune_spaces.search.summary", "tune_spaces.search.confirmation"),
    *("tune_spaces.search.worth", "tune_spaces.ablation.script"),
)
MESSAGE_BYTES: Final = 1 << 17
PIPE, DEVNULL, STDOUT = subprocess.PIPE, subprocess.DEVNULL, subprocess.STDOUT


class Popen:
    """What :class:`subprocess.Popen` is to a command ``[python, SCRIPT, ...]`` or ``[python, "-m", MODULE, ...]``.

    What it writes is text, and at most one of its outputs is a pipe; its standard input is empty.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        stdout: int | IO[Any] | None = None,
        stderr: int | IO[Any] | None = None,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        assert (stdout, stderr) != (PIPE, PIPE), "one of them would fill while the other one is read"
        self.args = list(command)
        self.returncode: int | None = None
        self.stdout, out = _open_end(stdout, 1)
        self.stderr, error = (None, out) if stderr == STDOUT else _open_end(stderr, 2)
        asked = {
            "command": self.args[1:],
            "folder": str(cwd or Path.cwd()),
            "environment": dict(os.environ if env is None else env),
        }
        self._keeper, theirs = socket.socketpair()
        ends = [theirs.fileno(), out, error]
        socket.send_fds(_serve(), [json.dumps(asked).encode()], ends)
        theirs.close()
        for end in {out, error} - {1, 2}:
            os.close(end)
        self.pid = self._hear()

    def _hear(self) -> int:
        (number,) = array.array("q", self._keeper.recv(8, socket.MSG_WAITALL))
        return int(number)

    def poll(self) -> int | None:
        """Return the exit code, or None as long as the process lives."""
        if self.returncode is None:
            self._keeper.setblocking(False)
            try:
                self.returncode = self._hear()
            except BlockingIOError:
                return None
            finally:
                self._keeper.setblocking(True)
            self._keeper.close()
        return self.returncode

    def wait(self) -> int:
        """Wait for the process's end and return its exit code, which is below zero where a signal ended it."""
        if self.returncode is None:
            self.returncode = self._hear()
            self._keeper.close()
        return self.returncode

    def communicate(self) -> tuple[str, str]:
        """Read all that the process writes to pipes, and wait for its end."""
        said = [stream.read() if stream else "" for stream in (self.stdout, self.stderr)]
        self.wait()
        return said[0], said[1]

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill the process, unless it has ended."""
        self.send_signal(signal.SIGKILL)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if error is not None:
            self.kill()
        for stream in (self.stdout, self.stderr):
            if stream is not None:
                stream.close()
        self.wait()


def run(
    command: Sequence[str], *, cwd: Path | None = None, env: Mapping[str, str] | None = None, check: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; what it writes is captured. With ``check``, another exit code than 0 is an error."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as error:
        with Popen(command, stdout=out, stderr=error, cwd=cwd, env=env) as process:
            code = process.wait()
        for file in (out, error):
            file.seek(0)
        done = subprocess.CompletedProcess(list(command), code, out.read(), error.read())
    if check:
        done.check_returncode()
    return done


def _open_end(wanted: int | IO[Any] | None, inherited: int) -> tuple[IO[str] | None, int]:
    """Return what a process's output is read from, if it is a pipe, and what it is written to."""
    if wanted == PIPE:
        read, write = os.pipe()
        return os.fdopen(read), write
    if wanted == DEVNULL:
        return None, os.open(os.devnull, os.O_WRONLY)
    return None, inherited if wanted is None else os.dup(wanted if isinstance(wanted, int) else wanted.fileno())


@cache
def _serve() -> socket.socket:
    """Start the server, which ends with this process, and return what it listens to."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command = [sys.executable, "-m", "tests.warm", str(theirs.fileno())]
    server = subprocess.Popen(command, pass_fds=[theirs.fileno()], cwd=ROOT, env=AT_FIRST, start_new_session=True)
    theirs.close()

    def end() -> None:
        ours.shutdown(socket.SHUT_RDWR)  # also where a process that was forked meanwhile has it too
        try:
            server.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            server.kill()

    atexit.register(end)
    return ours


def _fork_for_all(listening: socket.socket) -> None:
    """Start what is asked for, until nobody can ask any more. In a process that was started, return."""
    while True:
        message, ends, _, _ = socket.recv_fds(listening, MESSAGE_BYTES, 3)
        if not message:
            os._exit(0)
        if os.fork() == 0:
            listening.close()
            break
        for end in ends:
            os.close(end)
        while _reap_one():
            pass
    keeper, out, error = socket.socket(fileno=ends[0]), ends[1], ends[2]
    process = os.fork()
    if process == 0:
        keeper.close()
        with Path(os.devnull).open() as nothing:
            os.dup2(nothing.fileno(), 0)
        os.dup2(out, 1)
        os.dup2(error, 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w", buffering=1)
    os.close(out)
    os.close(error)
    if process:
        _keep(process, keeper)
    asked = json.loads(message)
    os.environ.clear()
    os.environ.update(asked["environment"])
    os.chdir(asked["folder"])
    _become(asked["command"])


def _keep(process: int, keeper: socket.socket) -> NoReturn:
    """Tell a process's number and how it ended; the number stays its own until whoever started it knows."""
    try:
        keeper.sendall(array.array("q", [process]))
        ended = os.waitid(os.P_PID, process, os.WEXITED | os.WNOWAIT)
        assert ended is not None
        code = ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
        keeper.sendall(array.array("q", [code]))
        keeper.recv(1)  # nothing, as soon as the other end is closed
    finally:
        os._exit(0)


def _reap_one() -> bool:
    """Take note of a keeper that has ended, if one has."""
    try:
        return os.waitpid(-1, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return False


def _become(command: list[str]) -> NoReturn:
    """Do what Python does with a command line and its environment, to its end."""
    from ray._raylet import Config  # type: ignore[attr-defined]

    from csg.environment import set_defaults

    set_defaults()
    Config.initialize("")  # Ray's own variables, which it reads when it is imported
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    is_module = command[0] == "-m"
    target, arguments = (command[1], command[2:]) if is_module else (command[0], command[1:])
    added = [os.environ["PYTHONPATH"]] if os.environ.get("PYTHONPATH") else []
    sys.path[0] = str(Path.cwd()) if is_module else str(Path(target).parent)
    sys.path[1:1] = [path for path in os.pathsep.join(added).split(os.pathsep) if path]
    sys.argv = [target, *arguments]
    code = 0
    try:
        if is_module:
            runpy.run_module(target, run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(target, run_name="__main__")
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else int(left.code is not None)
        if left.code is not None and not isinstance(left.code, int):
            print(left.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        code = 1
    # As Python ends, but for the modules: to take those apart copies all the memory that is shared with the server.
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code & 0xFF)


if __name__ == "__main__":
    for name in IMPORTED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    _fork_for_all(socket.socket(fileno=int(sys.argv[1])))
