"""The loop: same seed same run, resume equals no interruption, target/test measured once."""

from __future__ import annotations

import itertools
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import torch

from csg.config import Config
from csg.messages.errors import UserError
from csg.parsing import build_config
from csg.storage.disk import DiskPlace
from csg.storage.files import make_folder
from csg.tasks.classification import Classification
from csg.training import loop, selection
from csg.training import run as run_module
from csg.training.checkpoint import load_state
from csg.training.evaluation import measure_test
from csg.training.loop import EpochReport, Training, fit
from csg.training.record import read_record
from csg.training.run import Run
from csg.training.selection import get_selection_score
from csg.training.step import NonFiniteLossError
from tests.made_up_pair import TINY, made_up_pair


def tiny(output: Path, **settings: object) -> Config:
    named = {name.replace("__", "."): value for name, value in settings.items()}
    base = {k: v for k, v in TINY.items() if not (k.startswith("method.") and "method.name" in named)}
    return build_config({**base, "train.output": str(output), **named})


def timeless(metrics: dict[str, float]) -> dict[str, float]:
    """Leave out what depends on the clock."""
    return {name: value for name, value in metrics.items() if "second" not in name}


def outcome(run: Run) -> tuple[list[dict[str, float]], dict[str, float], dict[str, torch.Tensor]]:
    for _ in run.train():
        pass
    final = run.finish()
    return [timeless(e) for e in run.record.epochs], timeless(final), load_state(run.selected)["model"]


def assert_equal_outcomes(one: Any, other: Any) -> None:
    assert one[:2] == other[:2]
    assert one[2].keys() == other[2].keys()
    assert all(torch.equal(one[2][name], other[2][name]) for name in one[2])


def test_two_runs_with_one_seed_are_identical(tmp_path: Path) -> None:
    pair = made_up_pair()
    one, other = (outcome(Run(tiny(tmp_path / name), pair)) for name in "ab")
    assert_equal_outcomes(one, other)
    assert one[0] != outcome(Run(tiny(tmp_path / "c", train__seed=1), pair))[0]


def test_every_epoch_reports_losses_accuracies_energies_speed_and_rate(tmp_path: Path) -> None:
    report = next(fit(Training(tiny(tmp_path), made_up_pair())))
    assert report.epoch == 1
    assert {
        "train/loss",
        "train/loss_task",
        "train/loss_csg_stage3",
        "train/loss_csg_stage4",
        "train/ranking_accuracy_csg_stage4",
        "train/lr",
        "train/images_per_second",
        "source/val/mean_class_accuracy",
        "source/shifted/mean_class_accuracy",
        "target/val/mean_class_accuracy",
        "target/val/E0_mhe",
        "target/val/E0_literal",
        "target/val/E1",
        "target/val/E2",
    } <= report.metrics.keys()
    assert not any("target/test" in name or "target/all" in name for name in report.metrics)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["csg", "source_only"])
@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
def test_training_on_bars_lowers_the_loss(tmp_path: Path, method: str, optimiser: str) -> None:
    lr = 0.05 if optimiser == "sgd" else 1e-3
    config = tiny(
        tmp_path,
        method__name=method,
        optim__name=optimiser,
        optim__lr=lr,
        optim__backbone_lr_factor=1.0,
        model__frozen_statistics=False,
        train__epochs=6,
    )
    losses = [report.metrics["train/loss_task"] for report in fit(Training(config, made_up_pair()))]
    assert losses[-1] < 0.7 * losses[0]


class Killed(Exception):
    """Stands in for a kill: nothing after it runs."""


@pytest.mark.slow
@pytest.mark.parametrize("kill_at", [3, 5, 8])
@pytest.mark.parametrize(
    "settings", [{}, {"optim__name": "adamw", "selection__epoch": "best", "data__augmentation": "none"}]
)
def test_a_run_resumed_inside_an_epoch_equals_one_that_was_not(
    tmp_path: Path, kill_at: int, settings: dict[str, Any]
) -> None:
    pair = made_up_pair()
    undisturbed = outcome(Run(tiny(tmp_path / "whole", **settings), pair))
    config = tiny(tmp_path / "cut", train__checkpoint_minutes=0.0, **settings)

    def kill(done: int, total: int) -> None:
        assert total == 10
        if done == kill_at:
            raise Killed

    with pytest.raises(Killed):
        for _ in Run(config, pair).train(kill):
            pass
    assert_equal_outcomes(outcome(Run(config, pair)), undisturbed)


@pytest.mark.parametrize("epochs_before", [1, 2])
def test_a_run_resumed_between_epochs_equals_one_that_was_not(tmp_path: Path, epochs_before: int) -> None:
    pair = made_up_pair()
    undisturbed = outcome(Run(tiny(tmp_path / "whole"), pair))
    config = tiny(tmp_path / "cut", train__checkpoint_minutes=0.0)
    assert len(list(itertools.islice(Run(config, pair).train(), epochs_before))) == epochs_before
    assert_equal_outcomes(outcome(Run(config, pair)), undisturbed)


