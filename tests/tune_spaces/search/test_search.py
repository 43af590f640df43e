"""A real search: real Ray, a real MLflow store, real kills."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from csg.config.settings import flatten
from csg.parsing import build_config, parse_flags, read_yaml
from csg.storage.disk import DiskPlace
from csg.storage.files import hold_lock
from csg.storage.layout import place_at, place_to_read
from csg.tracking import TrackedRun, Tracker, get_default_tracking_uri
from csg.training.identity import compute_config_id
from csg.training.program import get_program_digest
from tests import warm
from tests.buckets import move_to
from tests.few_images import EXPERIMENT, few_images
from tests.simulated_cluster import started_cluster
from tests.small_space import SEARCHED
from tests.stores import put_store_below
from tune_spaces import visda_search
from tune_spaces.execution.trial import EPOCH, NUMBER, ROLE, SCORE, SECONDS, TrainingTrial
from tune_spaces.search.journal import Event, Journal, list_in_flight
from tune_spaces.search.options import SearchOptions
from tune_spaces.spaces.shipped import SPACES

ROOT = Path(__file__).parents[3]
TRIALS = 5
SMALL = [
    *("--data.source-images", "24", "--train.epochs", "2", "--train.batch-size", "8"),
    *("--num-samples", str(TRIALS), "--concurrency", "1", "--optim.warmup-steps", "2"),
    *("--train.checkpoint-minutes", "0", "--train.threads", "1", "--protocol", "source", *SEARCHED),
]
SCRIPT = str(ROOT / "tune_spaces" / "visda_search.py")
SCORE_METRIC = "source/val/mean_class_accuracy"


def command(output: Path | str, *flags: str) -> list[str]:
    """Return a search's command line; the store of an output on disk is there already, empty."""
    if isinstance(output, Path):
        put_store_below(output)
    return [sys.executable, SCRIPT, *few_images(), *SMALL, "--train.output", str(output), *flags]


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return warm.run(command, cwd=folder)


