"""The search as a submitted job: sent from a clone, stopped half-way, sent again, finished."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.few_images import few_images
from tests.process_group import free_ports
from tests.process_tree import descends, processes_named
from tests.tune_spaces.search.test_search import ROOT, journal, tracked

BIN = Path(sys.executable).parent
TRIALS = 3
SEARCH = [
    *("--data.source-images", "88", "--train.epochs", "4", "--train.batch-size", "8", "--optim.warmup-steps", "2"),
    *("--num-samples", str(TRIALS), "--concurrency", "1", "--space", "contrast", "--train.threads", "1"),
]
"""Trials take a few seconds each: longer than it takes to ask for a stop."""
START_SECONDS = 60.0
ASK_SECONDS = 0.5
"""How often a head is asked."""
STOP_SECONDS = 60.0
"""How long processes may take to be gone after their job was stopped."""


@dataclass(frozen=True)
class Head:
    """A Ray head of its own, as ``ray start --head`` leaves it."""

    address: str
    environment: dict[str, str]
    clone: Path
    process: int

    def submit(self, *flags: str, wait: bool = True) -> subprocess.CompletedProcess[str]:
        """Send the search, as the README says."""
        options = [] if wait else ["--no-wait"]
        script = [sys.executable, "tune_spaces/visda_search.py", *few_images(), *SEARCH, *flags]
        command = [str(BIN / "ray"), "job", "submit", *options, "--working-dir", ".", "--", *script]
        deadline = time.monotonic() + START_SECONDS
        while True:
            done = subprocess.run(
                command, capture_output=True, text=True, cwd=self.clone, env=self.environment, check=False
            )
            # A head that has just started answers before it can take jobs.
            if "No available agent" not in done.stdout + done.stderr or time.monotonic() > deadline:
                return done
            time.sleep(1)

    def trials(self) -> list[int]:
        """Find the processes that train trials: Ray names processes after their actors, Tune's wrapper of a trial."""
        return [process for process in processes_named("ray::ResourceTrainable") if descends(process, self.process)]

    def ask(self, path: str = "", *, method: str = "GET") -> Any:
        """Ask about jobs what ``ray job`` asks, which takes seconds to import Ray: in those a search may end.

        Raises:
            OSError: no answer, or a refusal.
        """
        token = Path(self.environment["HOME"]) / ".ray" / "auth_token"
        headers = {"Authorization": f"Bearer {token.read_text().strip()}"} if token.exists() else {}
        request = urllib.request.Request(f"{self.address}/api/jobs/{path}", method=method, headers=headers)
        with urllib.request.urlopen(request, timeout=START_SECONDS) as response:
            return json.load(response)


@contextmanager
def started_head(authentication: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Head]:
    """Start a head, and make a clone to submit from.

    The head's folder has a short name: those of its sockets may have 107 characters.
    """
    home, clone = Path(tempfile.mkdtemp(prefix="csg-")), tmp_path_factory.mktemp("clone") / "clone"
    ignored = shutil.ignore_patterns(".venv", "runs", ".git", "__pycache__", "*.egg-info", ".*_cache", ".hypothesis")
    shutil.copytree(ROOT, clone, ignore=ignored)
    (clone / "runs").mkdir()
    (clone / "runs" / "large.bin").write_bytes(os.urandom(1 << 20))
    port, dashboard, client, agent = free_ports(4)
    address = f"http://127.0.0.1:{dashboard}"
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment = {**inherited, "HOME": str(home), "RAY_AUTH_MODE": authentication, "PYTHONPATH": ""}
    if authentication == "token":
        subprocess.run(
            [str(BIN / "ray"), "get-auth-token", "--generate"], env=environment, capture_output=True, check=True
        )
    command = [str(BIN / "ray"), "start", "--head", "--block", "--num-cpus", "2", "--node-ip-address", "127.0.0.1"]
    command += ["--port", str(port), "--dashboard-host", "127.0.0.1", "--dashboard-port", str(dashboard)]
    command += ["--ray-client-server-port", str(client), "--temp-dir", str(home / "ray")]
    # Left alone it is always the same port; where another Ray has it, the head takes no job: "No available agent".
    command += ["--dashboard-agent-listen-port", str(agent)]
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        started = Head(address, {**environment, "RAY_ADDRESS": address}, clone, process.pid)
        while not knows_of_jobs(started):
            assert process.poll() is None
            time.sleep(ASK_SECONDS)
        yield started
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
        shutil.rmtree(home, ignore_errors=True)


def knows_of_jobs(head: Head) -> bool:
    """Whether a head says which jobs it has; it answers before it knows."""
    try:
        return bool(head.ask() == [])
    except OSError:
        return False


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Head]:
    """A head that asks for a token."""
    with started_head("token", tmp_path_factory) as started:
        yield started


@pytest.mark.slow
def test_a_job_that_is_stopped_and_sent_again_finishes_the_search(head: Head, tmp_path: Path) -> None:
    output = tmp_path / "runs"
    sent = head.submit("--train.output", str(output), wait=False)
    assert sent.returncode == 0, sent.stdout + sent.stderr
    name = re.search(r"raysubmit_\w+", sent.stdout)
    assert name is not None
    asked = time.monotonic()
    while not endings(output):
        if time.monotonic() > asked + ASK_SECONDS:
            assert head.ask(name[0])["status"] in ("PENDING", "RUNNING"), head.ask(f"{name[0]}/logs")["logs"]
            asked = time.monotonic()
        time.sleep(0.05)
    while not head.trials():
        assert endings(output) < TRIALS, "the search is over"
        time.sleep(0.02)
    head.ask(f"{name[0]}/stop", method="POST")
    deadline = time.monotonic() + STOP_SECONDS
    while head.ask(name[0])["status"] != "STOPPED":
        assert time.monotonic() < deadline, "the job goes on"
        time.sleep(ASK_SECONDS)
    while head.trials():
        assert time.monotonic() < deadline, "trials go on without their job"
        time.sleep(0.2)
    assert endings(output) < TRIALS
    uploaded = list((Path(head.environment["HOME"]) / "ray").rglob("visda_search.py"))
    assert uploaded and not list((Path(head.environment["HOME"]) / "ray").rglob("large.bin")), "what git ignores stays"
    again = head.submit("--train.output", str(output), "--resume")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "Best configuration by target/val" in again.stdout and "succeeded" in again.stdout
    _, parent, runs = tracked(output)
    assert [run.tags["csg.trial"] for run in runs] == [str(number) for number in range(TRIALS)] and parent
    assert {run.status for run in runs} <= {"finished", "stopped"}


def endings(output: Path) -> int:
    """Count the trials of a search that have ended."""
    events = journal(output).read_events() if any(output.glob("searches/*/*/journal.jsonl")) else []
    return sum(event.kind == "ended" for event in events)


@pytest.mark.slow
def test_a_head_that_asks_for_no_token_takes_a_job_too(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    output = tmp_path / "runs"
    with started_head("disabled", tmp_path_factory) as head:
        done = head.submit("--train.output", str(output), "--num-samples", "2", "--data.source-images", "40")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Best configuration by target/val" in done.stdout and "succeeded" in done.stdout
    assert {run.status for run in tracked(output)[2]} == {"finished"}


@pytest.mark.slow
def test_a_job_says_that_its_own_folder_is_no_place_for_results_and_fails(head: Head) -> None:
    done = head.submit()
    assert done.returncode != 0
    assert "--train.output: a submitted job's working folder is removed when it ends" in done.stdout + done.stderr
