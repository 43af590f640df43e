"""Encoders: shapes, names, weights, folding."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from sklearn.datasets import load_sample_images
from torch import nn
from torch.nn import functional as F

from csg.config import ModelConfig
from csg.messages.errors import UserError
from csg.models import make_encoder
from csg.models.classifier import Classifier
from csg.models.encoder import Encoder
from csg.models.folding import FoldedEncoder
from csg.models.weights import load_encoder
from csg.parsing import build_config, read_yaml
from csg.training.step import make_learner
from tests.csg.methods.test_methods import batch_of
from tests.csg.training.test_dry_run import RECIPE

PARAMETERS = {"resnet18": 11_689_512, "resnet34": 21_797_672, "resnet50": 25_557_032, "resnet101": 44_549_160}
"""torchvision's documented counts, the 1,000-way head included."""


def randomised(encoder: Encoder) -> Encoder:
    """Give batch norm something to do."""
    draw = torch.Generator().manual_seed(0)
    for module in encoder.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            with torch.no_grad():
                module.weight.uniform_(0.5, 1.5, generator=draw)
                module.bias.uniform_(-0.2, 0.2, generator=draw)
            module.running_mean.uniform_(-0.2, 0.2, generator=draw)
            module.running_var.uniform_(0.5, 1.5, generator=draw)
    return encoder


def classifier(encoder: Encoder) -> nn.Linear:
    old_head = encoder.get_old_head()
    assert old_head is not None
    return old_head


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "efficientnet_lite0"])
def test_stages_end_at_strides_4_8_16_32_in_non_negative_maps(name: str) -> None:
    encoder = randomised(make_encoder(name)).eval()
    with torch.no_grad():
        maps = encoder(torch.ones(1, 3, 96, 64))
        shallow = encoder(torch.ones(1, 3, 96, 64), 2)
    assert [tuple(m.shape) for m in maps] == [
        (1, channels, 96 // stride, 64 // stride)
        for channels, stride in zip(encoder.channels, (4, 8, 16, 32), strict=True)
    ]
    assert all((m >= 0).all() for m in maps)
    assert len(shallow) == 2


@pytest.mark.parametrize(("name", "count"), PARAMETERS.items())
def test_resnets_have_torchvisions_parameters(name: str, count: int) -> None:
    encoder = make_encoder(name)
    assert sum(parameter.numel() for parameter in encoder.parameters()) == count
    names = encoder.state_dict().keys()
    assert {
        "conv1.weight",
        "bn1.running_var",
        "layer2.0.downsample.1.bias",
        "layer4.1.conv2.weight",
        "fc.bias",
    } <= names


def torchvision_resnet101() -> dict[str, torch.Size]:
    """Write down the names and shapes of torchvision's ResNet-101 files, which may hold batch counters besides."""

    def norm(name: str, channels: int) -> dict[str, tuple[int, ...]]:
        return {f"{name}.{part}": (channels,) for part in ("weight", "bias", "running_mean", "running_var")}

    shapes: dict[str, tuple[int, ...]] = {"conv1.weight": (64, 3, 7, 7), **norm("bn1", 64)}
    inputs = 64
    for stage, (blocks, width) in enumerate([(3, 64), (4, 128), (23, 256), (3, 512)], start=1):
        for block in range(blocks):
            at = f"layer{stage}.{block}"
            for i, (before, after, side) in enumerate(
                [(inputs, width, 1), (width, width, 3), (width, 4 * width, 1)], start=1
            ):
                shapes |= {f"{at}.conv{i}.weight": (after, before, side, side), **norm(f"{at}.bn{i}", after)}
            if block == 0:
                shapes |= {f"{at}.downsample.0.weight": (4 * width, inputs, 1, 1)}
                shapes |= norm(f"{at}.downsample.1", 4 * width)
            inputs = 4 * width
    shapes |= {"fc.weight": (1000, 2048), "fc.bias": (1000,)}
    return {name: torch.Size(shape) for name, shape in shapes.items()}


def test_resnet101_has_torchvisions_names_and_shapes() -> None:
    ours = make_encoder("resnet101").state_dict()
    assert {name: value.shape for name, value in ours.items() if "num_batches" not in name} == torchvision_resnet101()


@pytest.mark.slow
@pytest.mark.parametrize("counters", [False, True], ids=["without counters", "with counters"])
def test_resnet101_trains_at_224_from_a_file_as_torchvision_publishes_it(tmp_path: Path, counters: bool) -> None:
    draw = torch.Generator().manual_seed(0)
    published = {
        name: torch.randn(shape, generator=draw) * (2 / (shape[0] * shape[2] * shape[3])) ** 0.5
        if len(shape) == 4
        else torch.rand(shape, generator=draw) * 0.2 + (0.4 if name.endswith(("weight", "var")) else -0.1)
        for name, shape in torchvision_resnet101().items()
    }
    if counters:
        norms = [name.removesuffix("running_var") for name in published if name.endswith("running_var")]
        published |= {f"{name}num_batches_tracked": torch.tensor(0) for name in norms}
    torch.save(published, tmp_path / "resnet101.pth")
    recipe = {**read_yaml(RECIPE), "model.weights": str(tmp_path / "resnet101.pth"), "train.batch_size": 2}
    learner = make_learner(build_config(recipe), classes=12)
    loaded = {name: tensor.clone() for name, tensor in learner.model.encoder.state_dict().items()}
    assert all(torch.equal(loaded[name], tensor) for name, tensor in published.items())
    query, key = torch.randn(2, 2, 3, 224, 224, generator=draw)
    _, scalars = learner.step(batch_of(query, key, torch.tensor([3, 7])), 1.0)
    assert set(scalars) >= {"loss_csg_stage3", "loss_csg_stage4"}
    trained = learner.model.encoder.state_dict()
    for name in ("conv1.weight", "layer1.0.bn1.weight", "layer3.22.conv2.weight", "layer4.2.conv3.weight"):
        assert torch.isfinite(trained[name]).all() and not torch.equal(trained[name], loaded[name])
    for name in ("bn1.running_mean", "fc.weight"):
        assert torch.equal(trained[name], loaded[name])


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "efficientnet_lite0"])
def test_folding_changes_nothing_and_follows_training(name: str) -> None:
    torch.manual_seed(0)
    encoder = randomised(make_encoder(name)).double().eval()
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    folded = FoldedEncoder(encoder)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.mul_(1.01).add_(1e-3)
        followed = [m.clone() for m in folded(images)]
        folded.refresh(encoder)
        for before, mine, theirs in zip(followed, folded(images), encoder(images), strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-9 * float(theirs.abs().max()))
            assert not torch.allclose(before, theirs)
    assert not any(parameter.requires_grad for parameter in folded.parameters())


