"""``csg export`` writes a file that answers as the trained model does, and no file where it does not."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from csg import cli
from csg.commands import export as export_module
from csg.config import DataConfig
from csg.data import load_pair
from csg.data.pair import SOURCE_VAL, TARGET_VAL, Pair
from csg.models import ENCODERS
from csg.models.deployable import Deployable
from csg.models.resnet import Bottleneck, ResNet
from csg.models.weights import load_encoder
from csg.parsing import build_config
from csg.storage.disk import DiskPlace
from csg.tasks.measurement import Inference, to_input
from csg.training.run import Run
from csg.training.selected import load_selected, save_selected
from csg.training.step import make_model, place
from tests.csg.commands.test_cli import run as run_command
from tests.csg.models.test_models import classifier
from tests.finished_run import finished_run
from tests.made_up_pair import labelled

FORMATS = ("pt2", "onnx")
NETWORKS = [
    pytest.param("efficientnet_lite0", "imagenet", "source_only", 64, marks=pytest.mark.slow),
    pytest.param("efficientnet_lite0", "imagenet", "ibn_net", 65, marks=pytest.mark.slow),
    ("tiny", "none", "source_only", 32),
    ("tiny_bottleneck", "none", "ibn_net", 48),
]
ENCODERS["tiny_bottleneck"] = lambda: ResNet(Bottleneck, (1, 2, 1, 1), width=8, classes=10)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return finished_run(tmp_path_factory.mktemp("runs"))


def glyphs(side: int) -> Pair:
    return load_pair(DataConfig(image_size=side, source_images=40, cache="cache"))


def selected_weights(pair: Pair, encoder: str, weights: str, method: str) -> Path:
    """Write weights, as a run would, whose norms have statistics that matter and whose logits spread over classes."""
    images = labelled(pair, TARGET_VAL).load_images(torch.arange(64))
    flat = {"model.name": encoder, "model.weights": weights, "method.name": method}
    config = build_config(flat | {"data.image_size": images.shape[-1]})
    model = place(
        make_model(config, load_encoder(config.model, seed=config.train.seed), classes=len(pair.classes)), config
    ).eval()
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for norm in model.modules():
            if weights == "none" and isinstance(norm, nn.BatchNorm2d):
                assert norm.running_mean is not None and norm.running_var is not None
                norm.running_mean.normal_(std=0.1, generator=draw)
                norm.running_var.uniform_(1, 3, generator=draw)
        logits = model(to_input(model, config, images)).logits
        last = model.head.get_submodule("2")
        assert isinstance(last, nn.Linear)
        scale = 2 / logits.std(dim=0)
        last.bias.copy_(scale * (last.bias - logits.mean(dim=0)))
        last.weight.mul_(scale.unsqueeze(1))
    save_selected(DiskPlace(Path("selected.pt")), model, config, pair)
    return Path("selected.pt")


def export(capsys: pytest.CaptureFixture[str], *argv: object) -> tuple[int, str]:
    return run_command(cli.main, ["export", *map(str, argv)], capsys)


def answers(file: str, images: Tensor) -> Tensor:
    """Run a file the way someone would who has never heard of this package."""
    if file.endswith(".pt2"):
        with torch.no_grad():
            found: Tensor = torch.export.load(file).module()(images)
        return found
    session = onnxruntime.InferenceSession(file)
    return torch.from_numpy(session.run(None, {"images": images.numpy()})[0])


@pytest.mark.slow
@pytest.mark.parametrize("extension", FORMATS)
@pytest.mark.parametrize(("encoder", "weights", "method", "side"), NETWORKS)
def test_the_file_answers_as_an_evaluation_does(
    encoder: str, weights: str, method: str, side: int, extension: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = glyphs(side)
    checkpoint = selected_weights(pair, encoder, weights, method)
    code, said = export(capsys, "--checkpoint", checkpoint, "--output", f"model.{extension}")
    assert code == 0, said
    images = torch.cat([labelled(pair, name).load_images(torch.arange(12)) for name in (TARGET_VAL, SOURCE_VAL)])
    selected = load_selected(DiskPlace(checkpoint))
    model = selected.build_model()
    inference = Inference(model, selected.config)
    expected = inference(inference.prepare_input(images)).logits.softmax(dim=1)
    assert len(set(expected.argmax(dim=1).tolist())) > 4
    for count in (1, 2, 24):
        found = answers(f"model.{extension}", images[:count].float())
        torch.testing.assert_close(found, expected[:count], atol=1e-4, rtol=0)
        assert torch.equal(found.argmax(dim=1), expected[:count].argmax(dim=1))


@pytest.mark.slow
def test_the_file_says_what_it_takes_and_gives(trained: Run, capsys: pytest.CaptureFixture[str]) -> None:
    for extension in FORMATS:
        assert export(capsys, "--checkpoint", trained.selected, "--output", f"new/model.{extension}")[0] == 0
    files: dict[str, Any] = {"csg.json": ""}
    torch.export.load("new/model.pt2", extra_files=files)
    about = json.loads(files["csg.json"])
    assert about["classes"] == ["a", "b", "c"]
    assert about["image_size"] == 32
    assert "resize its shorter side to 32 pixels" in about["preparation"]
    session = onnxruntime.InferenceSession("new/model.onnx")
    props = session.get_modelmeta().custom_metadata_map
    assert {
        name: json.loads(value) if name in ("classes", "image_size", "seed") else value for name, value in props.items()
    } == about
    (images,), (probabilities,) = session.get_inputs(), session.get_outputs()
    assert (images.name, images.type, images.shape) == ("images", "tensor(float)", ["N", 3, 32, 32])
    assert (probabilities.name, probabilities.shape) == ("probabilities", ["N", 3])
    onnx.checker.check_model("new/model.onnx", full_check=True)


@pytest.mark.slow
def test_nothing_of_the_training_is_in_the_file(trained: Run, capsys: pytest.CaptureFixture[str]) -> None:
    model = Deployable(trained.load_selected_model())
    weights = sum(parameter.numel() for parameter in model.parameters())
    encoder = trained.load_selected_model().encoder
    assert not any("fc" in name or "bn" in name for name in model.state_dict())
    assert weights < sum(parameter.numel() for parameter in trained.load_selected_model().parameters())
    assert classifier(encoder).out_features == 10
    for extension in FORMATS:
        assert export(capsys, "--checkpoint", trained.selected, "--output", f"model.{extension}")[0] == 0
        content = Path(f"model.{extension}").read_bytes()
        assert 4 * weights < len(content) < 4 * weights + 250_000
        assert str(Path(export_module.__file__).parents[2]).encode() not in content


@pytest.mark.slow
def test_a_run_in_double_precision_is_exported_in_single(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = finished_run(tmp_path / "runs", train__precision="float64", method__name="ibn_net")
    for extension in FORMATS:
        code, said = export(capsys, "--checkpoint", run.selected, "--output", f"model.{extension}")
        assert code == 0, said
        assert answers(f"model.{extension}", torch.full((1, 3, 32, 32), 128.0)).dtype == torch.float32


@pytest.mark.slow
@pytest.mark.parametrize("extension", FORMATS)
def test_a_file_that_answers_otherwise_is_not_kept(
    extension: str, trained: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(f"old.{extension}").write_text("of before")
    kind = export_module.FORMATS[f".{extension}"]
    for name, wrong in (("new", 0.01), ("old", float("nan"))):

        def read(path: Path, wrong: float = wrong) -> export_module.Answer:
            answer = kind.read(path)
            return lambda images: answer(images) + wrong * (len(images) > 1)

        monkeypatch.setitem(export_module.FORMATS, f".{extension}", export_module.Format(kind.write, read))
        code, said = export(capsys, "--checkpoint", trained.selected, "--output", f"{name}.{extension}")
        assert code == 1
        assert f"{name}.{extension} was not written: read back, its probabilities differ" in said
    assert [path.name for path in Path().iterdir()] == [f"old.{extension}"]
    assert Path(f"old.{extension}").read_text() == "of before"


def test_weights_that_blew_up_are_refused(trained: Run, capsys: pytest.CaptureFixture[str]) -> None:
    state = torch.load(trained.selected.local, weights_only=True)
    state["model"]["head.2.weight"][:] = 3e38  # finite, where the answers are not
    torch.save(state, "broken.pt")
    code, said = export(capsys, "--checkpoint", "broken.pt", "--output", "model.pt2")
    assert code == 2
    assert "broken.pt: expected weights that give probabilities, found some that give NaN" in said
    assert not Path("model.pt2").exists()


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("model.tflite", "--output: expected a name that ends in .pt2 or .onnx, found .tflite"),
        ("model", "found no extension"),
        ("file/model.pt2", "--output: cannot write to file"),
        ("folder.onnx", "--output: expected a file to write, found a folder"),
    ],
)
def test_an_output_that_cannot_be_written_is_refused(
    output: str, message: str, trained: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("file").write_text("")
    Path("folder.onnx").mkdir()
    code, said = export(capsys, "--checkpoint", trained.selected, "--output", output)
    assert code == 2
    assert message in said
    assert "Traceback" not in said


def test_a_missing_package_is_named_with_the_command_that_installs_it(
    trained: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    code, said = export(capsys, "--checkpoint", trained.selected, "--output", "model.onnx")
    assert code == 2
    assert "a .onnx file needs onnxruntime" in said
    assert "pip install -c constraints.txt -e '.[export]' (or write .pt2)" in said
    assert export(capsys, "--checkpoint", trained.selected, "--output", "model.pt2")[0] == 0


def test_a_file_that_is_no_checkpoint_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    code, said = export(capsys, "--checkpoint", "none.pt", "--output", "model.pt2")
    assert code == 2
    assert "expected a checkpoint, found nothing at none.pt" in said
