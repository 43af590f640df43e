"""An address where no cluster is, and a cluster that goes away: a bounded wait, then one line."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from csg.messages.errors import UserError
from csg.workers import cluster_health
from csg.workers.cluster_health import check_answers
from tests import warm
from tests.process_group import free_port, free_ports
from tests.simulated_cluster import started_cluster
from tests.tune_spaces.search.test_search import ROOT, journal, reported, search
from tests.tune_spaces.search.test_search import command as search_command

BIN = Path(sys.executable).parent


@contextmanager
def deaf(port: int) -> Iterator[None]:
    """Listen on a port, take every connection, and never answer."""
    with socket.create_server(("127.0.0.1", port), backlog=50):
        yield


def explain_refusal(address: str) -> str:
    with pytest.raises(UserError, match=rf"^RAY_ADDRESS={re.escape(address)}: ") as refused:
        check_answers(address)
    text = str(refused.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("http://127.0.0.1:8265", "a dashboard, which only ray job submit takes; expected HOST:PORT"),
        ("ray://127.0.0.1:10001", "a Ray Client server, through which no search or training runs; expected HOST:PORT"),
        ("other://place", "of a kind that is not known here; expected HOST:PORT"),
        ("127.0.0.1", "expected HOST:PORT"),
        ("127.0.0.1:", "expected HOST:PORT"),
        ("127.0.0.1:99999", "expected HOST:PORT"),
        ("127.0.0.1:6379/x", "expected HOST:PORT"),
    ],
)
def test_an_address_of_another_kind_is_refused_at_once(address: str, message: str) -> None:
    assert message in explain_refusal(address)


class Clock:
    """Stands for ``time`` where only waiting lets it pass."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(cluster_health, "time", clock)
    return clock


def test_where_nothing_listens_the_wait_is_bounded(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_health, "JOIN_SECONDS", 1.0)
    listening, tried = cluster_health._explain_silence, []

    def counting(place: tuple[str, int], deadline: float) -> str:
        tried.append(place)
        return listening(place, deadline)

    monkeypatch.setattr(cluster_health, "_explain_silence", counting)
    for address in (f"127.0.0.1:{free_port()}", "no-such-host.invalid:6379"):
        tried.clear()
        assert "no Ray cluster answers there" in explain_refusal(address)
        assert len(tried) == 4, "every half second, and once more when the time is over"


