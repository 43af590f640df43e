"""What an encoder is: a network cut into stages, each of which ends in a feature map."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Final, cast

import torch
from torch import Tensor, nn

from csg.messages.errors import UserError

IMAGENET_MEAN: Final = cast(tuple[float, float, float], tuple(255 * m for m in (0.485, 0.456, 0.406)))
IMAGENET_STD: Final = cast(tuple[float, float, float], tuple(255 * s for s in (0.229, 0.224, 0.225)))


class Encoder(nn.Module, ABC):
    """A backbone of four stages.

    The CNNs of this package end a stage after an activation, so that its map is non-negative; other encoders need not
    (:func:`csg.losses.attentional_pooling.attention` says what A-pool does then).
    """

    mean: tuple[float, float, float]
    """Mean of the input, per channel, on the scale of 0 to 255."""
    std: tuple[float, float, float]
    """Divisor of the input after the mean was taken off."""

    channels: tuple[int, int, int, int]
    """Channels of the four stages' maps."""
    stride: int = 32
    """Input pixels between two places of the last stage's map."""

    dilates: bool = False
    """Whether :func:`csg.models.dilation.with_output_stride` can refine its maps."""
    folds: bool = False
    """Whether each batch norm that is declared right after a convolution is computed right after it, and the
    convolution has no bias, so that the two can be made one for inference."""
    architecture: str = ""
    """What the network can be made of again without its files; empty where its name says it all."""

    @abstractmethod
    def forward(self, images: Tensor, depth: int = 4) -> tuple[Tensor, ...]:
        """Compute the maps of the first ``depth`` stages.

        Args:
            images: (N, 3, H, W), normalised by :meth:`normalise`.
            depth: 1 to 4; deeper stages are not computed.

        Returns:
            Maps (N, channels[i], h, w). A CNN's have h = H / s for strides s of 4, 8, 16, 32, or 2, 4, 8, 16 behind a
            small stem; less where it was dilated (:func:`csg.models.dilation.with_output_stride`). A plain
            transformer's all have one place a patch.
        """

    @abstractmethod
    def list_groups(self) -> dict[str, list[nn.Module]]:
        """Return the modules of ``stem`` and ``stage1`` to ``stage4``: groups that learn at rates of their own."""

    def list_layers(self) -> list[tuple[str, list[nn.Module]]]:
        """Return the units of layer-wise learning-rate decay, first to last, each with its group: here the groups."""
        return list(self.list_groups().items())

    def get_old_head(self) -> nn.Linear | None:
        """Return the ImageNet classifier that the weights were trained with, on spatially averaged stage-4 maps.

        It is no part of a forward pass. None where there is none.
        """
        return None

    def checkpoint_gradients(self) -> None:
        """Trade time for memory: compute activations again in the backward pass.

        Raises:
            UserError: this encoder cannot.
        """
        raise UserError(
            f"model.gradient_checkpointing: expected False, since {type(self).__name__} has none (encoders of "
            "transformers have); found True"
        )

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

    mean = IMAGENET_MEAN
    std = IMAGENET_STD
