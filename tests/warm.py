"""Processes of this project's commands that begin with their imports done: those take half of a short command's time.

A server (:mod:`tests.warm_server`), one to a process of tests, imports what the commands import and forks for each.
What comes of it has its own number, receives signals, is killed, and ends with its own exit code. What Python and
libraries settle before the first line of a script is the server's, and so the same for all: hashes' seeds, variables
that are read when something is imported (Ray's are read again). Where that may matter, a test starts one process as
everybody does.

The workers of a cluster of :mod:`tests.simulated_cluster` come of it too: see :mod:`tests.warm_worker`.
"""

from __future__ import annotations

import array
import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

ROOT: Final = Path(__file__).parents[1]
AT_FIRST: Final = dict(os.environ)
"""The environment before any test changes it."""
END_SECONDS: Final = 10.0
"""How long the server may take to end."""
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
        self._keeper = _ask(_serve().asked, asked, out, error)
        for end in {out, error} - {1, 2}:
            os.close(end)
        self.pid = self._hear()

    def _hear(self) -> int:
        return _hear(self._keeper)

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


class NotStartedError(Exception):
    """There is no server any more, and nothing was started."""


def run_worker(door: str, arguments: list[str], environment: Mapping[str, str]) -> int:
    """Have a worker of Ray's started by the server behind a door, and wait for its end; return its exit code.

    Args:
        door: of :func:`open_door`.
        arguments: Ray's script of a worker, and what that is told.
        environment: the worker's.

    Raises:
        NotStartedError: the server has ended.
    """
    asked = {"command": arguments, "folder": str(Path.cwd()), "environment": dict(environment)}
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as line:
            line.connect(f"\0{door}")
            keeper = _ask(line, asked, 1, 2)
        _hear(keeper)  # the worker's number, which it tells Ray itself
    except (ConnectionError, EOFError) as error:
        raise NotStartedError from error
    return _hear(keeper)


def open_door() -> str:
    """Start the server, unless it runs, and return the name under which any process of this machine may ask it."""
    return _serve().door


def get_server() -> int:
    """Return the number of the server, from which all processes descend that it has started."""
    return _serve().number


def _ask(line: socket.socket, asked: Mapping[str, Any], out: int, error: int) -> socket.socket:
    """Ask the server for a process that writes there; return what tells its number and how it ended."""
    keeper, theirs = socket.socketpair()
    with theirs:
        socket.send_fds(line, [json.dumps(asked).encode()], [theirs.fileno(), out, error])
    return keeper


def _hear(keeper: socket.socket) -> int:
    told = keeper.recv(8, socket.MSG_WAITALL)
    if len(told) < 8:
        raise EOFError("the server of warm processes has ended")
    return int(array.array("q", told)[0])


@dataclass(frozen=True)
class _Server:
    asked: socket.socket
    """What this process asks it by."""
    door: str
    """Where others do."""
    number: int


@cache
def _serve() -> _Server:
    """Start the server, which ends with this process."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    door = f"csg-warm-{uuid.uuid4().hex}"
    with theirs, socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
        listening.bind(f"\0{door}")
        listening.listen()
        ends = [theirs.fileno(), listening.fileno()]
        command = [sys.executable, "-m", "tests.warm_server", *map(str, ends)]
        server = subprocess.Popen(command, pass_fds=ends, cwd=ROOT, env=AT_FIRST, start_new_session=True)

    def end() -> None:
        ours.shutdown(socket.SHUT_RDWR)  # also where a process that was forked meanwhile has it too
        try:
            server.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            server.kill()

    atexit.register(end)
    return _Server(ours, door, server.pid)
