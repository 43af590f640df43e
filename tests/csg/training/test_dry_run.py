"""The plan of a run, before anything is read."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from csg import cli
from csg.data.pairs import visda17
from csg.messages.errors import UserError
from csg.methods import METHODS
from csg.methods.method import Method, Term
from csg.parsing import build_config, find_recipe, read_yaml
from csg.training.dry_run import check_buildable, plan_run
from csg.training.step import make_learner
from tests.csg.methods.test_methods import batch
from tests.published_maps import write_cityscapes, write_gta5

RECIPE = find_recipe("visda17_csg")


def test_the_papers_recipe_is_planned_as_published() -> None:
    config = build_config(read_yaml(RECIPE))
    images = visda17.count_published_train_images(config.data)
    assert images == 152_397 - 1_524, "one per cent is held out as source/val"
    plan = plan_run(config, images=images, classes=12)
    assert plan.steps_per_epoch == 150_873 // 32 == 4714 and plan.total_steps == 30 * 4714
    for step, rate in plan.learning_rates.items():
        expected = 1e-4 * min(0.01 + 0.99 * (step / 100) ** 2, 1) * (1 - step / plan.total_steps) ** 0.9
        assert rate == pytest.approx(expected, rel=1e-12)
    assert set(plan.learning_rates) >= {0, 100, plan.total_steps - 1}
    factors = {group.name: group.lr_factor for group in plan.groups}
    assert factors == {"stem": 0.1, **{f"stage{i}": 0.1 for i in (1, 2, 3, 4)}, "head": 1.0, "method": 1.0}
    encoder = sum(group.parameters for group in plan.groups if group.lr_factor == 0.1)
    assert encoder == 44_549_160 - (2048 * 1000 + 1000), "all of ResNet-101 but its old head"
    assert plan.memory["queues"] == pytest.approx(2 * 65536 * 128 * 4 / 1e6)


def test_the_ends_of_probing_and_of_the_warm_up_are_among_the_rates() -> None:
    config = build_config({"method.name": "lp_ft", "optim.warmup_steps": 20, "train.epochs": 4, "optim.lr": 0.1})
    plan = plan_run(config, images=32 * config.train.batch_size, classes=10)
    rates = plan.learning_rates
    assert rates[0] == 0.1 and rates[31] < 0.01 and rates[32] == pytest.approx(0.001) and 52 in rates


def test_csg_train_prints_the_plan_without_weights_or_data(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "--config", "visda17_csg", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "counts are the published ones" in said
    assert "150,873 source training images / batches of 32 = 4,714 iterations per epoch" in said
    assert "queues" in said and "67.1 MB" in said


def test_a_dry_run_on_glyphs_writes_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "--dry-run", "--train.output", str(tmp_path / "runs")]) == 0
    assert "1,024 source training images / batches of 32 = 32 iterations per epoch" in capsys.readouterr().out
    assert not (tmp_path / "runs" / "trained").exists()


@pytest.mark.parametrize("pair", ["glyphs", "glyph_scenes"])
@pytest.mark.parametrize("name", METHODS)
def test_every_method_is_built_and_its_terms_computed_ahead_of_a_search(
    name: str, pair: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[list[Term]] = []
    method = METHODS[name]
    compute_terms = method.compute_terms

    def noting(self: Method, *arguments: Any) -> list[Term]:
        found.append(compute_terms(self, *arguments))
        return found[-1]

    monkeypatch.setattr(method, "compute_terms", noting)
    check_buildable(build_config({"method.name": name, "data.name": pair}), classes=11, sources=3)
    (computed,) = found
    assert all(term.value.isfinite().all() for term in computed)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method.stage4.chunks": 7}, "method.stage4.chunks"),
        ({"method.name": "asg", "model.teacher_name": "resnet18", "model.teacher_weights": "none"}, "teacher_name"),
    ],
)
def test_what_cannot_be_built_is_refused_ahead_of_a_search(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_buildable(build_config(settings), classes=11)


@pytest.mark.parametrize(
    ("settings", "values"),
    [
        ({}, 1),
        ({"optim.momentum": 0.0}, 1),  # the published form keeps its velocity all the same
        ({"optim.lr_in_momentum": False}, 1),
        ({"optim.lr_in_momentum": False, "optim.momentum": 0.0}, 0),
        ({"optim.name": "adamw"}, 2),
    ],
)
def test_the_optimisers_memory_is_what_it_keeps_after_a_step(settings: dict[str, Any], values: int) -> None:
    config = build_config({"model.name": "tiny", "data.image_size": 32, "method.name": "source_only", **settings})
    plan = plan_run(config, images=64, classes=3)
    learner = make_learner(
        dataclasses.replace(config, model=dataclasses.replace(config.model, weights="none")), classes=3
    )
    learner.step(batch(), 1.0)
    kept = [each for state in learner.optimiser.state.values() for each in state.values() if torch.is_tensor(each)]
    held = sum(each.numel() * each.element_size() for each in kept if each.numel() > 1) / 1e6
    assert plan.memory.get("optimiser", 0.0) == pytest.approx(held, rel=1e-9)
    assert held == pytest.approx(values * plan.memory["gradients"], rel=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["visda17", "gta5_cityscapes"])
def test_the_recipes_of_dinov2_are_planned_from_its_settings_alone(
    recipe: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    transformers = pytest.importorskip("transformers", reason="the extra [encoders] is not installed")
    transformers.Dinov2Config(image_size=518, patch_size=14).save_pretrained(tmp_path / "network")
    data: tuple[str, ...] = ()
    if recipe == "gta5_cityscapes":
        source, target = write_gta5(tmp_path / "gta5"), write_cityscapes(tmp_path / "cityscapes")
        data = ("--data.source", str(source), "--data.target", str(target), "--data.cache", str(tmp_path / "cache"))
    name = f"{recipe}_csg_dinov2"
    assert "Not measured here" in find_recipe(name).local.read_text()
    command = ["train", "--config", name, "--model.weights", str(tmp_path / "network"), *data, "--dry-run"]
    assert cli.main(command) == 0
    said = capsys.readouterr().out
    factors = [float(found) for found in re.findall(r"stage\d .* factor (\S+)", said)]
    assert factors == pytest.approx([0.1 * 0.75 ** (13 - block) for block in range(1, 13)], rel=1e-4)
