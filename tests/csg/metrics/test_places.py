"""Rows of places are what the maps hold there."""

from __future__ import annotations

import math

import pytest
import torch

from csg.metrics.places import choose_places, rows_of_places


def test_places_are_distinct_within_the_maps_and_chosen_by_the_seed() -> None:
    places = choose_places(3, height=4, width=5, limit=20, seed=0)
    assert places.shape == (20, 3)
    assert len({tuple(place) for place in places.tolist()}) == 20
    assert (places >= 0).all()
    assert (places < torch.tensor([3, 4, 5])).all()
    assert torch.equal(places, choose_places(3, height=4, width=5, limit=20, seed=0))
    assert not torch.equal(places, choose_places(3, height=4, width=5, limit=20, seed=1))


def test_all_places_are_taken_below_the_limit() -> None:
    places = choose_places(2, height=2, width=3, limit=100, seed=0)
    assert places.tolist() == [[n, y, x] for n in range(2) for y in range(2) for x in range(3)]


@pytest.mark.parametrize(("height", "width"), [(8, 10), (4, 5), (3, 2)])
def test_a_place_has_the_mean_probabilities_of_its_pixels(height: int, width: int) -> None:
    """Of one pixel where the feature maps are as fine as the logits or finer."""
    draw = torch.Generator().manual_seed(0)
    logits, features = torch.randn(2, 3, height, width, generator=draw), torch.randn(2, 7, 4, 5, generator=draw)
    places = choose_places(2, height=4, width=5, limit=12, seed=0)
    rows, vectors = rows_of_places(logits, features, places=places)
    for row, vector, (n, y, x) in zip(rows, vectors, places.tolist(), strict=True):
        pixels = logits[
            n,
            :,
            math.floor(y * height / 4) : math.ceil((y + 1) * height / 4),
            math.floor(x * width / 5) : math.ceil((x + 1) * width / 5),
        ]
        torch.testing.assert_close(row.exp(), pixels.softmax(dim=0).mean(dim=(1, 2)))
        assert torch.equal(vector, features[n, :, y, x])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_classes_that_a_place_rules_out_have_finite_logits(dtype: torch.dtype) -> None:
    logits = torch.zeros(1, 2, 4, 4, dtype=dtype)
    logits[:, 1] = -2000
    rows, _ = rows_of_places(logits, torch.ones(1, 3, 2, 2), places=torch.tensor([[0, 1, 1]]))
    assert rows.isfinite().all()
    assert rows[0, 0] == 0
    assert rows[0, 1] < -80


def test_a_broken_pixel_breaks_its_place_alone() -> None:
    logits = torch.zeros(1, 2, 4, 4)
    logits[0, 1, 0, 0] = float("nan")
    rows, _ = rows_of_places(logits, torch.ones(1, 3, 2, 2), places=torch.tensor([[0, 0, 0], [0, 1, 1]]))
    assert rows[0].isnan().all()
    assert rows[1].isfinite().all()
