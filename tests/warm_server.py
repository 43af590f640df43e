"""What :mod:`tests.warm` asks for processes: it has imported what they import, and forks for each.

``python -m tests.warm_server ASKED DOOR`` takes two sockets by their numbers: one that the process of tests asks for
commands by, and one at which any process of this machine may ask for a worker of Ray's.
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
import sys
import threading
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NoReturn

from tests.warm import MESSAGE_BYTES

IMPORTED: Final = (
    *("csg.commands.train", "csg.commands.evaluate", "csg.tracking", "torch._dynamo", "sklearn.metrics"),
    *("pyarrow.dataset", "aiohttp", "jsonschema", "tensorboardX"),
)
"""Without Ray, which notes what makes a process one of its workers when it is imported."""
WITH_RAY: Final = (
    *("csg.workers.distributed", "tune_spaces.search.script", "tune_spaces.search.summary"),
    *("tune_spaces.search.confirmation", "tune_spaces.search.worth", "tune_spaces.ablation.script"),
)
PR_SET_PDEATHSIG: Final = 1
"""Linux's name for the signal that a process gets at its parent's end; none of its own children inherits it."""


def _fork_for_all(listening: socket.socket, *, is_door: bool) -> NoReturn:
    """Start what is asked for, at a door until this process is killed, and become it in a process of its own."""
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
    interrupted = False
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        if is_module:
            runpy.run_module(target, run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(target, run_name="__main__")
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else int(left.code is not None)
        if left.code is not None and not isinstance(left.code, int):
            print(left.code, file=sys.stderr)
    except BaseException as error:
        traceback.print_exc()
        code = 1
        interrupted = isinstance(error, KeyboardInterrupt)
    # As Python ends, but for the modules: to take those apart copies all the memory that is shared with the server.
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    if interrupted:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.raise_signal(signal.SIGINT)
    os._exit(code & 0xFF)


def _import(names: Sequence[str]) -> None:
    for name in names:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()


def _serve_all(asked: socket.socket, door: socket.socket) -> NoReturn:
    """Start commands from this process, and Ray's workers from a child that ends with it."""
    # Python drops a signal that comes before a fork is done with; this one waits until the command is there to hear it.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    _import(IMPORTED)
    parent = os.getpid()
    if os.fork() == 0:
        asked.close()
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it has ended before that
            os._exit(0)
        _fork_for_all(door, is_door=True)
    else:
        door.close()
        _import(WITH_RAY)
        _fork_for_all(asked, is_door=False)


if __name__ == "__main__":
    _serve_all(*(socket.socket(fileno=int(end)) for end in sys.argv[1:]))
