"""Whether a Ray cluster answers: before it is joined, and as long as it is used.

Ray itself waits without end for a cluster that is not there, writes warnings meanwhile, and ends the process where one
goes away: all of that in compiled code, which no exception reaches. So the first attempt is made by a process that can
be killed, and a thread looks after what was joined.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from csg.messages.console import Console
from csg.messages.errors import UserError

JOIN_SECONDS = 60.0
"""How long a cluster that does not answer is waited for; it may be starting."""
ATTEMPT_SECONDS = 10.0
"""What an attempt gets at least, where something began to listen only just before the wait is over."""
BEAT_SECONDS = 5.0
"""How often a cluster in use is asked whether it is there; who looks less often than that stood still meanwhile."""
LOOK_SECONDS = 1.0
"""How often it is looked at when it answered last."""
PATIENCE = "RAY_gcs_rpc_server_reconnect_timeout_s"
"""Names the seconds after which Ray itself ends a process whose cluster does not answer."""
JOIN = "import ray, sys; ray.init(address=sys.argv[1], log_to_driver=False, logging_level='ERROR')"
OF_A_JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Makes a process the driver of a submitted job, which the attempt is not."""
SCHEMES = {
    "http": "is that of a dashboard, which only ray job submit takes",
    "https": "is that of a dashboard, which only ray job submit takes",
    "ray": "is that of a Ray Client server, through which no search or training runs",
}
REMEDIES = {
    r"Unauthenticated|AuthenticationError|InvalidAuthToken": (
        "refuses this process's token; set RAY_AUTH_MODE, and put the same token in ~/.ray/auth_token, as where the "
        "cluster was started"
    ),
    r"\bVersion mismatch:": "runs other versions of Ray or Python than this process; install the same on both",
}
"""What Ray's words for what does not pass by itself mean, and what to do."""


def check_answers(address: str) -> None:
    """See that the cluster at ``address`` (HOST:PORT, or "auto") can be joined; one that is starting is waited for.

    Raises:
        UserError: it cannot be joined within JOIN_SECONDS, refuses, or the address is of another kind.
    """
    deadline = time.monotonic() + JOIN_SECONDS
    place = None if address == "auto" else _split_address(address)
    while True:
        fault = (place and _explain_silence(place, deadline)) or _attempt(address, deadline)
        if not fault:
            return
        if time.monotonic() > deadline:
            raise UserError(
                f"RAY_ADDRESS={address}: no Ray cluster answers there ({fault}; waited {JOIN_SECONDS:.0f} s); start "
                "one with ray start --head, name the host and port of its head, or unset RAY_ADDRESS to use this "
                "machine alone"
            )
        time.sleep(0.5)


