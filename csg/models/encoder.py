"""What an encoder is: a network cut into stages, each of which ends in a non-negative feature map."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, cast

import torch
from torch import Tensor, nn


class Encoder(nn.Module, ABC):
    """A backbone of four stages.

    Stage maps come after an activation: A-pool asks for non-negative maps. ``old_head`` is the classifier that the
    ImageNet weights were trained with; it is never part of a forward pass of the encoder.
    """

    mean: ClassVar[tuple[float, float, float]]
    """Mean of the input, per channel, on the scale of 0 to 255."""
    std: ClassVar[tuple[float, float, float]]
    """Divisor of the input after the mean was taken off."""

    channels: tuple[int, int, int, int]
    """Channels of the four stages' maps."""
    stride: int = 32
    """Input pixels between two places of the last stage's map."""

    @abstractmethod
    def forward(self, images: Tensor, depth: int = 4) -> tuple[Tensor, ...]:
        """Compute the maps of the first ``depth`` stages.

        Args:
            images: (N, 3, H, W), normalised by :meth:`normalise`.
            depth: 1 to 4; deeper stages are not computed.

        Returns:
            Maps (N, channels[i], H / s, W / s) for strides s of 4, 8, 16, 32, or 2, 4, 8, 16 behind a small stem; less
            where the encoder was dilated (:func:`csg.models.dilation.with_output_stride`).
        """

    @abstractmethod
    def groups(self) -> dict[str, list[nn.Module]]:
        """Return the modules of ``stem`` and ``stage1`` to ``stage4``: groups that learn at rates of their own."""

    @abstractmethod
    def old_head(self) -> nn.Linear:
        """Return the ImageNet classifier, on spatially averaged stage-4 maps."""

    def draw_convolutions(self) -> None:
        """Draw the weights of all convolutions (He et al., 2015, arXiv:1502.01852, by outgoing connections)."""
        for module in self.modules():
            # Nothing is drawn on the meta device; torch would import its compiler for it, which takes seconds.
            if isinstance(module, nn.Conv2d) and not module.weight.is_meta:
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def normalise(self, images: Tensor) -> Tensor:
        """Turn (N, 3, H, W) images of 0 to 255 into this encoder's input, in the type of its weights."""
        parameter = next(self.parameters())
        mean = torch.tensor(self.mean, dtype=parameter.dtype, device=images.device).reshape(1, 3, 1, 1)
        std = torch.tensor(self.std, dtype=parameter.dtype, device=images.device).reshape(1, 3, 1, 1)
        return (images.to(parameter.dtype) - mean) / std


class ImageNetEncoder(Encoder):
    """Normalises with ImageNet's mean and standard deviation."""

    mean = cast(tuple[float, float, float], tuple(255 * m for m in (0.485, 0.456, 0.406)))
    std = cast(tuple[float, float, float], tuple(255 * s for s in (0.229, 0.224, 0.225)))
