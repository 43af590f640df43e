"""Two searches at the same time in one cluster and one MLflow server, which dies for a while, as does a trial."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from mlflow.entities import ViewType

from csg.tracking import Tracker
from tests import warm
from tests.few_images import EXPERIMENT
from tests.process_group import free_port
from tests.process_tree import holding
from tests.simulated_cluster import started_cluster
from tests.stores import WITHOUT_JOBS
from tests.tune_spaces.search.test_search import TRIALS, command, what_happened
from tune_spaces.search.journal import Event

LONG = ("--data.source-images", "64", "--train.epochs", "3", "--train.checkpoint-minutes", "0.01")
"""Instead of 24 images and 2 epochs: trials that take seconds, so that both searches are under way at the same time.

A state is saved every 0.6 seconds: a killed trial still goes on amid an epoch, and most of its time is training.
"""
TRIALS_AT_ONCE = 8
"""Of the search that runs two at a time: it is not over before the other one's first trial has ended."""
AT_ONCE = {"MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0", "MLFLOW_HTTP_REQUEST_BACKOFF_JITTER": "0"}
"""A request that finds no server is repeated as often as ever, but MLflow's client does not sleep in between."""


@contextmanager
def mlflow_server(folder: Path, port: int) -> Iterator[None]:
    """Serve a store in ``folder``; leaving kills the server and everything it started."""
    store = f"sqlite:///{folder / 'mlflow.db'}"
    served = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", store, "--workers", "1"]
    served += ["--artifacts-destination", str(folder / "artifacts"), "--host", "127.0.0.1", "--port", str(port)]
    environment = os.environ | WITHOUT_JOBS
    process = subprocess.Popen(
        served, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        while not answers(port):
            assert process.poll() is None
            time.sleep(0.2)
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def answers(port: int) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as response:
        return bool(response.status == 200)
    return False


def endings(output: Path) -> list[Event]:
    events = what_happened(output) if any(output.glob("searches/*/*/journal.jsonl")) else []
    return [event for event in events if event.kind == "ended"]


def kill_a_trial(output: Path, *, drivers: Collection[int]) -> None:
    """Kill the process that trains a trial of a search, as soon as one does and has saved a state."""
    while not (any(output.glob("trained/*/checkpoint.pt")) and (found := holding(output / "trained") - set(drivers))):
        assert len(endings(output)) < TRIALS, "the search is over"
        time.sleep(0.02)
    os.kill(min(found), signal.SIGKILL)


def searching(commands: list[list[str]], environment: dict[str, str], folder: Path) -> list[warm.Popen]:
    return [warm.Popen(each, cwd=folder, env=environment, stdout=warm.PIPE, stderr=warm.STDOUT) for each in commands]


def decided(output: Path, trials: int) -> list[tuple[int, str]]:
    """See that a search suggested and ended each trial exactly once, and say how they ended."""
    suggested = [event.trial for event in what_happened(output) if event.kind == "suggested"]
    ended = [(event.trial, event.decision) for event in what_happened(output) if event.kind == "ended"]
    assert suggested == list(range(trials)) == sorted(trial for trial, _ in ended)
    return sorted(ended)


def told(tracker: Tracker) -> list[list[tuple[int, str]]]:
    """Read how the trials of each search ended out of the store."""
    parents = tracker.client.search_runs([tracker.experiment_id], "tags.`csg.kind` = 'search'")
    children = [tracker.read_children(parent.info.run_id) for parent in parents]
    return sorted(sorted((int(run.tags["csg.trial"]), run.status) for run in runs) for runs in children)


@pytest.mark.slow
def test_two_searches_share_a_cluster_and_a_store_and_neither_outages_nor_kills_lose_a_trial(tmp_path: Path) -> None:
    """The first, at concurrency 1, ends with the undisturbed one's trials and values; the second runs two at a time."""
    undisturbed, first, second = (tmp_path / name for name in ("undisturbed", "first", "second"))
    port = free_port()
    uri = f"http://127.0.0.1:{port}"
    many = ("--num-samples", str(TRIALS_AT_ONCE))
    commands = [
        command(first, *LONG, "--tracking-uri", uri),
        command(second, *LONG, "--tracking-uri", uri, "--seed", "1", "--concurrency", "2", *many),
    ]
    with started_cluster(cpus=3) as cluster:
        environment = os.environ | AT_ONCE | {"RAY_ADDRESS": cluster.address}
        alone = warm.run(command(undisturbed, *LONG), cwd=tmp_path, env=environment)
        assert alone.returncode == 0, alone.stdout + alone.stderr
        with mlflow_server(tmp_path, port):
            processes = searching(commands, environment, tmp_path)
            while not (endings(first) and endings(second)):
                for process in processes:
                    assert process.poll() is None, process.communicate()[0]
                time.sleep(0.05)
            assert len(endings(first)) < TRIALS - 1, "it has trials before it"
            assert len(endings(second)) < TRIALS_AT_ONCE - 1, "it has trials before it"
        before = [len(endings(output)) for output in (first, second)]
        kill_a_trial(first, drivers=[process.pid for process in processes])
        # Both go on without the store: another trial of each ends.
        while not all(len(endings(output)) > ended for output, ended in zip((first, second), before, strict=True)):
            assert {process.poll() for process in processes} <= {None, 0, 3}
            time.sleep(0.2)
        with mlflow_server(tmp_path, port):
            said = [process.communicate()[0] for process in processes]
            assert {process.returncode for process in processes} <= {0, 3}, "\n".join(said)
            # Where the store was away at a search's end, the same command fills it in.
            behind = [each for each, process in zip(commands, processes, strict=True) if process.returncode == 3]
            filled_in = searching(behind, environment, tmp_path)
            said = [process.communicate()[0] for process in filled_in]
            assert {process.returncode for process in filled_in} <= {0}, said
            assert what_happened(first) == what_happened(undisturbed)
            tracker = Tracker(uri, EXPERIMENT)
            assert told(tracker) == sorted([decided(first, TRIALS), decided(second, TRIALS_AT_ONCE)])
            for run in tracker.client.search_runs([tracker.experiment_id], "", ViewType.ACTIVE_ONLY, 1000):
                for metric in run.data.metrics:
                    points = tracker.client.get_metric_history(run.info.run_id, metric)
                    assert len({point.step for point in points}) == len({(p.step, p.value) for p in points}), metric
