"""ResNet (He et al., 2016) with torchvision's parameter names: its ``.pth`` files load unchanged.

Bottlenecks stride on the 3x3 convolution, as torchvision's and the CSG authors' do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from csg.models.encoder import ImageNetEncoder


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    expansion: ClassVar[int] = 1

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _make_shortcut(inputs, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, width, H / stride, W / stride)."""
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = self.bn2(self.conv2(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)), inplace=True)


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions and a shortcut."""

    expansion: ClassVar[int] = 4

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = width * self.expansion
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = _make_shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, 4 width, H / stride, W / stride)."""
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = F.relu(self.bn2(self.conv2(y)), inplace=True)
        y = self.bn3(self.conv3(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)), inplace=True)


def _make_shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


class ResNet(ImageNetEncoder):
    """Stem and four stages (``layer1`` to ``layer4``); ``fc`` is the old head."""

    dilates = True
    folds = True

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        layers: Sequence[int],
        *,
        width: int = 64,
        classes: int = 1000,
        small_stem: bool = False,
    ) -> None:
        """Make a stem of ``width`` channels and stages of 1, 2, 4 and 8 times that (times the block's expansion).

        A small stem, for small images, is one 3x3 convolution of stride 2 without pooling: all maps are twice as fine.
        """
        super().__init__()
        kernel = 3 if small_stem else 7
        self.conv1 = nn.Conv2d(3, width, kernel, 2, padding=kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.maxpool = nn.Identity() if small_stem else nn.MaxPool2d(3, 2, padding=1)
        widths = (width, 2 * width, 4 * width, 8 * width)
        one, two, three, four = (inner * block.expansion for inner in widths)
        self.channels = (one, two, three, four)
        self.stride = 16 if small_stem else 32
        inputs = width
        stages = []
        for inner, depth, stride in zip(widths, layers, (1, 2, 2, 2), strict=True):
            blocks: list[nn.Module] = [block(inputs, inner, stride)]
            inputs = inner * block.expansion
            blocks += [block(inputs, inner, 1) for _ in range(depth - 1)]
            stages.append(nn.Sequential(*blocks))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.fc = nn.Linear(inputs, classes)
        self.draw_convolutions()

    def forward(self, images: Tensor, depth: int = 4) -> tuple[Tensor, ...]:
        """See :class:`~csg.models.encoder.Encoder`."""
        x = self.maxpool(F.relu(self.bn1(self.conv1(images)), inplace=True))
        maps: list[Tensor] = []
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4)[:depth]:
            x = stage(x)
            maps.append(x)
        return tuple(maps)

    def list_groups(self) -> dict[str, list[nn.Module]]:
        """See :class:`~csg.models.encoder.Encoder`."""
        stages = (self.layer1, self.layer2, self.layer3, self.layer4)
        return {"stem": [self.conv1, self.bn1]} | {f"stage{i}": [stage] for i, stage in enumerate(stages, start=1)}

    def get_old_head(self) -> nn.Linear:
        """See :class:`~csg.models.encoder.Encoder`."""
        return self.fc


def resnet10() -> ResNet:
    """ResNet-10 of 24 to 192 channels with a small stem, for images of 32 pixels; its classifier is one of digits."""
    return ResNet(BasicBlock, (1, 1, 1, 1), width=24, classes=10, small_stem=True)


def resnet18() -> ResNet:
    """ResNet-18."""
    return ResNet(BasicBlock, (2, 2, 2, 2))


def resnet34() -> ResNet:
    """ResNet-34."""
    return ResNet(BasicBlock, (3, 4, 6, 3))


def resnet50() -> ResNet:
    """ResNet-50."""
    return ResNet(Bottleneck, (3, 4, 6, 3))


def resnet101() -> ResNet:
    """ResNet-101, the paper's encoder for VisDA-17."""
    return ResNet(Bottleneck, (3, 4, 23, 3))
