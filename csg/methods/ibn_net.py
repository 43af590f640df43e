"""IBN-Net: an architecture that normalises style away in its shallow half (Pan et al., ECCV 2018, IBN-Net-a)."""

from __future__ import annotations

from pydantic.dataclasses import dataclass

from csg.config import STRICT, MethodConfig
from csg.methods.method import Method
from csg.models.encoder import Encoder
from csg.models.instance_batch_norm import with_instance_batch_norm


@dataclass(frozen=True, config=STRICT)
class IbnNetConfig(MethodConfig):
    """IBN-Net has no settings."""

    name: str = "ibn_net"


class IbnNet(Method):
    """Adds no term; half of the channels of stages 1 to 3 are instance-normalised.

    A departure: the paper trains its network on ImageNet. Here it starts from the plain network's ImageNet weights,
    copied where they fit, so its first maps are not ImageNet's.
    """

    Config = IbnNetConfig

    @classmethod
    def adapted(cls, encoder: Encoder) -> Encoder:
        """Return a copy with IBN-a."""
        return with_instance_batch_norm(encoder)
