"""Batch norm over several processes is batch norm over their images; DeepLab's head is built of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from csg.collective import gather_rows, get_world_size, sum_over_processes, sum_over_processes_with_gradient
from csg.models.aspp import Aspp
from csg.models.synchronised_batch_norm import SynchronisedBatchNorm2d
from tests.process_group import in_group

CHANNELS = 3
PARTS = {2: (slice(0, 2), slice(2, 5)), 3: (slice(0, 4), slice(4, 4), slice(4, 5))}
"""How 2 and 3 processes share five images: unequally, one of three having none."""


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def norm(kind: type[nn.BatchNorm2d] = SynchronisedBatchNorm2d) -> nn.BatchNorm2d:
    made = kind(CHANNELS).double()
    with torch.no_grad():
        made.weight.copy_(drawn(CHANNELS, seed=1))
        made.bias.copy_(drawn(CHANNELS, seed=2))
    return made


def head() -> Aspp:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Aspp(CHANNELS, 2, width=4, rates=(1, 2)).double()


def answers(module: nn.Module, mine: slice) -> dict[str, Tensor]:
    """Pass two batches through, as training does; return the whole's outputs and gradients, and everyone's buffers."""
    found: dict[str, Tensor] = {}
    wrapped = module
    if get_world_size() > 1:  # its own sums over processes come between those of the norms
        wrapped = DistributedDataParallel(module, forward_sync_buffers=False, init_sync=False)
    for step in range(2):
        images = (drawn(5, CHANNELS, 5, 4, seed=10 + step) * 3 + 20)[mine].requires_grad_()
        weights = drawn(5, 1, 5, 4, seed=20 + step)[mine]
        output = wrapped(images)
        (output.square() * weights).sum().backward()
        assert images.grad is not None
        found |= {f"output {step}": gather_rows(output.detach()), f"input's gradient {step}": gather_rows(images.grad)}
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None
        found[f"gradient of {name}"] = sum_over_processes(parameter.grad)
    for name, buffer in module.named_buffers():
        found[f"everyone's {name}"] = gather_rows(buffer[None])
    return found


def _answers_in_a_group(rank: int) -> dict[str, dict[str, Tensor]]:
    mine = PARTS[get_world_size()][rank]
    return {"norm": answers(norm(), mine), "head": answers(head(), mine)}


@pytest.mark.slow
@pytest.mark.parametrize("world", PARTS)
def test_processes_compute_what_one_would_of_all_their_images(world: int, tmp_path: Path) -> None:
    """Outputs, gradients of inputs and weights, running statistics, of images that are shared out unequally."""
    together = in_group(world, _answers_in_a_group, tmp_path)
    alone = {"norm": answers(norm(nn.BatchNorm2d), slice(None)), "head": answers(head(), slice(None))}
    for module, expected in alone.items():
        assert together[module].keys() == expected.keys()
        for name, value in expected.items():
            everyones = value.expand(world, *value.shape[1:]) if name.startswith("everyone") else value
            torch.testing.assert_close(
                together[module][name], everyones, rtol=1e-10, atol=1e-10, msg=f"{module}: {name}"
            )


@pytest.mark.parametrize("momentum", [0.1, None])
def test_in_one_process_it_is_torchs_batch_norm_bit_for_bit(momentum: float | None) -> None:
    ours, theirs = norm(), norm(nn.BatchNorm2d)
    ours.momentum = theirs.momentum = momentum
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    for training in (True, True, False):
        images = [drawn(2, CHANNELS, 4, 4, seed=7).requires_grad_() for _ in range(2)]
        outputs = [it.train(training)(x) for it, x in zip((ours, theirs), images, strict=True)]
        assert torch.equal(*outputs)
        for output in outputs:
            output.square().sum().backward()
        assert images[0].grad is not None and images[1].grad is not None
        assert torch.equal(images[0].grad, images[1].grad)
    assert all(torch.equal(value, theirs.state_dict()[name]) for name, value in ours.state_dict().items())


@pytest.mark.parametrize("momentum", [0.1, None])
def test_the_formula_for_many_processes_is_batch_norm_where_there_is_one(momentum: float | None) -> None:
    ours, theirs = norm(), norm(nn.BatchNorm2d)
    assert isinstance(ours, SynchronisedBatchNorm2d)
    ours.momentum = theirs.momentum = momentum
    for seed in range(3):
        images = drawn(2, CHANNELS, 4, 4, seed=seed) + 1e4
        torch.testing.assert_close(ours.normalise_jointly(images), theirs(images), rtol=1e-8, atol=1e-8)
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, rtol=1e-10, atol=1e-10, msg=name)


def test_the_formula_has_the_gradients_of_what_it_computes() -> None:
    it = norm()
    assert isinstance(it, SynchronisedBatchNorm2d)
    weight, bias = drawn(CHANNELS, seed=1).requires_grad_(), drawn(CHANNELS, seed=2).requires_grad_()

    def formula(images: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        with torch.no_grad():
            it.running_mean.zero_()  # type: ignore[union-attr]
        found = torch.func.functional_call(it, {"weight": weight, "bias": bias}, (images,))
        assert isinstance(found, Tensor)
        return found

    it.forward = it.normalise_jointly  # type: ignore[method-assign]
    images = drawn(2, CHANNELS, 3, 2).requires_grad_()
    assert torch.autograd.gradcheck(formula, (images, weight, bias))
    assert torch.autograd.gradgradcheck(formula, (images, weight, bias))


def test_statistics_of_bfloat16_maps_are_computed_in_float32() -> None:
    it = SynchronisedBatchNorm2d(CHANNELS)
    images = (drawn(4, CHANNELS, 8, 8) + 3).bfloat16()
    found = it.normalise_jointly(images)
    assert found.dtype == torch.bfloat16
    expected = F.batch_norm(images.float(), None, None, training=True)
    torch.testing.assert_close(found.float(), expected, rtol=1e-2, atol=1e-2)
    torch.testing.assert_close(it.running_mean, 0.1 * images.float().mean(dim=(0, 2, 3)))


def test_one_value_has_no_variance() -> None:
    it = norm()
    assert isinstance(it, SynchronisedBatchNorm2d)
    with pytest.raises(ValueError, match=r"more than one value a channel in training, found 1 .*train\.batch_size"):
        it.normalise_jointly(drawn(1, CHANNELS, 1, 1))
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        head()(drawn(1, CHANNELS, 5, 4))


def test_without_a_group_a_sum_is_what_was_given() -> None:
    values = drawn(3)
    assert sum_over_processes_with_gradient(values) is values
