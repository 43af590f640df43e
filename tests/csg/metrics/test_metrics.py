"""Accuracies and hyperspherical energies are what their definitions say."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from csg.metrics.accuracy import accuracy, confusion_counts, mean_class_accuracy, per_class_accuracy
from csg.metrics.hyperspherical_energy import FLOOR, hyperspherical_energy


def test_accuracies_of_a_confusion_written_by_hand() -> None:
    labels = torch.tensor([0, 0, 0, 0, 1, 1])
    predicted = torch.tensor([0, 0, 0, 1, 1, 2])
    confusion = confusion_counts(predicted, labels, 3)
    assert confusion.tolist() == [[3, 1, 0], [0, 1, 1], [0, 0, 0]]
    assert accuracy(confusion) == 4 / 6
    assert per_class_accuracy(confusion)[:2] == [0.75, 0.5]
    assert mean_class_accuracy(confusion) == 0.625


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=40), st.data())
def test_counts_of_parts_add_up(pairs: list[tuple[int, int]], data: st.DataObject) -> None:
    cut = data.draw(st.integers(1, len(pairs) - 1))
    predicted, labels = torch.tensor(pairs).T
    whole = confusion_counts(predicted, labels, 5)
    parts = confusion_counts(predicted[:cut], labels[:cut], 5) + confusion_counts(predicted[cut:], labels[cut:], 5)
    assert torch.equal(whole, parts)


@pytest.mark.parametrize("block", [1, 3, 7, 100])
def test_energy_is_the_mean_over_pairs_in_any_blocks(block: int) -> None:
    features = torch.randn(17, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    v = F.normalize(features, dim=1)
    distances = [float((v[i] - v[j]).norm()) for i in range(17) for j in range(i + 1, 17)]
    energy = hyperspherical_energy(features, block=block)
    assert energy.e0_mhe == pytest.approx(sum(math.log(1 / d**2) for d in distances) / len(distances), rel=1e-12)
    assert energy.e0_literal == pytest.approx(sum(math.log(1 / d) for d in distances) / len(distances), rel=1e-12)
    assert energy.e1 == pytest.approx(sum(1 / d for d in distances) / len(distances), rel=1e-12)
    assert energy.e2 == pytest.approx(sum(1 / d**2 for d in distances) / len(distances), rel=1e-12)
    assert (energy.vectors, energy.zero_vectors, energy.floored_pairs) == (17, 0, 0)


def test_energy_does_not_depend_on_the_length_of_features() -> None:
    features = torch.randn(9, 4, generator=torch.Generator().manual_seed(0))
    scaled = features * torch.rand(9, 1).add(0.5)
    assert hyperspherical_energy(features).e1 == pytest.approx(hyperspherical_energy(scaled).e1, rel=1e-5)


def test_equal_vectors_are_floored_and_zero_vectors_left_out_and_both_counted() -> None:
    features = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    energy = hyperspherical_energy(features)
    assert (energy.vectors, energy.zero_vectors, energy.floored_pairs) == (3, 1, 1)
    assert energy.e1 == pytest.approx((1 / FLOOR + 2 / math.sqrt(2)) / 3)


def test_a_subsample_is_seeded() -> None:
    features = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    assert hyperspherical_energy(features, samples=20, seed=1) == hyperspherical_energy(features, samples=20, seed=1)
    assert (
        hyperspherical_energy(features, samples=20, seed=1).e0_mhe
        != hyperspherical_energy(features, samples=20, seed=2).e0_mhe
    )
    assert hyperspherical_energy(features, samples=500) == hyperspherical_energy(features)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("count", "width", "block", "megabytes"),
    [(12_000, 8, 1024, 300), (3_000, 4_096, 256, 200)],
    ids=["all pairs would be 1152 MB", "one copy in float64 is 98 MB, three are 295 MB"],
)
def test_energy_needs_one_copy_of_the_features_and_no_matrix_of_all_pairs(
    count: int, width: int, block: int, megabytes: int
) -> None:
    """In a process of its own: what is read is the process's largest memory ever."""
    program = f"""
import resource, torch
from csg.metrics.hyperspherical_energy import hyperspherical_energy
features = torch.randn({count}, {width})
hyperspherical_energy(features[:9])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert hyperspherical_energy(features, block={block}).vectors == {count}
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert float(done.stdout) < megabytes


@pytest.mark.parametrize("features", [torch.zeros(3), torch.tensor([[float("nan"), 1.0]])])
def test_features_that_are_no_finite_matrix_are_refused(features: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="finite"):
        hyperspherical_energy(features)
