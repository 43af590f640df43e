"""Each validator against a value by hand, or against its formula written another way."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from scipy.special import softmax
from scipy.stats import entropy as scipy_entropy
from sklearn.metrics import silhouette_score
from torch import Tensor

from csg.metrics.atc import atc
from csg.metrics.bnm import bnm
from csg.metrics.class_ami import class_ami
from csg.metrics.class_silhouette import class_silhouette
from csg.metrics.diversity import WORST as LEAST_DIVERSE
from csg.metrics.diversity import diversity
from csg.metrics.entropy import entropy, infomax
from csg.metrics.mixval import RATIO, choose_partners, choose_partners_by_class, mix_images, mixval
from csg.metrics.rows import order_rows
from csg.metrics.snd import snd
from csg.metrics.subset import choose_images
from csg.metrics.teacher_neighbours import teacher_neighbours


def logits_of(*classes: int, count: int = 3) -> Tensor:
    """Logits of a network that is sure of these classes."""
    return 50 * torch.eye(count)[list(classes)]


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def blobs(images: int, classes: int, width: int) -> tuple[Tensor, Tensor]:
    """Classes in turn, and features of each class about a direction of its own."""
    labels = torch.arange(images) % classes
    return labels, torch.eye(width)[labels] + 0.05 * draw(images, width)


def test_classes_that_are_the_clusters_have_an_ami_of_one_under_any_names() -> None:
    labels, features = blobs(60, 3, 8)
    assert class_ami(logits_of(*labels), features) == pytest.approx(1)
    assert class_ami(logits_of(*((labels + 1) % 3)), features) == pytest.approx(1)


def test_classes_that_have_nothing_to_do_with_the_clusters_have_an_ami_about_zero() -> None:
    _, features = blobs(600, 3, 8)
    assert class_ami(draw(600, 3, seed=1), features) == pytest.approx(0, abs=0.01)


def test_ami_of_four_images_by_hand() -> None:
    """Two directions make the clusters {0, 1} and {2, 3}; the classes are {0, 1}, {2} and {3}. In units of log 2.

    The classes tell the cluster, so MI is 1. Of the six pairs that the first class could be, two are a cluster, with an
    MI of 1, and four are not, with 1/2: chance expects 2/3. The entropies are 1 and 3/2, their mean is 5/4.
    """
    features = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0], [0.0, 3.0]])
    assert class_ami(logits_of(0, 0, 1, 2), features) == pytest.approx((1 - 2 / 3) / (5 / 4 - 2 / 3))


def test_more_classes_than_images_make_each_image_a_cluster() -> None:
    assert class_ami(logits_of(0, 1, 2, 3, 4, count=12), draw(5, 4)) == pytest.approx(1)
    features = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 2.0]])
    assert class_ami(logits_of(0, 0, 1, 1, count=9), features) == pytest.approx(1)


def test_directions_that_differ_by_rounding_are_one_to_the_clusters() -> None:
    """k-means would warn of fewer clusters than it was asked for."""
    lengths = torch.linspace(0.1, 7, 30, dtype=torch.float64)[:, None]
    features = torch.cat([lengths * torch.tensor([0.1, 0.2, 0.7]), lengths * torch.tensor([0.3, -0.3, 0.1])])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert class_ami(logits_of(*[0] * 30, *[1] * 30, count=9), features) == pytest.approx(1)


def test_rows_that_are_equal_as_numbers_are_one() -> None:
    assert order_rows(torch.tensor([[0.0, 1.0], [-0.0, 1.0], [-2.0, 1.0]]))[1] == 2


def test_silhouette_is_scikit_learns() -> None:
    logits, features = draw(40, 4), draw(40, 6, seed=1)
    unit = (features / features.norm(dim=1, keepdim=True)).numpy()
    assert class_silhouette(logits, features) == pytest.approx(
        silhouette_score(unit, logits.argmax(dim=1).numpy()), abs=1e-6
    )


def test_silhouette_by_hand() -> None:
    """Two images of one class coincide, sqrt(2) from the third, which is alone in its class: (1 + 1 + 0) / 3."""
    features = torch.tensor([[3.0, 0.0], [1.0, 0.0], [0.0, 2.0]])
    assert class_silhouette(logits_of(0, 0, 1), features) == pytest.approx(2 / 3)


def test_images_of_two_classes_that_coincide_but_for_rounding_have_a_silhouette_of_zero() -> None:
    """Twenty images of the classes 0 and 1 coincide; ten of the class 2, elsewhere, have a silhouette of 1."""
    lengths = torch.linspace(0.1, 7, 10, dtype=torch.float64)[:, None]
    one, other = torch.tensor([0.1, 0.2, 0.7]), torch.tensor([0.3, -0.3, 0.1])
    features = torch.cat([lengths * one, lengths.flip(0) * one / 3, lengths * other])
    assert class_silhouette(logits_of(*[0] * 10, *[1] * 10, *[2] * 10), features) == pytest.approx(1 / 3)


def test_images_alone_in_their_classes_have_a_silhouette_of_zero() -> None:
    assert class_silhouette(logits_of(0, 1, 2), draw(3, 4)) == 0


def test_entropies_are_scipys() -> None:
    logits = draw(30, 5)
    probabilities = softmax(logits.double().numpy(), axis=1)
    rows = scipy_entropy(probabilities, axis=1).mean()
    assert entropy(logits) == pytest.approx(-rows, rel=1e-12)
    assert infomax(logits) == pytest.approx(scipy_entropy(probabilities.mean(axis=0)) - rows, rel=1e-12)


def test_sure_predictions_of_equally_large_classes_reach_the_bounds() -> None:
    logits = logits_of(0, 1, 2, 0, 1, 2)
    assert entropy(logits) == pytest.approx(0, abs=1e-12)
    assert infomax(logits) == pytest.approx(math.log(3))
    assert bnm(logits) == pytest.approx(1)


@pytest.mark.parametrize("images", range(2, 40))
def test_rounding_does_not_take_infomax_below_zero(images: int) -> None:
    """Of images that are all but alike: their mutual information is about 1e-20."""
    logits = torch.zeros(images, 7, dtype=torch.float64)
    logits[::2, 0] = logits[1::2, 1] = 1e-10
    assert infomax(logits) >= 0


def test_nuclear_norm_is_the_sum_of_singular_values_over_the_root_of_the_size() -> None:
    logits = draw(30, 5)
    singular = np.linalg.svd(softmax(logits.double().numpy(), axis=1), compute_uv=False)
    assert bnm(logits) == pytest.approx(singular.sum() / math.sqrt(150), rel=1e-12)


def test_the_nuclear_norm_of_sure_predictions_by_hand() -> None:
    """Columns of one-hot rows are orthogonal: the singular values are the roots of the classes' sizes, 3 and 1."""
    assert bnm(logits_of(0, 0, 0, 1, count=2)) == pytest.approx((math.sqrt(3) + 1) / math.sqrt(8))