def _split_address(address: str) -> tuple[str, int]:
    scheme, found, _ = address.partition("://")
    if found:
        what = SCHEMES.get(scheme, "is of a kind that is not known here")
        raise UserError(
            f"RAY_ADDRESS={address}: this address {what}; expected HOST:PORT of the cluster's head (ray start --head "
            "prints it; the port is 6379 unless told otherwise), or auto for the one on this machine"
        )
    try:
        parts = urlsplit(f"//{address}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or not port or parts.path or parts.query:
        raise UserError(
            f"RAY_ADDRESS={address}: expected HOST:PORT of the cluster's head, such as 192.0.2.1:6379, or auto for the "
            "one on this machine"
        )
    return host, port


def _explain_silence(place: tuple[str, int], deadline: float) -> str:
    """Say why nothing listens at ``place``; "" where something does."""
    try:
        socket.create_connection(place, timeout=min(5.0, max(0.1, deadline - time.monotonic()))).close()
    except OSError as error:
        return error.strerror or "no answer"
    return ""


def _attempt(address: str, deadline: float) -> str:
    """Join in a process of its own and leave again; return what kept it from that, or "".

    Raises:
        UserError: what kept it from that does not pass by itself.
    """
    ends = max(deadline, time.monotonic() + ATTEMPT_SECONDS)
    environment = {name: value for name, value in os.environ.items() if name != OF_A_JOB} | {"PYTHONSAFEPATH": "1"}
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-c", JOIN, address],
            env=environment,
            cwd=os.path.sep,  # as PYTHONSAFEPATH from Python 3.11 on: nobody's types.py is imported for the one meant
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,  # Ctrl-C is for this process, which ends the other one
        )
        try:
            while process.poll() is None and time.monotonic() < ends:
                _check_words(address, said.fileno())
                time.sleep(0.05)
        finally:
            process.kill()
            status = process.wait()
        if status == 0:
            return ""
        text = _check_words(address, said.fileno())
    if address == "auto" and "Could not find any running Ray instance" in text:
        raise UserError(
            "RAY_ADDRESS=auto: no Ray cluster runs on this machine; start one with ray start --head, or unset "
            "RAY_ADDRESS, so that a Ray is started for this command alone"
        )
    last = ["", *text.strip().splitlines()][-1]
    if re.match(r"\w[\w.]*(Error|Exception): ", last):
        return last[:200]
    return "something listens, and does not speak as Ray does" if address != "auto" else "the last one here is gone"


def _check_words(address: str, file: int) -> str:
    text = os.pread(file, 1 << 20, 0).decode(errors="replace")
    for words, what in REMEDIES.items():
        if re.search(words, text):
            raise UserError(f"RAY_ADDRESS={address}: the cluster there {what}")
    return text


def read_gone_seconds() -> float:
    """Return how long a cluster in use may not answer; somewhat later Ray would end this process without our words.

    Raises:
        UserError: what tells Ray so is no number of seconds.
    """
    text = os.environ.get(PATIENCE, "60")
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise UserError(f"{PATIENCE}: expected a whole number of seconds, found {text!r}; set one, or unset it")
    return max(10.0, float(text) - 10.0)


class Silence:
    """How long a cluster has not answered, in the time in which this process could hear it."""

    def __init__(self) -> None:
        self._answered = self._looked = time.monotonic()

    def end(self) -> None:
        """Take note of an answer."""
        self._answered = time.monotonic()

    def measure_seconds(self) -> float:
        """Return how long it lasts; to be asked often."""
        now = time.monotonic()
        if now - self._looked > BEAT_SECONDS:  # this process stood still, as Ctrl-Z has it: nothing could be heard
            self._answered = now
        self._looked = now
        return now - self._answered


def watch(ask: Callable[[], object], in_use: Callable[[], bool], where: str, *, gone_after: float) -> None:
    """End this process, with one line and exit code 3, when the cluster has not answered for long.

    Args:
        ask: asks the cluster something; where it is gone, this may wait without end, or raise.
        in_use: whether this process still uses the cluster; when it does not, nobody looks any more.
        where: the cluster, in words.
        gone_after: for how many seconds; see :func:`read_gone_seconds`.
    """
    silence = Silence()

    def beat() -> None:
        while in_use():
            with contextlib.suppress(Exception):  # whatever it is, it is no answer
                ask()
                silence.end()
            time.sleep(BEAT_SECONDS)

    def look() -> None:
        while in_use():
            if silence.measure_seconds() > gone_after:
                _end(where, gone_after)
            time.sleep(LOOK_SECONDS)

    for each in (beat, look):
        threading.Thread(target=each, daemon=True).start()


def _end(where: str, seconds: float) -> None:
    """Leave as Ray would a moment later: calls into it do not return, so that nothing can be unwound."""
    try:
        console = Console(stderr=True)
        console.show_cursor()  # which a live table hides
        console.complain(
            f"{where} has not answered for {seconds:.0f} s; what was under way is on disk: when a cluster is there "
            "again, the same command goes on with it"
        )
    finally:
        os._exit(3)
