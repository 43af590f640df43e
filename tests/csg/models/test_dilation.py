"""Dilated encoders compute what the strided ones do, and more pixels of it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from csg.messages.errors import UserError
from csg.models import make_encoder
from csg.models.dilation import with_output_stride
from csg.models.efficientnet_lite import EfficientNetLite
from csg.models.encoder import Encoder
from csg.models.folding import FoldedEncoder
from csg.models.instance_batch_norm import with_instance_batch_norm
from tests.csg.models.test_models import randomised

ENCODERS = ("resnet18", "resnet50", "efficientnet_lite0", "resnet10")
STRIDES = {8: (4, 8, 8, 8), 16: (4, 8, 16, 16), 32: (4, 8, 16, 32)}
FINER = {8: (2, 4, 8, 8), 16: (2, 4, 8, 16), 32: (2, 4, 8, 16)}
"""Behind a small stem, whose last map has a stride of 16 by itself."""


@pytest.fixture(scope="module", params=ENCODERS)
def encoder(request: pytest.FixtureRequest) -> Encoder:
    return randomised(make_encoder(request.param)).double().eval()


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.randn(1, 3, 96, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("stride", STRIDES)
@torch.no_grad()
def test_maps_keep_their_resolution_from_the_output_stride_on(encoder: Encoder, images: Tensor, stride: int) -> None:
    expected = (STRIDES if encoder.stride == 32 else FINER)[stride]
    changed = with_output_stride(encoder, stride)
    assert [tuple(m.shape) for m in changed(images)] == [
        (1, channels, 96 // s, 64 // s) for channels, s in zip(encoder.channels, expected, strict=True)
    ]
    assert changed.stride == expected[-1]


@pytest.mark.parametrize("stride", STRIDES)
@torch.no_grad()
def test_finer_maps_hold_the_strided_networks_own(encoder: Encoder, images: Tensor, stride: int) -> None:
    """Every second pixel of a stage that kept its resolution, every fourth where two did.

    A ResNet's strided convolution is centred on the first pixel of each pair; TensorFlow's padding, with which
    EfficientNet-Lite0 was trained, centres it on the last.
    """
    dilated, strided = with_output_stride(encoder, stride)(images), encoder(images)
    for fine, coarse in zip(dilated, strided, strict=True):
        step = fine.shape[-1] // coarse.shape[-1]
        first = step - 1 if isinstance(encoder, EfficientNetLite) else 0
        torch.testing.assert_close(fine[..., first::step, first::step], coarse, rtol=1e-9, atol=1e-9)


def test_weights_keep_their_names_and_shapes_and_the_encoder_is_left_alone(encoder: Encoder) -> None:
    before = str(encoder)
    changed = with_output_stride(encoder, 8)
    shapes, theirs = ({k: v.shape for k, v in e.state_dict().items()} for e in (changed, encoder))
    assert shapes == theirs
    changed.load_state_dict(encoder.state_dict())
    assert str(encoder) == before != str(changed)


@torch.no_grad()
def test_a_dilated_encoder_folds(encoder: Encoder, images: Tensor) -> None:
    changed = with_output_stride(encoder, 8)
    for mine, theirs in zip(FoldedEncoder(changed)(images), changed(images), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-9)


@torch.no_grad()
def test_dilation_and_instance_normalisation_come_in_any_order(encoder: Encoder, images: Tensor) -> None:
    one = with_output_stride(with_instance_batch_norm(encoder), 8)(images)
    other = with_instance_batch_norm(with_output_stride(encoder, 8))(images)
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(one, other, strict=True))


def test_dilations_of_a_bottleneck_network_are_torchvisions() -> None:
    """At stride 8, ``replace_stride_with_dilation=[False, True, True]``: a first block has what came before it."""
    changed = with_output_stride(make_encoder("resnet50"), 8)
    found = {
        name: (module.stride, module.dilation, module.padding)
        for name, module in changed.named_modules()
        if isinstance(module, torch.nn.Conv2d) and name.startswith(("layer3", "layer4"))
    }
    for layer, blocks, before, after in (("layer3", 6, 1, 2), ("layer4", 3, 2, 4)):
        for block in range(blocks):
            dilation = before if block == 0 else after
            assert found[f"{layer}.{block}.conv2"] == ((1, 1), (dilation,) * 2, (dilation,) * 2)
        assert found[f"{layer}.0.downsample.0"] == ((1, 1), (1, 1), (0, 0))


def test_another_stride_is_refused() -> None:
    with pytest.raises(UserError, match=r"model\.output_stride: expected 8, 16, 32, found 4"):
        with_output_stride(make_encoder("resnet18"), 4)