def test_soft_neighbourhood_density_is_the_formula() -> None:
    logits = draw(20, 4)
    similarities = 1 - cdist(*[softmax(logits.double().numpy(), axis=1)] * 2, metric="cosine")
    entropies = [scipy_entropy(softmax(np.delete(row, i) / 0.05)) for i, row in enumerate(similarities)]
    assert snd(logits) == pytest.approx(np.mean(entropies), rel=1e-9)


def test_soft_neighbourhood_density_by_hand() -> None:
    """In each of two classes of three, an image has two neighbours alike: an entropy of log 2; a pair has log 1."""
    assert snd(logits_of(0, 0, 0, 1, 1, 1)) == pytest.approx(math.log(2), abs=1e-6)
    assert snd(logits_of(0, 0, 1, 1)) == pytest.approx(0, abs=1e-6)


def test_soft_neighbourhood_density_does_not_depend_on_its_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = snd(draw(50, 4))
    monkeypatch.setattr("csg.metrics.snd.BLOCK", 7)
    assert snd(draw(50, 4)) == pytest.approx(whole, rel=1e-12)


def confident(*probabilities: float) -> Tensor:
    """Logits of two classes with these probabilities of the first."""
    return torch.tensor([[math.log(p), math.log(1 - p)] for p in probabilities])


def test_as_many_source_images_lie_below_the_threshold_as_are_wrong() -> None:
    """One of four is wrong, so the threshold is the second smallest confidence, 0.7; two of three reach it."""
    source, labels = confident(0.6, 0.7, 0.8, 0.9), torch.tensor([0, 1, 0, 0])
    assert atc(confident(0.95, 0.65, 0.2), source, source_labels=labels) == pytest.approx(2 / 3)


def test_the_error_rate_alone_matters_to_the_threshold_not_which_images_are_wrong() -> None:
    source, target = confident(0.6, 0.7, 0.8, 0.9), confident(0.95, 0.65, 0.2)
    one, other = torch.tensor([1, 0, 0, 0]), torch.tensor([0, 0, 0, 1])
    assert atc(target, source, source_labels=one) == atc(target, source, source_labels=other)


