"""Averages of weights around any method: SWAD's window, WiSE-FT's mixture, and what a kill must not lose."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import cross_entropy

from csg.data.pair import Pair
from csg.parsing import build_config
from csg.storage.disk import DiskPlace
from csg.tasks.measurement import Inference, to_input
from csg.training.averaging.loss_valley import LossValley
from csg.training.averaging.swad import choose_evaluations, measure_loss
from csg.training.checkpoint import load_state, save_state
from csg.training.dry_run import plan_run
from csg.training.evaluation import measure_validation
from csg.training.loop import Training, fit
from csg.training.run import Run
from tests.csg.training.test_training import Killed, assert_equal_outcomes, outcome, tiny
from tests.csg.workers.test_distributed import SCENES
from tests.made_up_pair import TINY, labelled, made_up_pair
from tests.made_up_scenes import made_up_scenes


def algorithm_1(losses: list[float], *, n_s: int, n_e: int, r: float) -> tuple[int, int] | None:
    """Find the window as the paper writes it: first and last evaluation, from 1; None where it never opens."""
    opened, limit = None, None
    for i in range(1, len(losses) + 1):
        back = losses[:i][::-1]  # the newest first
        if limit is None:
            if i >= n_s and back[n_s - 1] == min(back[:n_s]):
                opened = i - n_s + 1
                limit = r / n_s * sum(back[:n_s])
        elif i >= n_e and limit < min(back[:n_e]):
            assert opened is not None
            return opened, i - n_e
    return None if opened is None else (opened, len(losses))


@settings(max_examples=300)
@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=14),
    st.integers(1, 4),
    st.integers(1, 4),
    st.sampled_from([1.0, 1.3, 2.0]),
)
def test_the_window_is_that_of_algorithm_1(losses: list[int], n_s: int, n_e: int, r: float) -> None:
    """Three steps come before each evaluation; every step has one weight, its number."""
    valley = LossValley(open_patience=n_s, close_patience=n_e, tolerance=r)
    for evaluation, loss in enumerate(losses):
        for step in range(3):
            valley.add({"w": torch.tensor(float(3 * evaluation + step), dtype=torch.float64)})
        valley.note(float(loss))
    window = algorithm_1([float(loss) for loss in losses], n_s=n_s, n_e=n_e, r=r)
    average = valley.average()
    if window is None:
        assert average is None and not valley.is_open
        return
    first, last = window
    assert average is not None
    steps = range(3 * (first - 1), 3 * last)
    assert float(average["w"]) == pytest.approx(sum(steps) / len(steps), rel=1e-12)
    assert valley.is_closed or last == len(losses)


def test_a_window_that_is_open_holds_the_steps_since_the_last_evaluation_too() -> None:
    valley = LossValley(open_patience=1, close_patience=2, tolerance=1.0)
    for step in range(3):
        valley.add({"w": torch.tensor(float(step)), "n": torch.tensor(step)})
        if step == 0:
            valley.note(1.0)
    average = valley.average()
    assert average is not None
    assert float(average["w"]) == pytest.approx(1.0) and int(average["n"]) == 2, "of a counter the newest"


def test_evaluations_are_spread_over_the_epoch_and_one_is_at_its_end() -> None:
    assert choose_evaluations(32, 5) == {7, 13, 20, 26, 32}
    assert choose_evaluations(3, 5) == {1, 2, 3}


def start_training(pair: Pair | None = None, **named: Any) -> Training:
    flat = {**TINY, "train.precision": "float64", **{key.replace("__", "."): value for key, value in named.items()}}
    if "method.name" in flat:
        flat = {name: value for name, value in flat.items() if name == "method.name" or not name.startswith("method.")}
    return Training(build_config(flat), pair or made_up_pair())


def states_after_each_step(training: Training) -> list[dict[str, Tensor]]:
    states: list[dict[str, Tensor]] = []
    list(fit(training, on_step=lambda *_: states.append(copy.deepcopy(training.learner.model.state_dict()))))
    return states


def test_the_validation_loss_is_the_mean_cross_entropy_of_source_val() -> None:
    training = start_training(train__evaluation_batch_size=5)
    model, config = training.learner.model, training.config
    stream = labelled(training.pair, "source/val")
    everything = torch.arange(len(stream))
    with torch.no_grad():
        logits = Inference(model, config)(to_input(model, config, stream.load_images(everything))).logits
    expected = float(cross_entropy(logits, stream.labels))
    assert measure_loss(model, config, training.pair) == pytest.approx(expected, rel=1e-9)
    scenes = start_training(made_up_scenes(), **{name.replace(".", "__"): value for name, value in SCENES.items()})
    assert math.isfinite(measure_loss(scenes.learner.model, scenes.config, scenes.pair))


def test_swad_changes_nothing_of_the_run_and_measures_the_mean_of_its_window(monkeypatch: pytest.MonkeyPatch) -> None:
    losses = iter([5.0, 3.0, 3.5, 4.0])  # opens at the second of four evaluations of five steps each
    monkeypatch.setattr("csg.training.averaging.swad.measure_loss", lambda *_: next(losses))
    plain = states_after_each_step(start_training())
    swad = start_training(
        averaging__name="swad", averaging__evaluations_per_epoch=2, averaging__open_patience=2, train__epochs=2
    )
    states = states_after_each_step(swad)
    assert all(
        torch.equal(mine[name], theirs[name]) for mine, theirs in zip(states, plain, strict=True) for name in mine
    )
    in_window = states[3:]  # of steps 1 to 3, 4 and 5, 6 to 8, and 9 and 10 of ten
    measured = swad.make_measured_model().state_dict()
    for name, tensor in measured.items():
        if tensor.is_floating_point():
            expected = torch.stack([state[name] for state in in_window]).mean(dim=0)
            torch.testing.assert_close(tensor, expected, rtol=1e-12, atol=1e-14)


def test_a_mixture_of_one_is_the_run_and_of_zero_a_head_on_the_frozen_start() -> None:
    plain = states_after_each_step(start_training(method__name="source_only"))[-1]
    whole, half, none = (
        start_training(method__name="source_only", averaging__name="wise_ft", averaging__mixing=mixing)
        for mixing in (1.0, 0.5, 0.0)
    )
    for training in (whole, half, none):
        assert all(torch.equal(tensor, plain[name]) for name, tensor in states_after_each_step(training)[-1].items()), (
            "the run is what it is without"
        )
    assert all(torch.equal(tensor, plain[name]) for name, tensor in whole.make_measured_model().state_dict().items())
    probe = states_after_each_step(start_training(method__name="oracle_imagenet"))[-1]
    zero = none.make_measured_model().state_dict()
    for name, tensor in zero.items():
        torch.testing.assert_close(tensor, probe[name], rtol=1e-9, atol=1e-12)
    for name, tensor in half.make_measured_model().state_dict().items():
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor, (zero[name] + plain[name]) / 2, rtol=1e-12, atol=1e-14)


def test_the_weights_that_are_measured_are_those_that_are_kept(tmp_path: Path) -> None:
    averaged = Run(tiny(tmp_path, averaging__name="wise_ft"), made_up_pair())
    _, _, kept = outcome(averaged)
    assert averaged._training is not None
    plain = Run(tiny(tmp_path), made_up_pair())
    assert plain.identity.config_id != averaged.identity.config_id
    _, _, last = outcome(plain)
    assert any(not torch.equal(kept[name], last[name]) for name in kept)
    # finish() has loaded them for target/test; a training of the same configuration ends with the same mixture.
    again = Training(averaged.config, made_up_pair())
    reports = list(fit(again))
    assert all(torch.equal(kept[name], tensor) for name, tensor in again.make_measured_model().state_dict().items())
    measured = measure_validation(again.make_measured_model(), again.config, again.pair, again.unlabelled)
    assert {name: reports[-1].metrics[name] for name in measured} == measured
    assert measured != measure_validation(again.learner.model, again.config, again.pair, again.unlabelled)


REMEMBERING: dict[str, dict[str, Any]] = {
    "mixstyle, pasta, swad that is open": {
        **{"method__name": "mixstyle", "data__augmentation": "pasta"},
        **{"averaging__name": "swad", "averaging__open_patience": 1, "averaging__tolerance": 99.0},
    },
    "miro, swad that is closed": {
        **{"method__name": "miro", "averaging__name": "swad", "averaging__open_patience": 1},
        **{"averaging__close_patience": 1, "averaging__tolerance": 1.0, "optim__lr": 0.5},
        **{"optim__backbone_lr_factor": 0.1},
    },
    "lp_ft, wise_ft, adamw": {
        **{"method__name": "lp_ft", "model__frozen_statistics": False},
        **{"averaging__name": "wise_ft", "optim__name": "adamw"},
    },
    "gcisg": {"method__name": "gcisg", "method__queue_size": 21},
    "low_rank": {"method__name": "low_rank"},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", REMEMBERING)
def test_a_run_killed_in_either_epoch_and_resumed_ends_bit_identical(tmp_path: Path, name: str) -> None:
    pair, chosen = made_up_pair(sources=("serif", "sans")), REMEMBERING[name]
    undisturbed = outcome(Run(tiny(tmp_path / "whole", **chosen), pair))
    config = tiny(tmp_path / "cut", train__checkpoint_minutes=0.0, **chosen)

    def kill_at(step: int) -> Any:
        def kill(done: int, _: int) -> None:
            if done == step:
                raise Killed

        return kill

    for step in (3, 8):
        with pytest.raises(Killed):
            list(Run(config, pair).train(kill_at(step)))
    assert_equal_outcomes(outcome(Run(config, pair)), undisturbed)


def test_a_dry_run_counts_the_copies_that_an_average_is_made_of() -> None:
    swad = plan_run(start_training(averaging__name="swad").config, images=40, classes=3).memory
    assert swad["weights to average"] == pytest.approx(8 * swad["weights of the model"])
    assert "weights to average" not in plan_run(start_training().config, images=40, classes=3).memory


def test_a_valley_survives_a_checkpoint(tmp_path: Path) -> None:
    whole = LossValley(open_patience=2, close_patience=2, tolerance=1.0)
    cut = LossValley(open_patience=2, close_patience=2, tolerance=1.0)
    weights = {"w": torch.zeros(())}
    for step, loss in enumerate([3.0, 1.0, 1.2, 1.1, 5.0, 5.0]):
        for valley in (whole, cut):
            valley.add({"w": torch.tensor(float(step))})
            valley.note(loss)
        save_state(DiskPlace(tmp_path / "valley.pt"), cut.get_state())
        cut = LossValley(open_patience=2, close_patience=2, tolerance=1.0)
        cut.restore(load_state(DiskPlace(tmp_path / "valley.pt")), like=weights)
    mine, theirs = cut.average(), whole.average()
    assert whole.is_closed and mine is not None and theirs is not None and torch.equal(mine["w"], theirs["w"])