def test_a_state_saved_before_its_epoch_was_recorded_loses_no_report(tmp_path: Path) -> None:
    pair, config = made_up_pair(), tiny(tmp_path, train__checkpoint_minutes=0.0, train__epochs=3)
    reports = fit(Training(config, pair), checkpoint=DiskPlace(tmp_path / "state.pt"))
    first, second = next(reports), next(reports)
    resumed = list(fit(Training(config, pair), checkpoint=DiskPlace(tmp_path / "state.pt")))
    assert resumed[0] == first
    assert timeless(resumed[1].metrics) == timeless(second.metrics)
    assert [report.epoch for report in resumed] == [1, 2, 3]


def test_a_finished_run_keeps_only_its_weights_and_is_returned_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair, config = made_up_pair(), tiny(tmp_path)
    first = Run(config, pair)
    expected = outcome(first)
    assert set(first.folder.list_names()) == {
        ".lock",
        "record.json",
        "selected.pt",
        "test_outputs.npz",
        "test_pictures.npz",
    }
    monkeypatch.setattr(run_module, "Training", None)
    again = Run(config, pair)
    assert [timeless(report.metrics) for report in again.train()] == expected[0]
    assert timeless(again.finish()) == expected[1]


def test_target_test_is_measured_once_and_on_the_selected_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[str] = []
    measure = Classification.measure

    def counting(*arguments: Any) -> Any:
        measured.append(arguments[-1])
        return measure(*arguments)

    monkeypatch.setattr(Classification, "measure", counting)
    run = Run(tiny(tmp_path), made_up_pair())
    for _ in run.train():
        assert "target/test" not in measured
    run.finish()
    run.finish()
    assert measured.count("target/test") == 1


def test_the_best_epoch_by_the_protocols_own_stream_is_selected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights: list[dict[str, torch.Tensor]] = []
    scores = iter([0.4, 0.9, 0.6])
    monkeypatch.setattr(selection, "get_selection_score", lambda metrics, config: metrics["planted"])
    config = tiny(tmp_path, selection__epoch="best", selection__protocol="shifted", train__epochs=3)
    run = Run(config, made_up_pair())
    original = loop.fit

    def planted(training: Any, **keywords: Any) -> Any:
        for report in original(training, **keywords):
            report.metrics["planted"] = next(scores)
            weights.append({k: v.clone() for k, v in training.learner.model.state_dict().items()})
            yield report

    monkeypatch.setattr(run_module, "fit", planted)
    selected = outcome(run)[2]
    assert all(torch.equal(selected[name], weights[1][name]) for name in selected)


@pytest.mark.parametrize(
    ("protocol", "stream"),
    [("source", "source/val"), ("shifted", "source/shifted"), ("oracle", "target/val"), ("paper", "target/all")],
)
def test_a_protocol_sees_its_own_stream_only(protocol: str, stream: str) -> None:
    seen = {f"{stream}/mean_class_accuracy": 0.25}
    settings = {"selection.protocol": protocol, "selection.epoch": "best"}
    assert get_selection_score(seen, build_config(settings)) == 0.25


def test_the_papers_protocol_selects_an_epoch_on_all_real_images(tmp_path: Path) -> None:
    settings = {"selection__protocol": "paper", "selection__epoch": "best", "train__epochs": 1}
    run = Run(tiny(tmp_path, **settings), made_up_pair())
    (epoch,), final, _ = outcome(run)
    right = 9 * epoch["target/val/accuracy"] + 15 * final["target/test/accuracy"]
    assert epoch["target/all/accuracy"] == pytest.approx(right / 24, rel=1e-12)
    assert run.score(1) == epoch["target/all/mean_class_accuracy"]
    assert "target/test/accuracy" not in epoch


def test_a_finished_run_stays_finished_whoever_closes_it(tmp_path: Path) -> None:
    pair, config = made_up_pair(), tiny(tmp_path)
    onlooker = Run(config, pair)
    outcome(Run(config, pair))
    onlooker.close("interrupted")
    assert Run(config, pair).record.status == "finished" and Run(config, pair).record.final


def test_a_stopped_run_that_is_wanted_after_all_is_trained_to_its_end(tmp_path: Path) -> None:
    """Also where its best epoch is one that was on record when its weights went."""
    pair, settings = made_up_pair(), {"selection__epoch": "best", "train__epochs": 3}
    undisturbed = outcome(Run(tiny(tmp_path / "whole", **settings), pair))
    config = tiny(tmp_path / "stopped", **settings)
    stopped = Run(config, pair)
    assert len(list(itertools.islice(stopped.train(), 2))) == 2
    stopped.close("stopped")
    assert not stopped.selected.exists() and not stopped.checkpoint.exists()
    assert_equal_outcomes(outcome(Run(config, pair)), undisturbed)


