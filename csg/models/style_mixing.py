"""Maps in mixed styles, inside an encoder's forward pass (MixStyle; Zhou et al., ICLR 2021, arXiv:2104.02008).

With mu(x) and sigma(x) the mean and the standard deviation of each channel of one image's map x, x~ the map of another
image of the batch, and lambda a number of 0 to 1 (section 3.2, equations 5 to 7):

    y = gamma (x - mu(x)) / sigma(x) + beta,   gamma = lambda sigma(x) + (1 - lambda) sigma(x~)
                                               beta  = lambda mu(x)    + (1 - lambda) mu(x~)

No gradient passes through mu and sigma.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from csg.collective import gather_rows
from csg.messages.errors import UserError

EPSILON = 1e-6
"""Added to variances."""


@dataclass(frozen=True)
class Draws:
    """How each of this process's N images is mixed."""

    shares: Tensor
    """(N,) lambda: an image's own part."""
    partners: Tensor
    """(N,) places of the other images in the batch of all processes."""


def measure_style(maps: Tensor) -> Tensor:
    """Return (N, 2, C) channel means and standard deviations of (N, C, H, W) maps, without gradient."""
    variance, mean = torch.var_mean(maps.detach(), dim=(2, 3), correction=0)
    return torch.stack([mean, (variance + EPSILON).sqrt()], dim=1)


def mix_styles(maps: Tensor, own: Tensor, others: Tensor, shares: Tensor) -> Tensor:
    """Give each map a style between its own and another one's.

    Args:
        maps: (N, C, H, W).
        own: (N, 2, C) styles of the maps, of :func:`measure_style`.
        others: (N, 2, C) styles of other maps.
        shares: (N,) lambda, 1 leaving a map as it is.

    Returns:
        (N, C, H, W).
    """
    mixed = torch.lerp(others, own, shares.reshape(-1, 1, 1))
    (mean, deviation), (shift, scale) = (style[..., None, None].unbind(dim=1) for style in (own, mixed))
    return (maps - mean) / deviation * scale + shift


class StyleMixing:
    """A forward hook that mixes the styles of a module's maps in training mode, once for each time it is told how.

    A copy of the encoder in evaluation mode has a copy of the hook, which does nothing there.
    """

    def __init__(self, stage: int) -> None:
        """Take the number of the stage whose last module the hook is on, for messages."""
        self._stage = stage
        self.draws: Draws | None = None
        """How the next maps are mixed; None for not at all."""

    def __call__(self, module: nn.Module, _: object, maps: Tensor) -> Tensor:
        """Return the maps that the module gives instead.

        Raises:
            UserError: the module gives no maps, but tokens, say.
        """
        draws, self.draws = self.draws, None
        if draws is None or not module.training:
            return maps
        if not isinstance(maps, Tensor) or maps.ndim != 4:
            raise UserError(
                "model.name: mixstyle expected an encoder whose stages give maps (N, C, H, W), found another output of "
                f"stage {self._stage}; use another encoder or method"
            )
        # In the weights' precision: bfloat16 would leave two or three digits of a small deviation.
        with torch.autocast(maps.device.type, enabled=False):
            exact = maps.to(torch.promote_types(maps.dtype, torch.float32))
            own = measure_style(exact)
            others = gather_rows(own)[draws.partners.to(maps.device)]
            return mix_styles(exact, own, others, draws.shares.to(exact)).to(maps.dtype)
