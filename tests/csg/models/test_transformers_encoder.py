"""Networks of transformers as encoders: every family that the docs name, the slower tests with ``--every-encoder``."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from csg import cli
from csg.commands.export import FORMATS, TOLERANCE, export_to
from csg.config import ModelConfig
from csg.messages.errors import UserError
from csg.models.own_encoder import try_out
from csg.models.transformers_encoder import TransformersEncoder
from csg.models.transformers_folder import remake_encoder
from csg.models.weights import load_encoder
from csg.parsing import build_config, parse_flags
from csg.training.identity import resolve_settings
from csg.training.selected import load_selected
from tests.csg.methods.test_methods import batch, learner
from tests.finished_run import finished_run, write_images
from tests.made_up_pair import made_up_pair
from tests.made_up_scenes import made_up_scenes
from tests.process_group import trained
from tests.tiny_transformers import FAMILIES, OF_TIMM, list_families, save, saver
from tune_spaces.search.options import SearchOptions

pytest.importorskip("transformers", reason="the extra [encoders] is not installed")
pytestmark = pytest.mark.slow
IN_SUITE = {
    "test_a_family_trains_resumes_and_is_shared_by_workers": ("siglip",),
    "test_a_familys_finished_run_is_used_without_its_folder": ("dinov2",),
    "test_a_family_segments": ("resnet",),
}
"""The family that the suite takes for a test of seconds: a tower, one with a backbone class, and one that dilates."""
PLAIN = ("dinov2", "dinov3", "vit", "clip", "siglip", "timm_vit")
NORMED_BY_BATCH = ("resnet", "timm_resnet", "timm_efficientnet")
Save = Callable[[str], Path]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "family" in metafunc.fixturenames:
        every = metafunc.config.getoption("--every-encoder")
        few = (*IN_SUITE.get(metafunc.function.__name__, FAMILIES), "timm_resnet", "timm_vit")
        metafunc.parametrize("family", list_families(*((*FAMILIES, *OF_TIMM) if every else few)))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Save:
    return saver(tmp_path_factory.mktemp("networks"))


def load(folder: Path, **more: Any) -> TransformersEncoder:
    encoder = load_encoder(ModelConfig("transformers", weights=str(folder), **more), seed=0)
    assert isinstance(encoder, TransformersEncoder)
    return encoder


def noise(side: int = 32, count: int = 2) -> Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(0))


def test_a_familys_stages_groups_and_gradients(family: str, saved: Save) -> None:
    encoder = load(saved(family))
    try_out(encoder, "model.weights")  # four maps as declared, each parameter in one group
    assert encoder.mean == (127.5, 127.5, 127.5) and encoder.std == (63.75, 127.5, 127.5)
    maps = encoder(noise())
    strides = [32 // each.shape[-1] for each in maps]
    assert strides == ([8] * 4 if family in PLAIN else [4, 8, 16, 32])
    assert len(encoder(noise(), 3)) == 3
    assert not torch.equal(maps[2].mean(1), maps[3].mean(1)[:, : maps[2].shape[-2], : maps[2].shape[-1]])
    maps[-1].square().sum().backward()
    without = [name for name, one in encoder.named_parameters() if one.requires_grad and one.grad is None]
    assert not without, "several workers wait for every gradient"
    assert [name for name, _ in encoder.list_layers()] == ["stem", "stage1", "stage2", "stage3", "stage4"]
    if family not in NORMED_BY_BATCH:  # which differ
        again = encoder(noise())
        for mine, theirs in zip(again, encoder.eval()(noise()), strict=True):
            assert torch.equal(mine, theirs), "nothing is dropped in training"


def test_a_family_is_made_again_without_its_folder(family: str, saved: Save) -> None:
    encoder = load(saved(family)).eval()
    again = remake_encoder(encoder.architecture).eval()
    again.load_state_dict(encoder.state_dict())
    for mine, theirs in zip(again(noise()), encoder(noise()), strict=True):
        assert torch.equal(mine, theirs)
    assert (again.mean, again.std) == (encoder.mean, encoder.std)


def test_a_family_trains_resumes_and_is_shared_by_workers(family: str, saved: Save, tmp_path: Path) -> None:
    """Twelve steps of CSG, with itself and with EfficientNet-Lite0 as teacher."""
    itself = {"model.name": "transformers", "model.weights": str(saved(family)), "optim.layer_decay": 0.8}
    taught = itself | {"model.teacher_name": "efficientnet_lite0", "model.teacher_weights": "imagenet"}
    one = trained(1, {"itself": itself, "taught": taught}, tmp_path)
    cut = {"cut": "in the second epoch", "train.checkpoint_minutes": 0}
    (tmp_path / "resumed").mkdir()
    resumed = trained(
        1,
        {
            name: settings | cut | {"checkpoint": str(tmp_path / name)}
            for name, settings in (("itself", itself), ("taught", taught))
        },
        tmp_path / "resumed",
    )
    two = trained(2, {"itself": itself, "taught": taught}, tmp_path)
    for name in one:
        assert one[name]["steps"] == 12
        for part in ("model", "method"):
            for key, tensor in one[name][part].items():
                assert torch.equal(resumed[name][part][key], tensor), key
                torch.testing.assert_close(two[name][part][key], tensor, rtol=1e-10, atol=1e-10)


def test_a_familys_finished_run_is_used_without_its_folder(family: str, tmp_path: Path) -> None:
    folder = save(tmp_path / "network", family)
    run = finished_run(tmp_path / "runs", model__name="transformers", model__weights=str(folder), train__epochs=1)
    for file in folder.iterdir():
        file.unlink()
    path = run.folder.local / "selected.pt"
    selected = load_selected(run.selected)
    for suffix in (".onnx", ".pt2"):
        assert export_to(tmp_path / f"network{suffix}", FORMATS[suffix], selected) <= TOLERANCE
    write_images(tmp_path / "images", made_up_pair(), "target/test")
    table = tmp_path / "answers.csv"
    command = ["predict", str(tmp_path / "images"), "--checkpoint", str(path), "--output", str(table)]
    assert cli.main(command) == 0 and len(table.read_text().splitlines()) == 16
    start = load_encoder(ModelConfig("transformers", weights=str(path)), seed=0)
    found = {name.removeprefix("encoder."): one for name, one in selected.state.items() if name.startswith("encoder.")}
    assert all(torch.equal(found[name], one) for name, one in start.state_dict().items())


def test_a_family_segments(family: str, saved: Save, tmp_path: Path) -> None:
    settings = {
        "data__name": "glyph_scenes",
        "data__source_images": 24,
        "model__output_stride": 16,
        "model__name": "transformers",
        "model__weights": str(saved(family)),
        "train__epochs": 1,
    }
    run = finished_run(tmp_path, made_up_scenes(), **settings)
    assert math.isfinite(run.record.final["target/test/mean_iou"])
    selected = load_selected(run.selected)
    assert export_to(tmp_path / "network.onnx", FORMATS[".onnx"], selected) <= TOLERANCE
    encoder = selected.build_model().encoder.eval()
    strides = [32 // each.shape[-1] for each in encoder(noise())]
    assert strides == ([8] * 4 if family in PLAIN else [4, 8, 16, 16] if family == "resnet" else [4, 8, 16, 32])


@pytest.mark.parametrize("tower", ["vit", "clip", "siglip"])
def test_a_towers_last_map_is_its_last_state_once_normalised(tower: str, saved: Save) -> None:
    encoder = load(saved(tower)).eval()
    state: Tensor = encoder.network(noise()).last_hidden_state[:, -16:]
    if tower == "clip":  # of the others it is normalised
        state = encoder.network.get_submodule("post_layernorm")(state)
    torch.testing.assert_close(encoder(noise())[-1].flatten(2).transpose(1, 2), state, rtol=1e-5, atol=1e-5)


def test_folding_a_resnet_changes_nothing(saved: Save) -> None:
    from csg.models.folding import FoldedEncoder
    from tests.csg.models.test_models import randomised

    encoder = randomised(load(saved("resnet"))).double().eval()
    folded = FoldedEncoder(encoder)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in folded.modules())
    for mine, theirs in zip(folded(noise().double()), encoder(noise().double()), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-9)


def test_images_that_are_no_multiple_of_a_patch_are_enlarged(saved: Save) -> None:
    encoder = load(saved("dinov2")).eval()
    assert [tuple(each.shape[-2:]) for each in encoder(noise(36))] == [(5, 5)] * 4
    wider = torch.nn.functional.interpolate(noise(36), size=(40, 40), mode="bilinear", align_corners=False)
    for mine, theirs in zip(encoder(noise(36)), encoder(wider), strict=True):
        assert torch.equal(mine, theirs)


def test_gradient_checkpointing_changes_no_number(saved: Save) -> None:
    settings = {"model__name": "transformers", "model__weights": str(saved("dinov2"))}
    plain, saving = (learner(**settings, model__gradient_checkpointing=value) for value in (False, True))
    for seed in range(2):
        assert plain.step(batch(seed), 1.0)[1] == saving.step(batch(seed), 1.0)[1]
    for mine, theirs in zip(plain.model.parameters(), saving.model.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_layer_decay_slows_each_block_more_than_the_next(saved: Save) -> None:
    it = learner(
        model__name="transformers",
        model__weights=str(saved("dinov2")),
        optim__layer_decay=0.5,
        optim__backbone_lr_factor=0.4,
    )
    factors = [(group["name"], group["lr_factor"]) for group in it.optimiser.param_groups]
    assert factors[:6] == [
        ("stem", pytest.approx(0.4 / 32)),
        *((f"stage{i}", pytest.approx(0.4 / 2 ** (5 - i))) for i in (1, 2, 3, 4)),
        ("head", 1.0),
    ]


def test_the_folder_is_part_of_the_identity_by_its_content(saved: Save, tmp_path: Path) -> None:
    def digest(folder: Path) -> str:
        flat = {"model.name": "transformers", "model.weights": str(folder)}
        return str(resolve_settings(build_config(flat))["model.weights"])

    copy = tmp_path / "copy"
    copy.mkdir()
    for file in saved("dinov2").iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    (copy / "README.md").write_text("nothing that computes")
    assert digest(copy) == digest(saved("dinov2"))
    (copy / "preprocessor_config.json").write_text("{}")
    assert digest(copy) != digest(saved("dinov2"))


def test_the_image_size_is_the_folders_unless_it_is_set(saved: Save) -> None:
    def side(*flags: str) -> int:
        given = ["--model.name", "transformers", "--model.weights", str(saved("dinov2")), *flags]
        return parse_flags(SearchOptions, given, prog="", description="").config.data.image_size

    assert side() == 40
    assert side("--data.image-size", "48") == 48


def test_a_folder_that_does_not_fit_is_refused_in_one_sentence(saved: Save, tmp_path: Path) -> None:
    import safetensors.torch

    broken = save(tmp_path / "broken", "dinov2")
    state = safetensors.torch.load_file(broken / "model.safetensors")
    kept = {name: one for name, one in state.items() if ".1." not in name}
    safetensors.torch.save_file(kept, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"model.weights: the weights in .* do not fit its config.json \(\d+ missing: "):
        load(broken)
    (broken / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"model.weights: expected weights \(model.safetensors or"):
        load(broken)
    for settings, message in (
        ({"model_type": "bert"}, r"transformers has no backbone of the type bert"),
        ({"model_type": "nothing"}, r"cannot read config.json"),
        ({"model_type": "nothing", "auto_map": {"AutoConfig": "code.Config"}}, r"cannot read config.json"),
        ({"model_type": "dinov2", "num_hidden_layers": 3}, r"at least 4 stages or blocks, found 3"),
    ):
        (broken / "config.json").write_text(json.dumps(settings))
        with pytest.raises(UserError, match=message) as caught:
            load(broken)
        assert "\n" not in str(caught.value)


def test_a_whole_model_of_images_and_text_gives_its_image_tower(tmp_path: Path) -> None:
    import transformers

    from tests.tiny_transformers import TOWER

    text = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 16}
    config = transformers.CLIPConfig(text_config=text, vision_config=TOWER)
    whole = transformers.CLIPModel(config)
    whole.save_pretrained(tmp_path / "clip")
    encoder = load(tmp_path / "clip")
    mine = dict(encoder.network.named_parameters())
    theirs = dict(whole.vision_model.named_parameters())
    assert mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_a_plan_needs_no_weights(saved: Save, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.json").write_bytes((saved("dinov2") / "config.json").read_bytes())
    flags = ["--model.name", "transformers", "--model.weights", str(tmp_path), "--optim.layer-decay", "0.5"]
    assert cli.main(["train", *flags, "--data.image-size", "32", "--dry-run"]) == 0
    assert "stage4" in capsys.readouterr().out


def test_asg_and_feature_l2_say_what_they_lack(saved: Save) -> None:
    folder = {"model__name": "transformers", "model__weights": str(saved("dinov2"))}
    learner(**folder, method__name="feature_l2", method__pooling="apool").step(batch(), 1.0)
    learner(**folder, method__name="weight_l2").step(batch(), 1.0)
    learner(**folder, method__name="asg", method__distillation_weight=0.0).step(batch(), 1.0)
    with pytest.raises(UserError, match=r"TransformersEncoder has none; use a teacher that has one"):
        learner(**folder, method__name="asg")
    with pytest.raises(UserError, match=r"ibn_net changes batch norms in residual blocks"):
        learner(**folder, method__name="ibn_net")


def test_a_network_teaches_a_cnn_in_bfloat16(saved: Save) -> None:
    it = learner(
        model__teacher_name="transformers",
        model__teacher_weights=str(saved("dinov2")),
        model__teacher_precision="bfloat16",
    )
    for seed in range(2):
        _, scalars = it.step(batch(seed), 1.0)
    assert all(math.isfinite(value) for value in scalars.values())
