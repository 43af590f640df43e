"""An address where no cluster is, and a cluster that goes away: a bounded wait, then one line."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from csg.settings import ConfigError
from csg.training import cluster_health
from csg.training.cluster_health import check_answers
from tests.process_group import free_port
from tests.test_search import ROOT, journal, reported, search
from tests.test_search import command as search_command

BIN = Path(sys.executable).parent


@contextmanager
def deaf(port: int) -> Iterator[None]:
    """Listen on a port, take every connection, and never answer."""
    with socket.create_server(("127.0.0.1", port), backlog=50):
        yield


def refusal(address: str) -> str:
    with pytest.raises(ConfigError, match=rf"^RAY_ADDRESS={re.escape(address)}: ") as refused:
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
    assert message in refusal(address)


def test_where_nothing_listens_the_wait_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_health, "JOIN_SECONDS", 0.7)
    began = time.monotonic()
    for address in (f"127.0.0.1:{free_port()}", "no-such-host.invalid:6379"):
        assert "no Ray cluster answers there" in refusal(address)
    assert 1.4 < time.monotonic() - began < 10


def test_what_listens_and_never_answers_is_given_up(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cluster_health, "JOIN_SECONDS", 1.0)
    monkeypatch.setattr(cluster_health, "ATTEMPT_SECONDS", 3.0)
    port = free_port()
    with deaf(port):
        assert "something listens, and does not speak as Ray does" in refusal(f"127.0.0.1:{port}")
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
    monkeypatch.setattr(cluster_health, "JOIN", f"import time; print({words!r}, flush=True); time.sleep(60)")
    began = time.monotonic()
    with deaf(port):
        assert message in refusal(f"127.0.0.1:{port}")
    assert time.monotonic() - began < 20


def test_no_cluster_on_this_machine_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    raised = "Could not find any running Ray instance. Please specify the one to connect to"
    monkeypatch.setattr(cluster_health, "JOIN", f"raise ConnectionError({raised!r})")
    assert "no Ray cluster runs on this machine; start one with ray start --head" in refusal("auto")


def test_a_cluster_that_is_starting_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its port answers before it can be joined: the first attempts fail."""
    failed = tmp_path / "failed"
    attempt = f"import pathlib; there = pathlib.Path({str(failed)!r}); n = there.exists(); there.touch(); exit(not n)"
    monkeypatch.setattr(cluster_health, "JOIN", attempt)
    port = free_port()
    with deaf(port):
        check_answers(f"127.0.0.1:{port}")
    assert failed.exists()


WATCHED = """
import time
from csg.training import cluster_health
cluster_health.BEAT_SECONDS, cluster_health.GONE_SECONDS = 0.05, 0.5
asked = []
def ask():
    asked.append(1)
    {end}
cluster_health.watch(ask, lambda: True, "the Ray cluster at nowhere")
time.sleep({seconds})
print("alive", len(asked) > 3)
"""


@pytest.mark.parametrize("end", ["time.sleep(100 * (len(asked) > 4))", "assert len(asked) < 4, 'gone'"])
def test_a_cluster_that_goes_away_ends_the_process_with_one_line(end: str) -> None:
    """Whether asking it waits without end, or raises."""
    script = WATCHED.format(end=end, seconds=30)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 3 and done.stdout == ""
    assert done.stderr.startswith("error: the Ray cluster at nowhere has not answered for 0 s; what was under way is")
    assert done.stderr.count("\n") == 1


def test_a_cluster_that_answers_ends_nothing() -> None:
    script = WATCHED.format(end="", seconds=2)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "alive True\n", "")


@contextmanager
def started_head(folder: Path, environment: dict[str, str]) -> Iterator[tuple[str, int]]:
    """Start a head; yield its address and its process group, which leaving kills."""
    port = free_port()
    command = [str(BIN / "ray"), "start", "--head", "--block", "--num-cpus", "2", "--node-ip-address", "127.0.0.1"]
    command += ["--port", str(port), "--include-dashboard", "false", "--temp-dir", str(folder)]
    command += ["--ray-client-server-port", str(free_port()), "--dashboard-agent-listen-port", str(free_port())]
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
    monkeypatch.setenv("RAY_gcs_rpc_server_reconnect_timeout_s", "25")
    with started_head(Path("/tmp") / f"csg-{os.getpid()}", dict(os.environ)) as (address, group):
        monkeypatch.setenv("RAY_ADDRESS", address)

        def first_epoch() -> bool:
            return any(output.rglob("journal.jsonl")) and reported(0)(journal(output).events())

        with subprocess.Popen(
            search_command(output, "--num-samples", "2"), stderr=subprocess.PIPE, text=True, cwd=tmp_path
        ) as process:
            while not first_epoch():
                assert process.poll() is None
                time.sleep(0.1)
            os.killpg(group, signal.SIGKILL)
            _, said = process.communicate(timeout=60)
    assert process.returncode == 3
    assert re.fullmatch(r"error: the Ray cluster at RAY_ADDRESS=\S+ has not answered for 15 s; .*\n", said), said
    monkeypatch.delenv("RAY_ADDRESS")
    resumed = search(output, "--num-samples", "2", "--resume")
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert "Going on with an interrupted search" in resumed.stdout
