"""Processes of this project's commands that begin with their imports done: those take half of a short command's time.

A server, one to a process of tests, imports what the commands import and forks for each that is started. What comes of
it has its own number, receives signals, is killed, and ends with its own exit code. What Python and libraries settle
before the first line of a script is the server's, and so the same for all: hashes' seeds, variables that are read when
something is imported (Ray's are read again). Where that may matter, a test starts one process as everybody does.

The workers of a cluster of :mod:`tests.simulated_cluster` come of it too: see :mod:`tests.warm_worker`.
"""

from __future__ import annotations

import array
import atexit
import ctypes
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
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
    *("csg.commands.train", "csg.commands.evaluate", "csg.tracking", "torch._dynamo", "sklearn.metrics"),
    *("pyarrow.dataset", "aiohttp", "jsonschema", "tensorboardX"),
)
"""Without Ray, which notes what makes a process one of its workers when it is imported."""
WITH_RAY: Final = (
    *("csg.workers.distributed", "tune_spaces.search.script", "tune_spaces.search.summary"),
    *("tune_spaces.search.confirmation", "tune_spaces.search.worth", "tune_spaces.ablation.script"),
)
MESSAGE_BYTES: Final = 1 << 17
PR_SET_PDEATHSIG: Final = 1
"""Linux's name for the signal that a process gets at its parent's end; none of its own children inherits it."""
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


def run_worker(door: str, arguments: list[str], environment: Mapping[str, str]) -> int:
    """Have a worker of Ray's started by the server behind a door, and wait for its end; return its exit code.

    Args:
        door: of :func:`open_door`.
        arguments: Ray's script of a worker, and what that is told.
        environment: the worker's.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as line:
        line.connect(f"\0{door}")
        asked = {"command": arguments, "folder": str(Path.cwd()), "environment": dict(environment)}
        keeper = _ask(line, asked, 1, 2)
    _hear(keeper)  # the worker's number, which it tells Ray itself
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
    (number,) = array.array("q", keeper.recv(8, socket.MSG_WAITALL))
    return int(number)


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
        command = [sys.executable, "-m", "tests.warm", *map(str, ends)]
        server = subprocess.Popen(command, pass_fds=ends, cwd=ROOT, env=AT_FIRST, start_new_session=True)

    def end() -> None:
        ours.shutdown(socket.SHUT_RDWR)  # also where a process that was forked meanwhile has it too
        try:
            server.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            server.kill()

    atexit.register(end)
    return _Server(ours, door, server.pid)


def _fork_for_all(listening: socket.socket, *, is_door: bool) -> None:
    """Start what is asked for, at a door until this process is killed. In a process that was started, return."""
    while True:
        line = listening.accept()[0] if is_door else listening
        message, ends, _, _ = socket.recv_fds(line, MESSAGE_BYTES, 3)
        if is_door:
            line.close()
            if not message:
                continue
        elif not message:
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
        # As Python's own they close nothing when others take their place, as in a worker of Ray's.
        sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", buffering=1, closefd=False)
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
    from csg.environment import set_defaults

    set_defaults()
    if "ray" in sys.modules:
        from ray._raylet import Config  # type: ignore[attr-defined]

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


def _import(names: Sequence[str]) -> None:
    for name in names:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()


def _serve_all(asked: socket.socket, door: socket.socket) -> None:
    """Start commands from this process, and Ray's workers from a child that ends with it. There, return."""
    _import(IMPORTED)
    if os.fork() == 0:
        asked.close()
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        _fork_for_all(door, is_door=True)
    else:
        door.close()
        _import(WITH_RAY)
        _fork_for_all(asked, is_door=False)


if __name__ == "__main__":
    _serve_all(*(socket.socket(fileno=int(end)) for end in sys.argv[1:]))
