"""Atrous spatial pyramid pooling: the head of DeepLab v3 (Chen et al., 2017, arXiv:1706.05587, section 3.3).

On an encoder's last map x, with BN and ReLU behind every convolution but the last, and [ ] along the channels:

    y = conv1x1 [ conv1x1(x), conv3x3_r1(x), conv3x3_r2(x), conv3x3_r3(x), conv1x1(mean of x over all pixels) ]
    logits = conv1x1(conv3x3(y))

r are rates: dilations in pixels of the map. The published 12, 24 and 36 are for maps of an eighth of the image's size.

Departures: the 3x3 convolution ahead of the classifier is not in the paper's text, but in the implementations in use,
torchvision's among them. There is no dropout, whose draws would be a function of what was drawn before. Batch norms
compute over the images of all processes, as the paper's do over its one large batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from csg.models.synchronised_batch_norm import SynchronisedBatchNorm2d


class Aspp(nn.Module):
    """Five parallel branches, their projection, and a classifier of pixels; only the last has a bias.

    Its memory grows with the map: at 512x512 pixels and output stride 8 a map of ``width`` channels has 64x64 pixels,
    at a width of 256 that is 4 MiB an image in float32. Backward reads some thirty of them.
    """

    def __init__(self, channels: int, classes: int, width: int, rates: Sequence[int]) -> None:
        """Make the head for maps of ``channels``; ``width`` is that of every branch (``model.head_width``)."""
        super().__init__()
        self.branches = nn.ModuleList(
            [_make_unit(channels, width), *(_make_unit(channels, width, kernel=3, dilation=rate) for rate in rates)]
        )
        self.pooled = _make_unit(channels, width)
        self.project = _make_unit(width * (len(rates) + 2), width)
        self.refine = _make_unit(width, width, kernel=3)
        self.classifier = nn.Conv2d(width, classes, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """(N, channels, h, w) -> logits (N, classes, h, w).

        Raises:
            ValueError: in training mode all processes together have one image, of which the pooling branch's batch norm
                has no variance.
        """
        pooled = self.pooled(maps.mean(dim=(2, 3), keepdim=True)).expand(-1, -1, *maps.shape[-2:])
        joined = torch.cat([*(branch(maps) for branch in self.branches), pooled], dim=1)
        logits: Tensor = self.classifier(self.refine(self.project(joined)))
        return logits


def _make_unit(inputs: int, outputs: int, *, kernel: int = 1, dilation: int = 1) -> nn.Sequential:
    """Convolution that keeps a map's size, batch norm, ReLU."""
    padding = dilation * (kernel // 2)
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=padding, dilation=dilation, bias=False),
        SynchronisedBatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )
