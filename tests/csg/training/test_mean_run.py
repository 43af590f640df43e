"""The trainings without each source in turn, and the mean that scores a configuration."""

from __future__ import annotations

import dataclasses
import statistics
from pathlib import Path
from typing import Any

import pytest

from csg.data.held_out import HELD_OUT, hold_out
from csg.data.pair import SOURCE_SHIFTED, SOURCE_TRAIN, SOURCE_VAL, TARGET_VAL, Pair
from csg.data.reading.joined import JoinedStream
from csg.messages.errors import UserError
from csg.training import run as run_module
from csg.training.mean_run import MeanRun, open_trial_run, read_held_out_figures
from csg.training.record import Record
from csg.training.run import Run
from csg.training.selection import get_score_metric
from tests.csg.training.test_selection import SCENES, permute_labels, train
from tests.finished_run import new_run
from tests.made_up_pair import made_up_pair
from tests.made_up_scenes import made_up_scenes

PROTOCOL: dict[str, Any] = {"selection__protocol": "held_out_source", "train__epochs": 3}
TWO = made_up_pair(sources=("a", "b"))


def two_scenes() -> Pair:
    """Maps of two sources."""
    pair = made_up_scenes()
    joined = {
        SOURCE_TRAIN: JoinedStream([pair.streams[SOURCE_TRAIN], made_up_scenes(train=6).streams[SOURCE_TRAIN]]),
        SOURCE_VAL: JoinedStream([pair.streams[SOURCE_VAL], pair.streams[SOURCE_SHIFTED]]),
    }
    return dataclasses.replace(pair, streams={**pair.streams, **joined}, sources=("a", "b"))


def new_mean(output: Path, pair: Pair = TWO, **settings: Any) -> MeanRun:
    run = open_trial_run(new_run(output, pair, **{**PROTOCOL, **settings}).config, pair)
    assert isinstance(run, MeanRun)
    return run.create()


def train_mean(run: MeanRun) -> Record:
    for _ in run.train():
        pass
    run.finish()
    return run.record


def timeless(metrics: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if "second" not in name}


@pytest.mark.parametrize(("pair", "settings"), [(TWO, {}), (two_scenes(), SCENES)], ids=["images", "maps"])
def test_the_score_is_the_mean_of_trainings_that_are_as_if_each_were_alone(
    pair: Pair, settings: dict[str, Any], tmp_path: Path
) -> None:
    settings = {**PROTOCOL, **settings, "train__epochs": 2}
    run = new_mean(tmp_path / "mean", pair, **settings)
    record = train_mean(run)
    metric = get_score_metric(run.config)
    assert metric.startswith("held_out/") and record.status == "finished" and len(record.epochs) == 2
    alone = {name: new_run(tmp_path / name, hold_out(pair, name), **settings, data__held_out=name) for name in "ab"}
    for name, part in alone.items():
        train(part)
        assert list(map(timeless, part.record.epochs)) == list(map(timeless, run.parts[name].record.epochs))
        assert timeless(part.record.final) == timeless(run.parts[name].record.final)
        assert part.identity == run.parts[name].identity
    scores = [part.record.epochs[-1][metric] for part in alone.values()]
    assert record.epochs[-1][metric] == run.score(2) == statistics.fmean(scores)
    assert record.final[f"selected/{metric}"] == run.score(2)
    assert record.durations["duration_seconds"] == pytest.approx(
        sum(part.record.durations["duration_seconds"] for part in run.parts.values())
    )
    assert len({run.identity.name, *(part.identity.name for part in alone.values())}) == 3


def test_what_is_on_record_is_not_trained_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = new_run(tmp_path, hold_out(TWO, "b"), **PROTOCOL, data__held_out="b")
    train(alone)
    written = (alone.folder / "record.json").local.stat().st_mtime_ns
    record = train_mean(new_mean(tmp_path))
    whole = Run(new_mean(tmp_path).config, TWO)
    metric = f"selected/{get_score_metric(whole.config)}"
    assert read_held_out_figures(whole)[metric] == record.final[metric]
    assert read_held_out_figures(new_run(tmp_path, TWO, train__epochs=2)) == {}, "it has no such trainings"
    monkeypatch.setattr(run_module, "Training", lambda *_: pytest.fail("trained again"))
    assert timeless(train_mean(new_mean(tmp_path)).final) == timeless(record.final)
    assert (alone.folder / "record.json").local.stat().st_mtime_ns >= written