def search(output: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    return run(command(output, *flags), output.parent)


def journal(output: Path) -> Journal:
    (path,) = output.glob("searches/*/*/journal.jsonl")
    return Journal(DiskPlace(path))


def what_happened(output: Path) -> list[Event]:
    return timeless(journal(output))


def timeless(journal: Journal) -> list[Event]:
    return [Event(**{**vars(event), "time": 0.0, "seconds": 0.0}) for event in journal.read_events()]


def tracked(output: Path | str, experiment: str = EXPERIMENT) -> tuple[Tracker, str, list[TrackedRun]]:
    tracker = Tracker(get_default_tracking_uri(str(output)), experiment)
    parent = tracker.find({"csg.kind": "search"})
    assert parent is not None
    return tracker, parent, tracker.read_children(parent, history=(SCORE_METRIC,))


def everything(run: TrackedRun) -> tuple[Any, ...]:
    """What MLflow holds of a run, times and places left out."""
    metrics = {name: value for name, value in run.metrics.items() if "second" not in name and name != "megabytes"}
    params = {name: value for name, value in run.params.items() if name not in ("train.output", "data.cache")}
    return metrics, params, run.history, run.status


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A search in a Ray and in a store of its own, which it makes; Python starts as it does for everybody."""
    output = tmp_path_factory.mktemp("undisturbed") / "runs"
    searching = [sys.executable, SCRIPT, *few_images(), *SMALL, "--train.output", str(output)]
    done = subprocess.run(searching, capture_output=True, text=True, cwd=output.parent, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return output, done


Undisturbed = tuple[Path, "subprocess.CompletedProcess[str]"]


@pytest.mark.slow
def test_the_console_says_what_was_run_and_nothing_else(undisturbed: Undisturbed) -> None:
    output, done = undisturbed
    said = re.sub(r"^(checked \d+ of 240 images\n)+", "", done.stdout)
    assert said.startswith("data folders: synthetic images in renders/ -> real images in photographs/, 3 classes")
    assert "Best configuration by source/val/mean_class_accuracy (protocol source, 0 target queries)" in done.stdout
    assert re.search(r"best +selection score .* real accuracy .* % \[.*\] .* E_0 \(mhe\)", done.stdout)
    assert re.search(r"source only +selection score", done.stdout)
    assert f"mlflow ui --backend-store-uri sqlite:///{output}/mlflow.db" in done.stdout
    assert "csg train --config" in done.stdout
    assert not re.search(r"warning|\(pid=|\bINFO\b|tune\.run|alembic", done.stdout + done.stderr, re.IGNORECASE)


@pytest.mark.slow
def test_mlflow_holds_one_parent_and_a_child_per_trial(undisturbed: Undisturbed) -> None:
    tracker, parent, runs = tracked(undisturbed[0])
    assert [run.tags["csg.role"] for run in runs] == ["source_only", "default", "suggested", "suggested", "suggested"]
    endings = {event.trial: event for event in what_happened(undisturbed[0]) if event.kind == "ended"}
    for number, run in enumerate(runs):
        assert run.tags["csg.trial"] == str(number)
        assert run.status == endings[number].decision
        assert max(run.history[SCORE_METRIC]) == endings[number].epoch
        assert ("target/test/accuracy" in run.metrics) == (run.status == "finished")
        assert run.tags["config_id"] and run.tags["data.fingerprint"]
    finished = [run for run in runs if run.status == "finished" and run.tags["csg.role"] != "source_only"]
    best = max(finished, key=lambda run: run.metrics["selection/score"])
    assert [run.run_id for run in runs if run.tags.get("best")] == [best.run_id]
    (written,) = (undisturbed[0] / "searches").rglob("best.yaml")
    assert compute_config_id(build_config(read_yaml(DiskPlace(written)))) == best.tags["config_id"]
    artifacts = {file.path for file in tracker.client.list_artifacts(parent)}
    assert artifacts == {
        "best.yaml",
        "optimisation_history.png",
        "parameter_importance.png",
        "parameter_importance.json",
        "parallel_coordinates.png",
        "parallel_coordinates.html",
    }
    assert tracker.client.get_run(parent).data.metrics["target_queries"] == 0


@pytest.mark.slow
def test_nothing_measured_on_real_images_reaches_tune_or_optuna(undisturbed: Undisturbed) -> None:
    """Neither by name nor by value: every figure of the target is looked for in all that Tune and the search wrote."""
    output = undisturbed[0]
    _, _, runs = tracked(output)
    figures = {value for run in runs for name, value in run.metrics.items() if "target/" in name and 0 < value < 1}
    allowed = {value for run in runs for value in run.history[SCORE_METRIC].values()}
    texts = {str(value).encode() for value in figures - allowed if len(str(value)) > 10}
    assert len(texts) > 10
    files = [path for path in output.rglob("searches/**/tune/**/*") if path.is_file()]
    assert files
    for path in [*files, journal(output).file.local]:
        data = path.read_bytes()
        assert b"target/" not in data, path
        assert not [text for text in texts if text in data], path


@pytest.mark.slow
def test_stopped_trials_keep_no_state_and_finished_ones_only_their_weights(undisturbed: Undisturbed) -> None:
    kept: dict[str, set[str]] = {}
    for folder in (undisturbed[0] / "trained").iterdir():
        status = json.loads((folder / "record.json").read_text())["status"]
        kept[status] = kept.get(status, set()) | {path.name for path in folder.iterdir() if path.name != ".lock"}
    expected = {
        "finished": {"record.json", "selected.pt", "test_outputs.npz", "test_pictures.npz"},
        "stopped": {"record.json"},
    }
    assert "finished" in kept
    assert kept == {status: expected[status] for status in kept}, "which are stopped depends on the CPU's low bits"


@pytest.mark.slow
def test_the_same_command_again_repeats_nothing(undisturbed: Undisturbed, capsys: pytest.CaptureFixture[str]) -> None:
    output, first = undisturbed
    before = {path: path.stat().st_mtime_ns for path in output.rglob("record.json")}
    assert visda_search.main([*command(output)[2:], "--resume"]) == 0
    again = capsys.readouterr().out
    tail = first.stdout[first.stdout.index("Best configuration") :]
    assert again[again.index("Best configuration") :] == tail
    assert {path: path.stat().st_mtime_ns for path in output.rglob("record.json")} == before
    assert len(tracked(output)[2]) == TRIALS


def interrupted(command: list[str], cwd: Path, when: Callable[[], bool], how: signal.Signals) -> int:
    """Start a search and send its driver a signal as soon as something holds."""
    with warm.Popen(command, stdout=warm.DEVNULL, stderr=warm.DEVNULL, cwd=cwd) as process:
        while process.poll() is None:
            if when():
                os.kill(process.pid, how)
                process.wait()
            time.sleep(0.02)
    return process.wait()


def reported(trial: int) -> Callable[[list[Event]], bool]:
    return lambda events: any(event.kind == "reported" and event.trial == trial for event in events)


def reported_from(trial: int) -> Callable[[list[Event]], bool]:
    return lambda events: any(event.kind == "reported" and event.trial >= trial for event in events)


def ended(trial: int) -> Callable[[list[Event]], bool]:
    return lambda events: any(event.kind == "ended" and event.trial == trial for event in events)


@pytest.mark.slow
def test_a_search_that_is_ended_in_any_way_resumes_to_the_same_trials_and_values(
    undisturbed: Undisturbed, in_cluster: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By its time budget, by Ctrl-C, by a kill amid a trial and by one after the last trial, one after the other.

    All of them in one cluster, which is there when each begins.
    """
    output = tmp_path / "runs"
    kept: dict[Path, int] = {}
    stopped = search(output, "--time-budget", "0.01")
    assert stopped.returncode == 0, stopped.stdout + stopped.stderr
    assert "has used up its time budget. Go on with it: the same command with --resume" in stopped.stdout
    with hold_lock(journal(output).file.local.with_name(".lock"), wait=False):
        assert visda_search.main(command(output)[2:]) == 2
    assert "at work in another process" in capsys.readouterr().err
    assert interrupted_search(output, reported_from(1), signal.SIGINT) == 130
    tracker, parent, runs = tracked(output)
    assert tracker.client.get_run(parent).info.status == "KILLED"
    assert {run.status for run in runs} == {"finished", "interrupted"}
    for when in (reported_from(2), ended(TRIALS - 1)):
        kept |= finished_records(output)
        assert interrupted_search(output, when, signal.SIGKILL) == -signal.SIGKILL
    kept |= finished_records(output)
    resumed = search(output, "--resume")
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert "Going on with an interrupted search" not in resumed.stdout, "its conclusion is all that is left"
    assert what_happened(output) == what_happened(undisturbed[0])
    assert kept and {path: path.stat().st_mtime_ns for path in kept} == kept, "a finished trial was repeated"
    mine, theirs = tracked(output)[2], tracked(undisturbed[0])[2]
    assert [everything(run) for run in mine] == [everything(run) for run in theirs]


def interrupted_search(output: Path, when: Callable[[list[Event]], bool], how: signal.Signals) -> int:
    """Start a search, or go on with it, and send its driver a signal as soon as what is new in its journal says so."""
    before = len(journal(output).read_events())
    return interrupted(command(output), output.parent, lambda: when(journal(output).read_events()[before:]), how)


def finished_records(output: Path) -> dict[Path, int]:
    """Say when the record of each finished trial was last written."""
    records = [path for path in output.rglob("record.json") if json.loads(path.read_text())["status"] == "finished"]
    return {path: path.stat().st_mtime_ns for path in records}


@pytest.mark.slow
def test_a_search_killed_on_one_machine_goes_on_on_another_that_shares_an_object_store_with_it(
    undisturbed: Undisturbed, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    output = f"s3://bucket/search{bucket}"

    def in_store() -> Journal:
        above = place_at(output) / "searches" / EXPERIMENT
        return Journal(above / next(iter(above.list_names()), "none") / "journal.jsonl")

    move_to(tmp_path / "first")
    started = command(output)
    with started_cluster(cpus=2) as cluster:
        monkeypatch.setenv("RAY_ADDRESS", cluster.address)
        left = interrupted(started, tmp_path, lambda: reported(1)(in_store().read_events()), signal.SIGKILL)
    assert left == -signal.SIGKILL
    before = in_store().read_events()
    assert list_in_flight(before)
    move_to(tmp_path / "second")
    with started_cluster(cpus=2) as cluster:
        monkeypatch.setenv("RAY_ADDRESS", cluster.address)
        resumed = run([*started, "--resume"], tmp_path)
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert "Going on with an interrupted search" in resumed.stdout
    assert in_store().read_events()[: len(before)] == before
    assert timeless(in_store()) == what_happened(undisturbed[0])
    tail = undisturbed[1].stdout
    figures = tail[tail.index("Best configuration") : tail.index("Compare the runs")]
    assert figures in resumed.stdout
    where = re.search(r"csg train --config (\S+best\.yaml\S*) --train", resumed.stdout)
    assert where is not None
    (place,) = shlex.split(where[1])
    assert place.startswith("s3://") and read_yaml(place_to_read(place, "--config"))["train.output"] == output
    mine = sorted(tracked(output)[2], key=lambda run: run.tags["csg.trial"])
    assert [everything(run) for run in mine] == [everything(run) for run in tracked(undisturbed[0])[2]]
    kept = [path.name for path in (tmp_path / "second").rglob("*.pt")]
    assert kept == [], "what is in the store is not also on the machine"


@pytest.mark.slow
def test_a_failing_trial_is_recorded_with_its_error_and_the_search_goes_on(in_cluster: None, tmp_path: Path) -> None:
    """On the bundled benchmark, which is what the script searches unless told otherwise; its weights are not needed."""
    output = tmp_path / "runs"
    small = ("--data.image-size", "32", "--model.weights", "none", *SMALL, "--train.epochs", "1", "--num-samples", "3")
    done = run(
        [sys.executable, SCRIPT, *small, "--method.temperature", "1e-40", "--train.output", str(output)], tmp_path
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stderr == (
        "error: of 3 trials, 2 failed, for reasons of their configurations, which are not tried again\n"
    )
    assert done.stdout.startswith("bundled benchmark glyphs: synthetic digits from")
    runs = tracked(output, "glyphs")[2]
    assert [run.status for run in runs] == ["finished", "failed", "failed"]
    assert "loss_csg_stage" in runs[1].tags["error"] and "at step 0" in runs[1].tags["error"]
    assert "2 failed" in done.stdout and "no best configuration" in done.stdout


def test_a_trial_tells_tune_its_selection_score_and_nothing_else(tmp_path: Path) -> None:
    small = [*few_images(), "--data.source-images", "40", "--train.batch-size", "8", "--train.epochs", "1"]
    flags = parse_flags(SearchOptions, [*small, "--train.output", str(tmp_path)], prog="", description="")
    base = flatten(flags.config)
    trial = TrainingTrial.__new__(TrainingTrial)
    trial.setup(
        {"method.queue_size": 50, NUMBER: 0, ROLE: "suggested"}, base=base, program=get_program_digest(), data={}
    )
    told: dict[str, Any] = trial.step()
    assert trial._run is not None
    record = trial._run.record
    assert set(told) == {EPOCH, SCORE, SECONDS}
    assert told[SCORE] == record.epochs[0][SCORE_METRIC]
    assert "target/test/accuracy" in record.final
    assert not {f"target/test/{name}" for name in ("accuracy", "mean_class_accuracy")} & set(record.epochs[0])
    assert set(SPACES["csg"].names) <= set(base) | {"method.stages"}
