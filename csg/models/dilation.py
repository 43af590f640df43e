"""Dilated encoders: finer maps from the same weights (Chen et al., 2017, arXiv:1706.05587, section 3.1).

Where a stage's stride is left out, whatever comes behind looks twice as far instead: at every second pixel of the finer
map stands what the strided network computes there.
"""

from __future__ import annotations

import copy
from typing import Final

from torch import nn

from csg.messages.errors import UserError
from csg.models.efficientnet_lite import SameConv2d
from csg.models.encoder import Encoder

STRIDES: Final = (8, 16, 32)
"""That last maps can be made to have."""


def with_output_stride(encoder: Encoder, stride: int) -> Encoder:
    """Return a copy whose last maps have this stride; names and shapes of its weights are those of ``encoder``.

    As many of the last stages as there are halvings from this stride to the encoder's own keep their input's
    resolution. At 8 the four stages' maps have strides 4, 8, 8, 8, at 16 they have 4, 8, 16, 16, at 32 nothing changes;
    behind a small stem they have 2, 4, 8, 8 at 8, and 2, 4, 8, 16 of their own. The convolution that carried a stride
    keeps the dilation it had, since it sees the map as it was; those behind it take twice that, in the same block too.
    For ResNets of bottlenecks this is torchvision's ``replace_stride_with_dilation``. A stage is the encoder's own
    group: in EfficientNet-Lite0 stage 3 begins with the block in whose expansion stage 2's map is taken, and that
    block's depthwise convolution carries the stride.

    Raises:
        UserError: another stride.
    """
    if stride not in STRIDES:
        raise UserError(f"model.output_stride: expected {', '.join(map(str, STRIDES))}, found {stride}")
    changed = copy.deepcopy(encoder)
    halvings = max(encoder.stride // stride, 1).bit_length() - 1
    changed.stride = encoder.stride >> halvings
    dilation = 1
    for stage in range(5 - halvings, 5):
        for module in changed.list_groups()[f"stage{stage}"]:
            for conv in module.modules():
                if isinstance(conv, nn.Conv2d):
                    carried = conv.stride[0]
                    conv.stride = (1, 1)
                    if conv.kernel_size != (1, 1):
                        _dilate(conv, dilation)
                        dilation *= carried
    return changed


def _dilate(conv: nn.Conv2d, dilation: int) -> None:
    """Spread a convolution's taps; it then keeps a map's size, as its kernel is odd."""
    conv.dilation = (dilation, dilation)
    if not isinstance(conv, SameConv2d):  # that one computes its padding from the map
        conv.padding = tuple(dilation * (kernel // 2) for kernel in conv.kernel_size)