@pytest.mark.parametrize(("photo", "labels"), [(0, {442, 497, 698}), (1, {985})], ids=["china.jpg", "flower.jpg"])
def test_imagenet_weights_classify_real_photographs(photo: int, labels: set[int]) -> None:
    """china.jpg shows a temple (bell cote, church or palace), flower.jpg a daisy."""
    encoder = load_encoder(ModelConfig(), seed=0).eval()
    picture = torch.from_numpy(load_sample_images().images[photo].copy()).permute(2, 0, 1)[None].float()
    height, width = picture.shape[-2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = picture[:, :, top : top + side, left : left + side]
    image = F.interpolate(square, size=(224, 224), mode="bicubic", antialias=True).clamp(0, 255)
    with torch.no_grad():
        logits = classifier(encoder)(encoder(encoder.normalise(image))[-1].mean(dim=(2, 3)))
    assert int(logits.argmax()) in labels


def test_a_torchvision_file_loads_unchanged(tmp_path: Path) -> None:
    published = {k: v for k, v in randomised(make_encoder("resnet18")).state_dict().items() if "num_batches" not in k}
    torch.save(published, tmp_path / "resnet18.pth")
    loaded = load_encoder(ModelConfig(name="resnet18", weights=str(tmp_path / "resnet18.pth")), seed=0).state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in published.items())
    torch.save({name: torch.zeros_like(tensor) for name, tensor in published.items()}, tmp_path / "resnet18.pth")
    again = load_encoder(ModelConfig(name="resnet18", weights=str(tmp_path / "resnet18.pth")), seed=0).state_dict()
    assert not again["conv1.weight"].any(), "a file that was replaced is read again"


def test_weights_that_do_not_fit_are_refused_by_key(tmp_path: Path) -> None:
    torch.save(make_encoder("resnet18").state_dict(), tmp_path / "r18.pth")
    with pytest.raises(UserError, match=r"missing: layer1.0.conv3.weight.*of another shape: layer1.0.conv1.weight"):
        load_encoder(ModelConfig(name="resnet50", weights=str(tmp_path / "r18.pth")), seed=0)
    with pytest.raises(UserError, match=r"missing: _conv_stem.weight.*unexpected: conv1.weight"):
        load_encoder(ModelConfig(weights=str(tmp_path / "r18.pth")), seed=0)


def test_weights_that_are_missing_or_no_state_dict_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(UserError, match="found nothing at"):
        load_encoder(ModelConfig(weights=str(tmp_path / "none.pth")), seed=0)
    with pytest.raises(UserError, match="not a torch state dict"):
        load_encoder(ModelConfig(weights=str(tmp_path / "text.pth")), seed=0)
    with pytest.raises(UserError, match="no weights named imagenet come with resnet18"):
        load_encoder(ModelConfig(name="resnet18"), seed=0)


def test_frozen_statistics_stay_frozen_while_scale_and_shift_train() -> None:
    model = Classifier(make_encoder("resnet18"), classes=3, head_width=8, frozen_statistics=True).train()
    norm = model.encoder.get_submodule("layer1.0.bn1")
    assert isinstance(norm, torch.nn.BatchNorm2d) and norm.running_mean is not None
    before = norm.running_mean.clone()
    model(torch.randn(2, 3, 32, 32)).logits.sum().backward()
    assert torch.equal(norm.running_mean, before)
    assert norm.weight.grad is not None and norm.weight.grad.abs().sum() > 0
    assert classifier(model.encoder).weight.grad is None