@pytest.mark.parametrize("reports", [1, 2])
def test_resumed_equals_undisturbed(tmp_path: Path, reports: int) -> None:
    """Ended where a part has one epoch more than the other, and the state of neither is that of its last epoch."""
    undisturbed = train_mean(new_mean(tmp_path / "one"))
    disturbed = new_mean(tmp_path / "other", train__checkpoint_minutes=0)
    first, second = (part.train() for part in disturbed.parts.values())
    for _ in range(reports):
        next(first)
    next(second)
    first.close()
    second.close()
    assert len(new_mean(tmp_path / "other").record.epochs) == 1
    resumed = train_mean(new_mean(tmp_path / "other", train__checkpoint_minutes=0))
    assert list(map(timeless, resumed.epochs)) == list(map(timeless, undisturbed.epochs))
    assert timeless(resumed.final) == timeless(undisturbed.final)


def test_no_target_is_read(tmp_path: Path) -> None:
    pairs = {"labelled": TWO, "permuted": permute_labels(TWO)}
    streams = {name: stream for name, stream in TWO.streams.items() if not name.startswith("target/")}
    pairs["none"] = dataclasses.replace(TWO, streams=streams)
    records = {name: train_mean(new_mean(tmp_path / name, pair)) for name, pair in pairs.items()}
    held_out = [[{n: v for n, v in e.items() if n.startswith("held_out/")} for e in r.epochs] for r in records.values()]
    assert held_out[0] == held_out[1] == held_out[2] and held_out[0][0]
    assert f"{TARGET_VAL}/accuracy" not in records["none"].epochs[0]


def test_classes_that_a_source_lacks_do_not_count(tmp_path: Path) -> None:
    pair = made_up_pair(sources=("a", "b", "c"))  # each has one class
    run = new_mean(tmp_path, pair, train__epochs=1)
    final = train_mean(run).final
    for part in run.parts.values():
        assert part.record.final[f"selected/{HELD_OUT}/mean_class_accuracy"] in (0.0, 1.0)
    assert final[f"selected/{HELD_OUT}/mean_class_accuracy"] == final[f"selected/{HELD_OUT}/accuracy"]


def test_one_that_fails_is_named_and_the_other_is_left_to_go_on_with(tmp_path: Path) -> None:
    run = new_mean(tmp_path)
    run._training = "b"
    run.fail(ValueError("no"))
    assert {name: part.record.status for name, part in run.parts.items()} == {"a": "interrupted", "b": "failed"}
    assert run.record.status == "failed" and run.record.error == "without b: ValueError: no"


def test_what_cannot_be_scored_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^selection\.protocol: 'held_out_source' leaves out one source at a time, so"):
        new_run(tmp_path, made_up_pair(), **PROTOCOL)
    with pytest.raises(UserError, match=r"^selection\.epoch: expected last with selection\.protocol=held_out_source"):
        new_run(tmp_path, TWO, **PROTOCOL, selection__epoch="best")
    with pytest.raises(UserError, match=r"^train\.workers: expected 1 in a search with .*, found 2$"):
        new_mean(tmp_path, train__workers=2, model__frozen_statistics=True)


def test_a_training_without_a_source_may_select_an_epoch_by_it(tmp_path: Path) -> None:
    run = new_run(tmp_path, hold_out(TWO, "a"), **PROTOCOL, data__held_out="a", selection__epoch="best")
    train(run)
    scores = [epoch["held_out/mean_class_accuracy"] for epoch in run.record.epochs]
    assert run.record.final["selected/epoch"] == scores.index(max(scores)) + 1
    assert open_trial_run(run.config, run.pair).identity == run.identity, "one source is left out, and no other"


def test_a_training_on_all_sources_has_no_score_of_its_own(tmp_path: Path) -> None:
    run = new_run(tmp_path, TWO, **PROTOCOL)
    train(run)
    assert run.score(3) != run.score(3), "it is not a number"
    assert "held_out/accuracy" not in run.record.epochs[0]
