"""IBN-Net: its norm written out, and where it sits."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from csg.models import make_encoder
from csg.models.efficientnet_lite import InvertedResidual
from csg.models.encoder import Encoder
from csg.models.folding import FoldedEncoder
from csg.models.instance_batch_norm import InstanceBatchNorm2d, with_instance_batch_norm


@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
def test_instance_batch_norm_is_both_norms_written_out(training: bool) -> None:
    draw = torch.Generator().manual_seed(0)
    norm = nn.BatchNorm2d(7, eps=1e-4).double()
    with torch.no_grad():
        for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
            assert tensor is not None
            tensor.uniform_(0.5, 1.5, generator=draw)
    x = torch.randn(2, 7, 4, 5, dtype=torch.float64, generator=draw)
    scale, shift = norm.weight.reshape(1, -1, 1, 1), norm.bias.reshape(1, -1, 1, 1)
    mean, var = x.mean(dim=(2, 3), keepdim=True), x.var(dim=(2, 3), unbiased=False, keepdim=True)
    instance = (x - mean) / (var + 1e-4).sqrt() * scale + shift
    assert norm.running_mean is not None and norm.running_var is not None
    batch_mean, batch_var = x.mean(dim=(0, 2, 3)), x.var(dim=(0, 2, 3), unbiased=False)
    used_mean, used_var = (batch_mean, batch_var) if training else (norm.running_mean, norm.running_var)
    plain = (x - used_mean.reshape(1, -1, 1, 1)) / (used_var.reshape(1, -1, 1, 1) + 1e-4).sqrt() * scale + shift
    it = InstanceBatchNorm2d(norm).double().train(training)
    mixed = it(x)
    torch.testing.assert_close(mixed[:, :3], instance[:, :3], rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(mixed[:, 3:], plain[:, 3:], rtol=1e-10, atol=1e-12)
    share = 0.1 if training else 0.0
    remembered = (1 - share) * norm.running_mean + share * batch_mean
    spread = (1 - share) * norm.running_var + share * batch_var * 40 / 39
    torch.testing.assert_close(it.batch.running_mean, remembered[3:], rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(it.batch.running_var, spread[3:], rtol=1e-10, atol=1e-12)


def _instance_batch_norms(encoder: Encoder) -> set[str]:
    return {name for name, module in encoder.named_modules() if isinstance(module, InstanceBatchNorm2d)}


@pytest.mark.parametrize(("name", "blocks"), [("resnet18", (2, 2, 2)), ("resnet50", (3, 4, 6))])
def test_ibn_a_sits_in_the_first_norm_of_each_block_of_stages_1_to_3(name: str, blocks: tuple[int, ...]) -> None:
    encoder = make_encoder(name)
    changed = with_instance_batch_norm(encoder)
    assert _instance_batch_norms(changed) == {
        f"layer{stage}.{block}.bn1" for stage, count in enumerate(blocks, start=1) for block in range(count)
    }
    assert _instance_batch_norms(encoder) == set()


def test_ibn_a_sits_behind_the_expansions_of_an_efficientnets_stages_1_to_3() -> None:
    encoder = make_encoder("efficientnet_lite0")
    changed = with_instance_batch_norm(encoder)
    names = {id(module): name for name, module in changed.named_modules()}
    expanding = {
        f"{names[id(block)]}._bn0"
        for stage in ("stage1", "stage2", "stage3")
        for module in changed.list_groups()[stage]
        for block in module.modules()
        if isinstance(block, InvertedResidual) and block.expands
    }
    assert _instance_batch_norms(changed) == expanding and len(expanding) > 3
    assert _instance_batch_norms(encoder) == set()


@pytest.mark.parametrize("name", ["resnet18", "efficientnet_lite0"])
def test_folding_leaves_instance_batch_norm_as_it_is_and_follows_training(name: str) -> None:
    encoder = with_instance_batch_norm(make_encoder(name)).double().eval()
    folded = FoldedEncoder(encoder)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.mul_(1.01).add_(1e-3)
        folded.refresh(encoder)
        images = torch.randn(2, 3, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        for mine, theirs in zip(folded(images), encoder(images), strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-9)
