"""MLflow gets every run once, whole, and gives it back."""

from __future__ import annotations

from pathlib import Path

import pytest

from csg.config import ConfigError, flatten
from csg.parsing import config_from_flat
from csg.tracking import RunTracker, Tracker, active_settings, default_tracking_uri, metric_name
from csg.training.run import Run
from tests.made_up_pair import TINY, made_up_pair


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Tracker:
    return Tracker(default_tracking_uri(str(tmp_path_factory.mktemp("store"))), "bars")


def finished_run(folder: Path, **settings: object) -> Run:
    named = {name.replace("__", "."): value for name, value in settings.items()}
    run = Run(config_from_flat({**TINY, "train.output": str(folder), **named}), made_up_pair())
    for _ in run.epochs():
        pass
    run.finish()
    return run


def test_a_run_comes_back_as_it_was_recorded(store: Tracker, tmp_path: Path) -> None:
    run = finished_run(tmp_path)
    parent = store.open_parent("search", "s1", name="search s1", params={"num_samples": 1}, description="")
    tracker = RunTracker(store, run, parent=parent, tags={"csg.trial": "0"})
    tracker.log()
    (read,) = store.children(parent, history=("source/val/mean_class_accuracy",))
    assert read.status == "finished"
    assert read.params == active_settings(run.config)
    assert read.history["source/val/mean_class_accuracy"] == {
        epoch: metrics["source/val/mean_class_accuracy"] for epoch, metrics in enumerate(run.record.epochs, start=1)
    }
    assert read.metrics["target/test/accuracy"] == run.record.final["target/test/accuracy"]
    assert read.tags["config_id"] == run.identity.config_id
    assert read.tags["data.fingerprint"] == run.pair.fingerprint
    for stream, held in run.pair.streams.items():
        assert held.fingerprint.startswith(read.tags[f"data.fingerprint.{stream}"])
    assert read.metrics["duration_seconds"] > 0 and read.metrics["megabytes"] > 0


def test_the_score_is_of_the_protocol_that_asks_whoever_trained_the_run(store: Tracker, tmp_path: Path) -> None:
    trained = finished_run(tmp_path)
    for protocol, stream in (("source", "source/val"), ("oracle", "target/val")):
        parent = store.open_parent("search", f"scores {protocol}", name="", params={}, description="")
        config = config_from_flat(flatten(trained.config) | {"selection.protocol": protocol})
        tracker = RunTracker(store, Run(config, made_up_pair()), parent=parent)
        tracker.log(trained.record)
        (read,) = store.children(parent)
        assert read.metrics["selection/score"] == trained.record.epochs[-1][f"{stream}/mean_class_accuracy"]


def test_a_class_of_any_name_can_be_recorded() -> None:
    assert metric_name("target/test/class_accuracy/car (old), R&B") == "target/test/class_accuracy/car _old__ R_B"
    assert metric_name("target/test/E0_mhe") == "target/test/E0_mhe"


def test_logging_twice_records_no_step_twice(store: Tracker, tmp_path: Path) -> None:
    run = finished_run(tmp_path)
    parent = store.open_parent("search", "s2", name="search s2", params={}, description="")
    for _ in range(2):
        RunTracker(store, run, parent=parent).log()
    (read,) = store.children(parent)
    history = store.client.get_metric_history(read.run_id, "train/loss")
    assert [metric.step for metric in history] == [1, 2]


def test_a_search_and_its_runs_are_found_again_by_identity(store: Tracker, tmp_path: Path) -> None:
    first, second = (store.open_parent("search", "s3", name="search s3", params={}, description="") for _ in range(2))
    run = finished_run(tmp_path)
    ids = {store.open_run(run.config, run.pair, parent=first) for _ in range(3)}
    assert first == second and len(ids) == 1
    elsewhere = store.open_parent("search", "s4", name="search s4", params={}, description="")
    assert store.open_run(run.config, run.pair, parent=elsewhere) not in ids


def test_stopped_and_failed_runs_say_so(store: Tracker, tmp_path: Path) -> None:
    parent = store.open_parent("search", "s5", name="search s5", params={}, description="")
    for seed, status in enumerate(("stopped", "failed", "interrupted")):
        run = Run(config_from_flat({**TINY, "train.output": str(tmp_path), "train.seed": seed}), made_up_pair())
        run.close(status, "loss_task is nan" if status == "failed" else "")  # type: ignore[arg-type]
        RunTracker(store, run, parent=parent).log()
    runs = store.children(parent)
    assert [run.status for run in runs] == ["stopped", "failed", "interrupted"]
    assert runs[1].tags["error"] == "loss_task is nan"
    assert [store.client.get_run(run.run_id).info.status for run in runs] == ["KILLED", "FAILED", "KILLED"]


def test_parameters_of_inactive_settings_are_not_logged() -> None:
    config = config_from_flat({"method.name": "source_only"})
    assert "method.temperature" not in active_settings(config)
    assert active_settings(config_from_flat({}))["method.stage3.pooling"] == "apool"
    assert set(active_settings(config)) <= set(flatten(config))


@pytest.mark.parametrize("uri", ["http://127.0.0.1:9", "sqlite:////proc/none/mlflow.db", "gopher://x"])
def test_a_store_that_cannot_be_reached_is_refused_at_once(uri: str) -> None:
    with pytest.raises(ConfigError, match="--tracking-uri: cannot"):
        Tracker(uri, "x")
