import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import analysis.inference.bootstrap
from analysis.inference.bootstrap import accuracy_bootstrap
from csg.metrics.accuracy import confusion_counts, mean_class_accuracy

Bools = NDArray[np.bool_]
Labels = NDArray[np.int64]


@pytest.fixture
def labels() -> Labels:
    """Return the classes of 600 images, unevenly distributed."""
    return np.random.default_rng(0).choice(4, size=600, p=[0.6, 0.25, 0.1, 0.05]).astype(np.int64)


def predictions(labels: Labels, *, runs: int, seed: int) -> Bools:
    """Make up runs that agree on which images are hard: more often those of rarer classes."""
    rng = np.random.default_rng(seed)
    easy = np.random.default_rng(99).random(len(labels)) < np.array([0.9, 0.7, 0.5, 0.4])[labels]
    return np.asarray(easy ^ (rng.random((runs, len(labels))) < 0.1))


def image_by_image(correct: NDArray[np.float64], labels: Labels, *, mean_class: bool) -> list[float]:
    """Bootstrap (images,) as a textbook has it: draw images, look at each."""
    rng, draws = np.random.default_rng(5), []
    for _ in range(2000):
        drawn = rng.integers(len(labels), size=len(labels))
        means = [correct[drawn][labels[drawn] == index].mean() for index in np.unique(labels[drawn])]
        draws.append(float(np.mean(means)) if mean_class else float(correct[drawn].mean()))
    return draws


@pytest.mark.parametrize("mean_class", [True, False])
def test_interval_is_that_of_drawing_image_by_image(labels: Labels, mean_class: bool) -> None:
    correct = predictions(labels, runs=3, seed=1)
    found = accuracy_bootstrap(correct, labels, mean_class=mean_class)
    draws = image_by_image(correct.mean(axis=0), labels, mean_class=mean_class)
    # The end of an interval from 2000 draws is itself uncertain by about 6 % of the standard deviation.
    allowance = 4 * 0.06 * float(np.std(draws))
    low, high = np.quantile(draws, [0.025, 0.975])
    assert found.interval.low == pytest.approx(low, abs=allowance)
    assert found.interval.high == pytest.approx(high, abs=allowance)


def test_value_is_the_metric_averaged_over_runs(labels: Labels) -> None:
    correct = predictions(labels, runs=3, seed=1)
    predicted = np.where(correct, labels, (labels + 1) % 4)
    measured = [
        mean_class_accuracy(confusion_counts(torch.from_numpy(run), torch.from_numpy(labels), 4)) for run in predicted
    ]
    assert accuracy_bootstrap(correct, labels, mean_class=True).value == pytest.approx(np.mean(measured))
    assert accuracy_bootstrap(correct, labels, mean_class=False).value == pytest.approx(correct.mean())


def test_the_same_images_are_drawn_for_all_runs(labels: Labels) -> None:
    """A run repeated tells nothing new about the images; drawn run by run, the interval would be half as wide."""
    one = predictions(labels, runs=1, seed=1)
    assert accuracy_bootstrap(one, labels, mean_class=True) == accuracy_bootstrap(
        np.repeat(one, 4, axis=0), labels, mean_class=True
    )


def test_interval_of_an_accuracy_covers_the_truth() -> None:
    """300 images of one run, 400 times: 95 % +- 3.3 (3 standard errors), and a little less, as percentiles give."""
    rng, covered = np.random.default_rng(0), 0
    for seed in range(400):
        labels = rng.integers(3, size=300)
        correct = rng.random((1, 300)) < np.array([0.5, 0.7, 0.9])[labels]
        interval = accuracy_bootstrap(correct, labels, mean_class=True, resamples=500, seed=seed).interval
        covered += interval.low <= 0.7 <= interval.high
    assert 0.91 < covered / 400 < 0.98


def test_a_class_that_a_resample_lacks_is_left_out_of_its_mean() -> None:
    correct, labels = np.array([[1, 1, 1, 0]]), np.array([0, 0, 0, 1])
    interval = accuracy_bootstrap(correct, labels, mean_class=True).interval
    # Without the second class (a third of the resamples) the mean is 1, with both it is 0.5, with it alone 0.
    assert (interval.low, interval.high) == (0.5, 1.0)


def test_a_seed_gives_one_result_whatever_the_blocks(labels: Labels, monkeypatch: pytest.MonkeyPatch) -> None:
    correct = predictions(labels, runs=2, seed=1)
    whole = accuracy_bootstrap(correct, labels, mean_class=True, seed=3)
    assert accuracy_bootstrap(correct, labels, mean_class=True, seed=4) != whole
    monkeypatch.setattr(analysis.inference.bootstrap, "BLOCK", 100)
    assert accuracy_bootstrap(correct, labels, mean_class=True, seed=3) == whole


@pytest.mark.parametrize(
    ("correct", "labels", "found"),
    [
        ([1, 0, 1], [0, 1, 1], r"found \(3,\)"),
        ([[1, 0]], [0, 1, 1], r"found \(1, 2\)"),
        (np.empty((0, 3)), [0, 1, 1], r"found \(0, 3\)"),
        ([[1, 0, 2]], [0, 1, 1], "0 or 1 for each image"),
        ([[1, 0, math.nan]], [0, 1, 1], "0 or 1 for each image"),
        ([[1, 0, 1]], [0.0, 1.0, 1.0], "found float64"),
        (np.empty((1, 0)), [], r"true class of each image"),
    ],
)
def test_predictions_that_do_not_fit_are_refused(correct: object, labels: object, found: str) -> None:
    with pytest.raises(ValueError, match=found):
        accuracy_bootstrap(correct, labels, mean_class=True)  # type: ignore[arg-type]


def test_no_resamples_are_refused(labels: Labels) -> None:
    correct = predictions(labels, runs=1, seed=1)
    with pytest.raises(ValueError, match="at least 1 resample"):
        accuracy_bootstrap(correct, labels, mean_class=True, resamples=0)