def test_what_listens_and_never_answers_is_given_up(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cluster_health, "JOIN_SECONDS", 1.0)
    monkeypatch.setattr(cluster_health, "ATTEMPT_SECONDS", 3.0)
    port = free_port()
    with deaf(port):
        assert "something listens, and does not speak as Ray does" in explain_refusal(f"127.0.0.1:{port}")
    assert capfd.readouterr() == ("", ""), "nothing of Ray's own words"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("Failed to get cluster ID: Unauthenticated: RPC error: InvalidAuthToken", "refuses this process's token"),
        ("RuntimeError: Version mismatch: The cluster was started with: Ray: 2.1", "other versions of Ray or Python"),
    ],
)
def test_what_does_not_pass_by_itself_is_not_waited_for(
    words: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray repeats the first for ever, and raises the second."""
    port = free_port()
    monkeypatch.setattr(cluster_health, "JOIN", f"import time; print({words!r}, flush=True); time.sleep(3600)")
    check, popen = cluster_health._check_words, subprocess.Popen
    attempts: list[subprocess.Popen[bytes]] = []
    runs: list[bool] = []

    def starting(*given: Any, **named: Any) -> subprocess.Popen[bytes]:
        attempts.append(popen(*given, **named))
        return attempts[-1]

    def reading(address: str, file: int) -> str:
        runs.append(attempts[-1].poll() is None)
        return check(address, file)

    monkeypatch.setattr(subprocess, "Popen", starting)
    monkeypatch.setattr(cluster_health, "_check_words", reading)
    with deaf(port):
        assert message in explain_refusal(f"127.0.0.1:{port}")
    assert len(attempts) == 1 and all(runs), "it is ended when the words are read, before its time is over"


def test_no_cluster_on_this_machine_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    raised = "Could not find any running Ray instance. Please specify the one to connect to"
    monkeypatch.setattr(cluster_health, "JOIN", f"raise ConnectionError({raised!r})")
    assert "no Ray cluster runs on this machine; start one with ray start --head" in explain_refusal("auto")


def test_a_cluster_that_is_starting_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its port answers before it can be joined: the first attempts fail."""
    failed = tmp_path / "failed"
    attempt = f"import pathlib; there = pathlib.Path({str(failed)!r}); n = there.exists(); there.touch(); exit(not n)"
    monkeypatch.setattr(cluster_health, "JOIN", attempt)
    port = free_port()
    with deaf(port):
        check_answers(f"127.0.0.1:{port}")
    assert failed.exists()


def test_an_attempt_imports_nothing_from_the_folder_it_is_made_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "queue.py").write_text("raise ImportError('of the user, for something else')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cluster_health, "JOIN", "import queue")
    monkeypatch.setattr(cluster_health, "JOIN_SECONDS", 0.0)
    with deaf(port := free_port()):
        check_answers(f"127.0.0.1:{port}")


def test_a_process_that_stood_still_takes_no_cluster_for_gone(clock: Clock) -> None:
    silence = cluster_health.Silence()
    for second in range(1, 40):
        clock.sleep(1)
        assert silence.measure_seconds() == second, "of a cluster that is gone"
    clock.sleep(3600)
    assert silence.measure_seconds() == 0, "nothing could be heard in an hour of Ctrl-Z"
    clock.sleep(1)
    assert silence.measure_seconds() == 1
    silence.end()
    assert silence.measure_seconds() == 0


@pytest.mark.parametrize(("text", "seconds"), [(None, 50), ("25", 15), ("3", 10)])
def test_a_cluster_is_gone_a_little_before_ray_itself_says_so(
    text: str | None, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(cluster_health.PATIENCE, raising=False)
    if text is not None:
        monkeypatch.setenv(cluster_health.PATIENCE, text)
    assert cluster_health.read_gone_seconds() == seconds


@pytest.mark.parametrize("text", ["abc", "", "nan", "-1", "1e3"])
def test_what_is_no_number_of_seconds_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cluster_health.PATIENCE, text)
    with pytest.raises(UserError, match=f"^{cluster_health.PATIENCE}: expected a whole number of seconds, found "):
        cluster_health.read_gone_seconds()


WATCHED = """
import threading
from csg.workers import cluster_health
cluster_health.BEAT_SECONDS, cluster_health.LOOK_SECONDS = 0.05, 0.01
asked = []
def ask():
    asked.append(1)
    {end}
cluster_health.watch(ask, lambda: True, "the Ray cluster at \\x1b[31mnowhere", gone_after=0)
threading.Event().wait()
"""


@pytest.mark.parametrize("end", ["threading.Event().wait()", "assert False, 'gone'"])
def test_a_cluster_that_goes_away_ends_the_process_with_one_line(end: str) -> None:
    """Whether asking it waits without end, or raises."""
    script = WATCHED.format(end=end)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 3 and done.stdout == ""
    assert done.stderr.startswith(r"error: the Ray cluster at \x1b[31mnowhere has not answered for 0 s; what was under")
    assert done.stderr.count("\n") == 1


def test_a_cluster_that_answers_ends_nothing_and_is_not_asked_once_it_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[object] = []
    monkeypatch.setattr(cluster_health, "_end", lambda *given: ended.append(given))
    monkeypatch.setattr(cluster_health, "BEAT_SECONDS", 0.01)
    monkeypatch.setattr(cluster_health, "LOOK_SECONDS", 0.01)
    asked: list[None] = []
    left = threading.Event()

    def ask() -> None:
        asked.append(None)
        if len(asked) == 4:
            left.set()

    before = set(threading.enumerate())
    cluster_health.watch(ask, lambda: not left.is_set(), "the Ray cluster at nowhere", gone_after=3600)
    for thread in set(threading.enumerate()) - before:
        thread.join()
    assert len(asked) == 4 and not ended


@contextmanager
def started_head(folder: Path, environment: dict[str, str]) -> Iterator[tuple[str, int]]:
    """Start a head; yield its address and its process group, which leaving kills."""
    port, client, agent = free_ports(3)
    command = [str(BIN / "ray"), "start", "--head", "--block", "--num-cpus", "2", "--node-ip-address", "127.0.0.1"]
    command += ["--port", str(port), "--include-dashboard", "false", "--temp-dir", str(folder)]
    command += ["--ray-client-server-port", str(client), "--dashboard-agent-listen-port", str(agent)]
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield f"127.0.0.1:{port}", process.pid
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.slow
def test_a_search_whose_cluster_is_killed_ends_and_goes_on_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is started before the cluster answers; then the cluster's head goes, with all of its processes."""
    output = tmp_path / "runs"
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("RAY_gcs_rpc_server_reconnect_timeout_s", "20")
    with (
        tempfile.TemporaryDirectory(prefix="csg-", dir="/tmp", ignore_cleanup_errors=True) as short,
        started_head(Path(short), dict(os.environ)) as (address, group),
    ):
        monkeypatch.setenv("RAY_ADDRESS", address)

        def first_epoch() -> bool:
            return any(output.glob("searches/*/*/journal.jsonl")) and reported(0)(journal(output).read_events())

        searching = search_command(output, "--num-samples", "2")
        with warm.Popen(searching, stderr=warm.PIPE, cwd=tmp_path) as process:
            try:
                while not first_epoch():
                    assert process.poll() is None
                    time.sleep(0.1)
                os.killpg(group, signal.SIGKILL)
                _, said = process.communicate()  # for ever, if it does not end: the test's own limit ends it
            finally:
                process.kill()
    assert process.returncode == 3
    assert re.fullmatch(r"error: the Ray cluster at RAY_ADDRESS=\S+ has not answered for 10 s; .*\n", said), said
    with started_cluster(cpus=2) as cluster:
        monkeypatch.setenv("RAY_ADDRESS", cluster.address)
        resumed = search(output, "--num-samples", "2", "--resume")
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert "Going on with an interrupted search" in resumed.stdout
