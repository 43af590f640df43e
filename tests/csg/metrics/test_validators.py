"""What holds for all validators: bounds, the order of images, precisions, and that degenerate models lose."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from csg.metrics.validators import VALIDATORS, TargetView

NAMES = sorted(VALIDATORS)
ROUNDING = 1e-9


def make_view(images: int, classes: int, *, width: int = 8, seed: int = 0, spread: float = 1.0) -> TargetView:
    """A view of a network with a linear head, whose features lie about as many centres as there are classes."""
    draw = torch.Generator().manual_seed(seed)
    centres = torch.randn(classes, width, generator=draw)
    features = centres[torch.arange(images) % classes] + spread * torch.randn(images, width, generator=draw)
    logits = features @ centres.T
    partners = torch.randperm(images, generator=draw)
    return TargetView(
        logits=logits,
        features=features,
        teacher_features=features + 0.1 * torch.randn(images, width, generator=draw),
        partner_logits=logits[partners],
        mixed_logits=0.55 * logits + 0.45 * logits[partners],
        source_logits=torch.randn(20, classes, generator=draw),
        source_labels=torch.arange(20) % classes,
    )


def take(view: TargetView, rows: Tensor) -> TargetView:
    """The view of some of the images, in their order; the source is left as it is."""
    target = [field.name for field in fields(view) if not field.name.startswith("source")]
    return replace(view, **{name: getattr(view, name)[rows] for name in target})


def convert(view: TargetView, dtype: torch.dtype) -> TargetView:
    return replace(
        view,
        **{field.name: getattr(view, field.name).to(dtype) for field in fields(view) if field.name != "source_labels"},
    )


def upper_bound(name: str, images: int, classes: int) -> float:
    others = {"entropy": 0, "infomax": math.log(classes), "snd": math.log(images - 1), "diversity": math.log(4)}
    return others.get(name, 1)


@pytest.mark.parametrize("name", NAMES)
def test_the_worst_score_is_a_finite_number(name: str) -> None:
    assert math.isfinite(json.loads(json.dumps(VALIDATORS[name].worst(10))))


def one_class(view: TargetView) -> TargetView:
    """A network that is very sure that everything is of the class 0."""
    logits = torch.zeros_like(view.logits)
    logits[:, 0] = 20 + torch.rand(len(logits), generator=torch.Generator().manual_seed(0))
    return replace(view, logits=logits, partner_logits=logits, mixed_logits=logits)


def with_number(part: str, number: float) -> Callable[[TargetView], TargetView]:
    def broken(view: TargetView) -> TargetView:
        rows: Tensor = getattr(view, part).clone()
        rows[3, 1] = number
        return replace(view, **{part: rows})

    return broken


DEGENERATE: dict[str, Callable[[TargetView], TargetView]] = {
    "one class": one_class,
    "one feature": lambda view: replace(view, features=view.features[:1].expand_as(view.features)),
    "one direction": lambda view: replace(
        view, features=view.features[:1] * torch.arange(1, 1 + len(view.features))[:, None]
    ),
    "one feature but for rounding": lambda view: replace(view, features=view.features[:1] + 1e-7 * view.features),
    "features of zero": lambda view: replace(view, features=torch.zeros_like(view.features)),
    "one image": lambda view: take(view, torch.tensor([0])),
    "no image": lambda view: take(view, torch.tensor([], dtype=torch.long)),
    "NaN in logits": with_number("logits", math.nan),
    "inf in logits": with_number("logits", math.inf),
    "-inf in logits": with_number("logits", -math.inf),
    "NaN in features": with_number("features", math.nan),
    "inf in features": with_number("features", math.inf),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", DEGENERATE)
def test_a_degenerate_model_gets_the_worst_score_and_no_error(case: str, name: str) -> None:
    sound = make_view(40, 4)
    score = VALIDATORS[name].score(DEGENERATE[case](sound))
    assert score == VALIDATORS[name].worst(4)
    assert score < VALIDATORS[name].score(sound)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", DEGENERATE)
def test_a_pure_function_that_sees_the_fault_gives_the_worst_score_itself(case: str, name: str) -> None:
    validator, view = VALIDATORS[name], DEGENERATE[case](make_view(40, 4))
    seen = "features" if "feature" in case or "direction" in case else "logits"
    if seen in validator.reads or "image" in case:
        assert validator.compute(**{part: getattr(view, part) for part in validator.reads}) == validator.worst(4)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("atc", "source_logits"),
        ("teacher_neighbours", "teacher_features"),
        ("mixval", "partner_logits"),
        ("mixval", "mixed_logits"),
    ],
)
@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_broken_numbers_in_other_parts_give_the_worst_score(name: str, part: str, number: float) -> None:
    rows = getattr(make_view(40, 4), part).clone()
    rows[3, 1] = number
    assert VALIDATORS[name].score(replace(make_view(40, 4), **{part: rows})) == VALIDATORS[name].worst(4)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("images", "classes"), [(2, 2), (40, 2), (7, 12), (60, 1000), (300, 10)])
def test_scores_stay_within_their_bounds_whatever_the_sizes(name: str, images: int, classes: int) -> None:
    score = VALIDATORS[name].score(make_view(images, classes))
    assert VALIDATORS[name].worst(classes) <= score <= upper_bound(name, images, classes) + ROUNDING


@settings(max_examples=25)
@given(
    name=st.sampled_from(NAMES),
    images=st.integers(2, 24),
    classes=st.integers(2, 6),
    seed=st.integers(0, 2**16),
    levels=st.integers(1, 3),
    scale=st.sampled_from([1e-6, 1.0, 1e3]),
)
def test_scores_of_repeated_features_stay_within_their_bounds_in_any_order(
    name: str, images: int, classes: int, seed: int, levels: int, scale: float
) -> None:
    """Features of a few whole numbers repeat, lie at equal distances, and hold rows of zeros."""
    draw = np.random.default_rng(seed)
    features = torch.from_numpy(draw.integers(-levels, levels + 1, (images, 3))) * scale
    view = replace(
        make_view(images, classes, seed=seed),
        logits=torch.from_numpy(draw.integers(-levels, levels + 1, (images, classes))).float(),
        features=features,
        teacher_features=features.flip(1),
    )
    validator = VALIDATORS[name]
    score = validator.score(view)
    assert validator.worst(classes) - ROUNDING <= score <= upper_bound(name, images, classes) + ROUNDING
    shuffled = take(view, torch.from_numpy(draw.permutation(images)))
    assert validator.score(shuffled) == pytest.approx(score, abs=1e-6)


@settings(max_examples=10)
@given(seed=st.integers(0, 2**16), spread=st.sampled_from([0.3, 1.0, 3.0]))
def test_the_order_of_the_images_does_not_matter(seed: int, spread: float) -> None:
    """With overlapping clusters, so that k-means has several ends to reach."""
    view = make_view(90, 6, seed=seed, spread=spread)
    shuffled = take(view, torch.randperm(90, generator=torch.Generator().manual_seed(seed)))
    for name, validator in VALIDATORS.items():
        assert validator.score(shuffled) == pytest.approx(validator.score(view), abs=ROUNDING), name


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_precision_changes_a_score_only_by_what_it_rounds(name: str, dtype: torch.dtype) -> None:
    rounded = convert(make_view(120, 4, spread=0.5), dtype)
    exact = convert(rounded, torch.float64)
    assert VALIDATORS[name].score(rounded) == VALIDATORS[name].score(exact)


@pytest.mark.parametrize("name", ["bnm", "class_ami", "class_silhouette", "infomax", "mixval", "teacher_neighbours"])
def test_a_network_that_is_right_beats_one_that_guesses(name: str) -> None:
    sound = make_view(200, 5, spread=0.2)
    guess = 0.1 * torch.randn(sound.logits.shape, generator=torch.Generator().manual_seed(1))
    guessing = replace(sound, logits=guess, partner_logits=guess.roll(1, 0), mixed_logits=guess.roll(2, 0))
    assert VALIDATORS[name].score(sound) > VALIDATORS[name].score(guessing)


def test_a_view_has_no_place_for_a_label_of_the_target() -> None:
    assert [field.name for field in fields(TargetView) if "label" in field.name] == ["source_labels"]


@pytest.mark.parametrize(
    ("name", "part"),
    [("atc", "source_labels"), ("teacher_neighbours", "teacher_features"), ("mixval", "mixed_logits")],
)
def test_a_view_that_lacks_what_a_validator_reads_is_refused(name: str, part: str) -> None:
    nothing: dict[str, Any] = {part: None}
    view = replace(make_view(10, 3), **nothing)
    with pytest.raises(ValueError, match=rf"{name}: .*found none of {part}"):
        VALIDATORS[name].score(view)


@pytest.mark.parametrize(
    ("part", "shape", "expected"),
    [
        ("logits", (10,), r"\(N, C\)"),
        ("features", (9, 8), r"features: expected the shape \(10, any\), found \(9, 8\)"),
        ("teacher_features", (10, 4, 4), r"\(10, any\)"),
        ("mixed_logits", (10, 4), r"\(10, 3\)"),
        ("source_logits", (20, 4), r"\(any, 3\)"),
        ("source_labels", (19,), r"\(20\)"),
    ],
)
def test_shapes_that_do_not_fit_together_are_refused(part: str, shape: tuple[int, ...], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        replace(make_view(10, 3), **{part: torch.zeros(shape)})
