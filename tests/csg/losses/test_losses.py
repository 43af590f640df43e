"""The losses are the paper's equations."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from csg.losses.attentional_pooling import attention, attentional_pool, average_pool, patches
from csg.losses.infonce import contrastive_logits, info_nce, ranking_accuracy


def unit(*shape: int, seed: int) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(*shape, dtype=torch.float64, generator=draw), dim=1)


def test_infonce_is_the_equation_written_out() -> None:
    query, key, negatives = unit(3, 8, seed=0), unit(3, 8, seed=1), unit(5, 8, seed=2)
    written_out = []
    for q, k in zip(query, key, strict=True):
        positive = math.exp(float(q @ k) / 0.07)
        written_out.append(-math.log(positive / (positive + sum(math.exp(float(q @ n) / 0.07) for n in negatives))))
    loss = info_nce(contrastive_logits(query, key, negatives, 0.07))
    assert float(loss) == pytest.approx(sum(written_out) / 3, rel=1e-12)


def test_infonce_gradient_is_right() -> None:
    query = unit(3, 4, seed=0).requires_grad_()
    key, negatives = unit(3, 4, seed=1), unit(5, 4, seed=2)
    assert torch.autograd.gradcheck(lambda q: info_nce(contrastive_logits(q, key, negatives, 0.3)), (query,))


def test_ranking_accuracy_counts_positives_above_all_negatives() -> None:
    logits = torch.tensor([[3.0, 1.0, 2.0], [1.0, 2.0, 0.0], [5.0, 4.0, 4.5], [0.0, 9.0, 9.0]])
    assert float(ranking_accuracy(logits)) == 0.5


def test_attention_to_signed_maps_is_never_negative() -> None:
    maps = torch.tensor([[[[1.0, -3.0], [4.0, 2.0]], [[0.0, 1.0], [-1.0, 4.0]]]], dtype=torch.float64)
    scores = np.einsum("chw,c->hw", maps[0].numpy(), maps[0].mean(dim=(1, 2)).numpy())
    assert scores.tolist() == [[1, -2], [3, 6]]
    assert attention(maps).flatten().tolist() == pytest.approx([0.1, 0, 0.3, 0.6])
    nowhere = torch.tensor([[[[1.0, -1.0]]]])
    assert attention(nowhere).tolist() == [[[0.5, 0.5]]]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_attention_is_resized_to_another_grid_before_it_is_divided(dtype: torch.dtype) -> None:
    maps = torch.rand(2, 3, 4, 6, dtype=torch.float64).to(dtype)
    assert torch.equal(attention(maps, (4, 6)), attention(maps))
    for grid in ((2, 3), (8, 12), (3, 7), (1, 1)):
        resized = attention(maps, grid)
        assert resized.shape == (2, *grid) and (resized >= 0).all()
        torch.testing.assert_close(resized.double().sum((1, 2)), torch.ones(2).double(), rtol=0, atol=1e-2)
    constant = torch.ones(1, 2, 4, 4, dtype=dtype)
    assert torch.equal(attention(constant, (2, 2)), torch.full((1, 2, 2), 0.25, dtype=dtype))
    bright = torch.zeros(1, 1, 4, 4, dtype=dtype)
    bright[0, 0, :2, 2:] = 1
    assert int(attention(bright, (8, 8)).flatten().argmax()) in {r * 8 + c for r in range(4) for c in range(4, 8)}


def test_attentional_pooling_is_the_equation_written_out() -> None:
    maps = torch.rand(2, 3, 4, 5, dtype=torch.float64)
    for f, a, pooled in zip(maps.numpy(), attention(maps), attentional_pool(maps, attention(maps)), strict=True):
        mean = f.mean(axis=(1, 2))
        scores = np.einsum("chw,c->hw", f, mean)
        np.testing.assert_allclose(a, scores / scores.sum(), rtol=1e-12)
        np.testing.assert_allclose(pooled, np.einsum("chw,hw->c", f, scores / scores.sum()), rtol=1e-12)


def test_attention_of_an_empty_map_is_uniform_and_its_gradient_finite() -> None:
    maps = torch.zeros(1, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    weights = attention(maps)
    attentional_pool(maps, weights).sum().backward()  # type: ignore[no-untyped-call]
    assert torch.equal(weights, torch.full((1, 2, 2), 0.25, dtype=torch.float64))
    assert maps.grad is not None and torch.isfinite(maps.grad).all()


def test_uniform_attention_is_average_pooling() -> None:
    maps = torch.rand(2, 3, 4, 4, dtype=torch.float64)
    torch.testing.assert_close(attentional_pool(maps, torch.full((2, 4, 4), 1 / 16).double()), average_pool(maps))


def test_attentional_pooling_gradient_is_right() -> None:
    maps = (torch.rand(2, 3, 2, 2, dtype=torch.float64) + 0.1).requires_grad_()
    assert torch.autograd.gradcheck(lambda f: attentional_pool(f, attention(f)), (maps,))


@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(1, 2))
def test_patches_come_patch_by_patch_over_all_images(chunks: int, images: int, height: int, width: int) -> None:
    maps = torch.rand(images, 2, chunks * height, chunks * width)
    cut = patches(maps, chunks)
    for row in range(chunks):
        for column in range(chunks):
            for image in range(images):
                tile = maps[image, :, row * height : (row + 1) * height, column * width : (column + 1) * width]
                assert torch.equal(cut[(row * chunks + column) * images + image], tile)


def test_a_grid_that_does_not_divide_the_map_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a divisor"):
        patches(torch.zeros(1, 1, 4, 6), 4)