def test_a_source_without_errors_asks_for_its_least_confidence_and_one_all_wrong_for_more_than_any() -> None:
    source, target = confident(0.6, 0.7), confident(0.95, 0.65, 0.45)
    assert atc(target, source, source_labels=torch.tensor([0, 0])) == pytest.approx(2 / 3)
    assert atc(target, source, source_labels=torch.tensor([1, 1])) == 0


def test_the_source_measured_as_target_has_its_own_accuracy() -> None:
    logits, labels = draw(200, 5), torch.arange(200) % 5
    accuracy = float((logits.argmax(dim=1) == labels).double().mean())
    assert atc(logits, logits, source_labels=labels) == pytest.approx(accuracy)


def test_neighbours_of_the_frozen_encoder_by_hand() -> None:
    """On a quarter circle at 0, 1, 10 and 12 degrees: the nearest ones are 1, 0, 12 and 10."""
    angles = torch.deg2rad(torch.tensor([0.0, 1.0, 10.0, 12.0]))
    features = torch.stack([angles.cos(), angles.sin()], dim=1) * torch.tensor([[1.0], [7.0], [2.0], [1.0]])
    assert teacher_neighbours(logits_of(0, 0, 1, 1), features, neighbours=1) == 1
    assert teacher_neighbours(logits_of(0, 0, 1, 2), features, neighbours=1) == 0.5
    assert teacher_neighbours(logits_of(0, 0, 1, 1), features, neighbours=5) == pytest.approx(1 / 3)


def test_diversity_by_hand() -> None:
    """Distances of (1, 0), (0, 1), (-1, 0) are sqrt(2), sqrt(2) and 2: the mean of log 2, log 2 and log 4."""
    features = torch.tensor([[5.0, 0.0], [0.0, 1.0], [-2.0, 0.0]])
    assert diversity(features) == pytest.approx(4 * math.log(2) / 3)
    assert diversity(features[[0, 2]]) == pytest.approx(math.log(4))


def test_features_without_a_direction_do_not_make_the_others_look_diverse() -> None:
    features = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    assert diversity(features) == pytest.approx((math.log(4) + 5 * LEAST_DIVERSE) / 6)
    assert diversity(torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 0.0]])) == LEAST_DIVERSE


def test_mixtures_within_and_across_classes_count_alike() -> None:
    """Within: 1 of 1 right. Across: 1 of 3."""
    first, second, mixed = logits_of(0, 0, 1, 2), logits_of(0, 1, 2, 0), logits_of(0, 0, 2, 0)
    assert mixval(first, second, mixed_logits=mixed) == pytest.approx((1 + 1 / 3) / 2)


def test_mixtures_of_one_kind_alone_are_scored_alone() -> None:
    assert mixval(logits_of(0, 1), logits_of(1, 0), mixed_logits=logits_of(0, 2)) == 0.5


@pytest.mark.parametrize("count", [2, 3, 50])
def test_every_image_is_once_the_partner_of_another(count: int) -> None:
    partners = choose_partners(count, seed=3)
    assert sorted(partners.tolist()) == list(range(count))
    assert not (partners == torch.arange(count)).any()
    assert torch.equal(partners, choose_partners(count, seed=3))
    if count == 50:
        assert not torch.equal(partners, choose_partners(count, seed=4))


@given(st.lists(st.integers(0, 3), min_size=1, max_size=30), st.integers(0, 5))
def test_half_of_the_mixtures_are_within_a_class_and_half_across(classes: list[int], seed: int) -> None:
    predicted = torch.tensor(classes)
    partners = choose_partners_by_class(predicted, seed=seed)
    if len(classes) > 1:
        assert not (partners == torch.arange(len(classes))).any()
    within = predicted[partners] == predicted
    lone = sum(classes.count(each) == 1 for each in classes)  # can only be mixed with another class
    half = (len(classes) + 1) // 2
    if len(set(classes)) > 1:
        assert half - lone <= int(within.sum()) <= half
    assert torch.equal(partners, choose_partners_by_class(predicted, seed=seed))


def test_a_mixture_is_mostly_its_first_image() -> None:
    images = torch.tensor([[[0.0]], [[1.0]]])
    assert mix_images(images, images.flip(0)).flatten().tolist() == pytest.approx([1 - RATIO, RATIO])


def test_images_are_chosen_by_the_seed_and_all_taken_below_the_limit() -> None:
    chosen = choose_images(100, limit=10, seed=0).tolist()
    assert len(set(chosen)) == 10
    assert chosen == sorted(chosen) == choose_images(100, limit=10, seed=0).tolist()
    assert chosen != choose_images(100, limit=10, seed=1).tolist()
    assert choose_images(7, limit=7, seed=0).tolist() == list(range(7))
