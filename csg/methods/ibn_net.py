"""IBN-Net: an architecture that normalises style away in its shallow half (Pan et al., ECCV 2018, block IBN-a).

In the first normalisation of each residual block of stages 1 to 3, with C channels:

    y = [ IN(x_1, ..., x_(C/2)), BN(x_(C/2+1), ..., x_C) ]

IN normalises each image's channel by its own mean and variance, BN as before. The loss is cross-entropy alone.

Departures: the paper trains its network on ImageNet; here it starts from the plain network's ImageNet weights, copied
where they fit (IN takes over BN's scale and shift), so that its first maps are not ImageNet's. And the paper has no
EfficientNet: there, the normalisation behind a block's expansion is taken.
"""

from __future__ import annotations

from pydantic.dataclasses import dataclass

from csg.config import MethodConfig
from csg.config.settings import STRICT
from csg.methods.method import Method
from csg.models.encoder import Encoder
from csg.models.instance_batch_norm import with_instance_batch_norm


@dataclass(frozen=True, config=STRICT)
class IbnNetConfig(MethodConfig):
    """IBN-Net has no settings."""

    name: str = "ibn_net"


class IbnNet(Method):
    """Adds no term; half of the channels of stages 1 to 3 are instance-normalised."""

    Config = IbnNetConfig

    @classmethod
    def adapt(cls, encoder: Encoder) -> Encoder:
        """Return a copy with IBN-a."""
        return with_instance_batch_norm(encoder)
