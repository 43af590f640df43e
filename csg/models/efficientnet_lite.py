"""EfficientNet-Lite0 (Tan and Le, 2019; ReLU6, no squeeze-and-excitation), with its published parameter names.

Blocks end in a linear projection, whose maps have either sign. A stage therefore ends one step later, after the
activated expansion of the next stage's first block: same stride, non-negative, and computed anyway. Stage 4 ends
after the activated head convolution.
"""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn import functional as F

from csg.models.encoder import Encoder

BLOCKS = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
"""Repeats, kernel, stride, expansion, channels."""
STAGE_ENDS = (3, 5, 11)
"""Blocks whose expansion ends stages 1, 2 and 3."""
EPSILON = 1e-3


class SameConv2d(nn.Conv2d):
    """Convolution that pads as TensorFlow's SAME does (more at the bottom right), as the weights expect."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, out_channels, ceil(H / stride), ceil(W / stride))."""
        (top, bottom), (left, right) = (
            _compute_same_padding(size, (kernel - 1) * dilation + 1, stride)
            for size, kernel, dilation, stride in zip(
                x.shape[-2:], self.kernel_size, self.dilation, self.stride, strict=True
            )
        )
        padding: int | tuple[int, int] = (top, left)
        if (top, left) != (bottom, right):
            x, padding = F.pad(x, (left, right, top, bottom)), 0
        return F.conv2d(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)


def _compute_same_padding(size: int, reach: int, stride: int) -> tuple[int, int]:
    """Split what a kernel that reaches over so many pixels needs beside an input of ``size``."""
    total = max((math.ceil(size / stride) - 1) * stride + reach - size, 0)
    return total // 2, total - total // 2


class InvertedResidual(nn.Module):
    """Expand (1x1), filter each channel (k x k), project (1x1); a shortcut where shapes agree."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        width = inputs * expansion
        self.width = width
        self.shortcut = stride == 1 and inputs == outputs
        if expansion > 1:
            self._expand_conv = SameConv2d(inputs, width, 1, bias=False)
            self._bn0 = nn.BatchNorm2d(width, eps=EPSILON)
        self.expands = expansion > 1
        self._depthwise_conv = SameConv2d(width, width, kernel, stride, groups=width, bias=False)
        self._bn1 = nn.BatchNorm2d(width, eps=EPSILON)
        self._project_conv = SameConv2d(width, outputs, 1, bias=False)
        self._bn2 = nn.BatchNorm2d(outputs, eps=EPSILON)

    def expand(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, width, H, W), non-negative where the block expands."""
        return F.relu6(self._bn0(self._expand_conv(x)), inplace=True) if self.expands else x

    def project(self, expanded: Tensor) -> Tensor:
        """(N, width, H, W) -> (N, outputs, H / stride, W / stride)."""
        y = F.relu6(self._bn1(self._depthwise_conv(expanded)), inplace=True)
        projected: Tensor = self._bn2(self._project_conv(y))
        return projected

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, H / stride, W / stride)."""
        y = self.project(self.expand(x))
        return y + x if self.shortcut else y


class EfficientNetLite(Encoder):
    """Stem, inverted residual blocks and head convolution; ``_fc`` is the old head."""

    dilates = True
    folds = True
    mean = (127.0, 127.0, 127.0)
    std = (128.0, 128.0, 128.0)

    def __init__(self, classes: int = 1000) -> None:
        super().__init__()
        self._conv_stem = SameConv2d(3, 32, 3, 2, bias=False)
        self._bn0 = nn.BatchNorm2d(32, eps=EPSILON)
        blocks: list[InvertedResidual] = []
        inputs = 32
        for repeats, kernel, stride, expansion, outputs in BLOCKS:
            for index in range(repeats):
                blocks.append(InvertedResidual(inputs, outputs, kernel, stride if index == 0 else 1, expansion))
                inputs = outputs
        self.channels = (*(blocks[end].width for end in STAGE_ENDS), 1280)  # type: ignore[assignment]
        self._blocks = nn.ModuleList(blocks)
        self._conv_head = SameConv2d(inputs, 1280, 1, bias=False)
        self._bn1 = nn.BatchNorm2d(1280, eps=EPSILON)
        self._fc = nn.Linear(1280, classes)
        self.draw_convolutions()

    def forward(self, images: Tensor, depth: int = 4) -> tuple[Tensor, ...]:
        """See :class:`~csg.models.encoder.Encoder`."""
        x = F.relu6(self._bn0(self._conv_stem(images)), inplace=True)
        maps: list[Tensor] = []
        for index, block in enumerate(self._blocks):
            assert isinstance(block, InvertedResidual)
            if index in STAGE_ENDS:
                maps.append(block.expand(x))
                if len(maps) == depth:
                    return tuple(maps)
                x = block.project(maps[-1])
            else:
                x = block(x)
        return *maps, F.relu6(self._bn1(self._conv_head(x)), inplace=True)

    def list_groups(self) -> dict[str, list[nn.Module]]:
        """See :class:`~csg.models.encoder.Encoder`; the block in whose middle a stage ends belongs to the next one."""
        cuts = zip((0, *STAGE_ENDS), (*STAGE_ENDS, len(self._blocks)), strict=True)
        stages = {f"stage{i}": list(self._blocks[start:end]) for i, (start, end) in enumerate(cuts, start=1)}
        stages["stage4"] += [self._conv_head, self._bn1]
        return {"stem": [self._conv_stem, self._bn0], **stages}

    def get_old_head(self) -> nn.Linear:
        """See :class:`~csg.models.encoder.Encoder`."""
        return self._fc


def efficientnet_lite0() -> EfficientNetLite:
    """EfficientNet-Lite0, the bundled benchmark's encoder."""
    return EfficientNetLite()
