"""Instance-batch normalisation (Pan et al., ECCV 2018, IBN-Net-a): half of the channels forget an image's style."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from csg.messages.errors import UserError
from csg.models.efficientnet_lite import InvertedResidual
from csg.models.encoder import Encoder
from csg.models.resnet import BasicBlock, Bottleneck


class InstanceBatchNorm2d(nn.Module):
    """Instance norm on the first half of the channels, batch norm on the others (the paper's block IBN-a).

    Scale and shift are those of the batch norm that it replaces; running statistics only where they fit, in the batch
    half. An odd channel goes to the batch half.
    """

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        self.styleless = norm.num_features // 2
        self.instance = nn.InstanceNorm2d(self.styleless, eps=norm.eps, affine=True)
        self.batch = nn.BatchNorm2d(norm.num_features - self.styleless, eps=norm.eps, momentum=norm.momentum)
        self.to(norm.weight)
        with torch.no_grad():
            for name in ("weight", "bias"):
                ours, theirs = (getattr(self.instance, name), getattr(self.batch, name)), getattr(norm, name)
                ours[0].copy_(theirs[: self.styleless])
                ours[1].copy_(theirs[self.styleless :])
            for name in ("running_mean", "running_var"):
                getattr(self.batch, name).copy_(getattr(norm, name)[self.styleless :])

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W); a map needs more than one pixel."""
        return torch.cat([self.instance(x[:, : self.styleless]), self.batch(x[:, self.styleless :])], dim=1)


def with_instance_batch_norm(encoder: Encoder, stages: int = 3) -> Encoder:
    """Return a copy whose first ``stages`` stages normalise this way in each residual block's first normalisation.

    That is the norm after the first convolution of a ResNet block and, a departure that the paper does not cover, the
    norm after the expansion of an EfficientNet block.

    Raises:
        UserError: the encoder has no such blocks.
    """
    changed = copy.deepcopy(encoder)
    for stage in range(1, stages + 1):
        for module in changed.list_groups()[f"stage{stage}"]:
            for block in module.modules():
                if isinstance(block, BasicBlock | Bottleneck):
                    assert isinstance(block.bn1, nn.BatchNorm2d)
                    block.set_submodule("bn1", InstanceBatchNorm2d(block.bn1))
                elif isinstance(block, InvertedResidual) and block.expands:
                    assert isinstance(block._bn0, nn.BatchNorm2d)
                    block.set_submodule("_bn0", InstanceBatchNorm2d(block._bn0))
    if not any(isinstance(module, InstanceBatchNorm2d) for module in changed.modules()):
        raise UserError(
            "method.name: ibn_net changes batch norms in residual blocks of this package's ResNets and EfficientNet; "
            f"a {type(encoder).__name__} has none"
        )
    return changed