def test_a_run_that_another_is_at_is_left_to_it(tmp_path: Path) -> None:
    pair, config = made_up_pair(), tiny(tmp_path, train__checkpoint_minutes=0.0)
    reports = Run(config, pair).train()
    next(reports)
    onlooker = Run(config, pair)
    onlooker.close("stopped")
    assert onlooker.checkpoint.exists() and Run(config, pair).record.status == "running"
    reports.close()
    onlooker.close("stopped")
    assert not onlooker.checkpoint.exists() and Run(config, pair).record.status == "stopped"


def test_nobody_stops_a_trained_run_whose_test_is_to_come(tmp_path: Path) -> None:
    pair, config = made_up_pair(), tiny(tmp_path)
    run, other = Run(config, pair), Run(config, pair)
    for _ in run.train():
        pass
    next(other.train())
    other.close("stopped")
    assert run.finish().keys() >= {"target/test/accuracy", "selected/epoch"}
    assert other.finish() == run.record.final, "it was measured twice"


def test_a_run_is_its_measurers_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair, config = made_up_pair(), tiny(tmp_path)
    run = Run(config, pair)
    for _ in run.train():
        pass

    def seen(*given: Any) -> Any:
        with pytest.raises(BlockingIOError), run.folder.lock(wait=False):
            pass
        return measure_test(*given)

    monkeypatch.setattr(run_module, "measure_test", seen)
    run.finish()
    assert run.record.status == "finished"


def test_the_best_epochs_lost_weights_are_trained_again(tmp_path: Path) -> None:
    pair, config = made_up_pair(), tiny(tmp_path, selection__epoch="best", train__checkpoint_minutes=0.0)
    undisturbed = outcome(Run(tiny(tmp_path / "other", selection__epoch="best"), pair))
    run = Run(config, pair)
    next(run.train())
    run.selected.remove()
    assert_equal_outcomes(outcome(Run(config, pair)), undisturbed)


def test_what_a_kill_left_of_a_save_goes(tmp_path: Path) -> None:
    run = Run(tiny(tmp_path), made_up_pair()).create()
    lefts = [run.folder.local / f".{name}.0123abcd" for name in ("checkpoint.pt", "record.json", "test_outputs.npz")]
    for left in lefts:
        left.write_bytes(b"half a state")
    outcome(run)
    assert not any(left.exists() for left in lefts)


def test_a_failed_run_keeps_its_state_unless_its_loss_blew_up(tmp_path: Path) -> None:
    run = Run(tiny(tmp_path, train__checkpoint_minutes=0.0), made_up_pair())
    next(run.train())
    run.fail(OSError("disk full"))
    assert run.checkpoint.exists() and run.record.error == "OSError: disk full"
    run.fail(NonFiniteLossError("loss is nan"))
    assert not run.checkpoint.exists()


def test_a_second_process_waits_and_finds_what_the_first_has_trained(tmp_path: Path) -> None:
    pair, config = made_up_pair(), tiny(tmp_path)
    run = Run(config, pair)
    first = run.train()
    next(first)
    with pytest.raises(BlockingIOError), run.folder.lock(wait=False):
        pass
    second: list[EpochReport] = []
    waiting = Thread(target=lambda: second.extend(Run(config, pair).train()))
    waiting.start()
    recorded = [report.metrics for report in first][-1]
    waiting.join()
    assert [report.epoch for report in second] == [1, 2]
    assert second[1].metrics == recorded, "the second one trained it again"


def test_the_record_survives_on_disk(tmp_path: Path) -> None:
    run = Run(tiny(tmp_path), made_up_pair())
    next(run.train())
    record = read_record(run.folder)
    assert record is not None and len(record.epochs) == 1 and record.status == "running"
    run.close("stopped")
    assert not run.checkpoint.exists()


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    run = Run(tiny(tmp_path), made_up_pair()).create()
    for damaged in ("", '{"identity": {}', '{"identity": {}, "setting": 1}'):
        (run.folder.local / "record.json").write_text(damaged)
        with pytest.raises(UserError, match=r"record\.json, found a damaged file .* remove it, and the run is trained"):
            Run(run.config, run.pair)


def test_an_output_folder_that_cannot_be_written_to_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"train.output: cannot write to"):
        make_folder(tmp_path / "file" / "below", "train.output")


def test_evaluating_an_unfinished_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"0 of 2 epochs are on record.*train it first"):
        Run(tiny(tmp_path), made_up_pair()).load_selected_model()


def test_chunks_that_do_not_divide_a_map_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"method.stage4.chunks: expected a divisor"):
        next(fit(Training(tiny(tmp_path, method__stages="4", method__stage4__chunks=2), made_up_pair())))
