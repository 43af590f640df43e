"""CSG's rivals: what all of them share."""

from __future__ import annotations

import pytest
import torch

from csg.losses.distillation import distillation
from csg.losses.squared_distance import feature_distance, weight_distance
from csg.methods import METHODS
from tests.rivals import doubles, rival

RIVALS = ("weight_l2", "synaptic_intelligence", "feature_l2", "asg")


@pytest.mark.parametrize("name", RIVALS)
def test_a_penalty_is_zero_at_the_start(name: str) -> None:
    it = rival(name)
    _, scalars = it.step(doubles(), 1.0)
    (term,) = (value for key, value in scalars.items() if key.startswith("loss_") and key != "loss_task")
    assert abs(term) < 1e-12
    assert scalars["loss"] == pytest.approx(scalars["loss_task"], abs=1e-12)


@pytest.mark.parametrize("name", RIVALS)
def test_a_penalty_counts_once_the_model_has_moved(name: str) -> None:
    it = rival(name)
    for seed in range(2):
        it.step(doubles(seed), 1.0)
    it.method.after_epoch(it.model)
    _, scalars = it.step(doubles(2), 1.0)
    (term,) = (value for key, value in scalars.items() if key.startswith("loss_") and key != "loss_task")
    assert term > 1e-12


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        *((name, "weight") for name in ("weight_l2", "synaptic_intelligence", "feature_l2", "miro")),
        *(("asg", "distillation_weight"), ("drpc", "consistency_weight")),
    ],
)
def test_a_term_counts_as_much_as_its_setting_says(name: str, setting: str) -> None:
    it = rival(name, **{f"method__{setting}": 0.37})
    for seed in range(2):
        it.step(doubles(seed), 1.0)
    it.method.after_epoch(it.model)
    result, scalars = it.step(doubles(2), 1.0)
    added = sum(0.37 * scalars[f"loss_{term.name}"] for term in result.terms)
    assert abs(added) > 1e-6
    assert scalars["loss"] == pytest.approx(scalars["loss_task"] + added, rel=1e-12)


def test_the_losses_have_the_gradients_of_their_formulas() -> None:
    draw = torch.Generator().manual_seed(0)
    one, two, three = (torch.randn(4, 5, dtype=torch.float64, generator=draw, requires_grad=True) for _ in range(3))
    assert torch.autograd.gradcheck(distillation, (one, two))
    assert torch.autograd.gradcheck(feature_distance, (one, two))
    assert torch.autograd.gradcheck(lambda a, b, c: weight_distance([(a, b, c), (b, a, None)]), (one, two, three))


@pytest.fixture(scope="module")
def glyphs_cache(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("cache"))


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_every_method_lowers_its_loss_on_glyphs(name: str, glyphs_cache: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from csg.data import load_pair
    from csg.parsing import build_config
    from csg.training import loop

    monkeypatch.setattr(loop, "measure_validation", lambda *_: {})  # only losses are looked at
    config = build_config(
        {"method.name": name, "data.source_images": 160, "data.image_size": 32, "data.cache": glyphs_cache}
        | {"train.epochs": 6, "train.batch_size": 16, "optim.warmup_steps": 2}
    )
    first, *_, last = (report.metrics for report in loop.fit(loop.Training(config, load_pair(config.data))))
    # Both fall from epoch to epoch, least under ASG's controller.
    assert last["train/loss_task"] < 0.9 * first["train/loss_task"]
    assert last["train/loss"] < 0.9 * first["train/loss"], "the method's own term included"
