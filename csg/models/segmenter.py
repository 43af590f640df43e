"""The segmenter: an answer for every pixel (DeepLab v3; Chen et al., 2017, arXiv:1706.05587)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from csg.losses.attentional_pooling import average_pool
from csg.models.aspp import Aspp
from csg.models.encoder import Encoder
from csg.models.model import Model, Output


class Segmenter(Model):
    """Encoder, whose deeper stages are dilated, and an ASPP head, whose answer is enlarged to the input's size."""

    def __init__(
        self,
        encoder: Encoder,
        *,
        classes: int,
        head_width: int,
        rates: tuple[int, int, int],
        frozen_statistics: bool,
        frozen_norms: bool,
    ) -> None:
        head = Aspp(encoder.channels[-1], classes, width=head_width, rates=rates)
        super().__init__(encoder, head, frozen_statistics=frozen_statistics, frozen_norms=frozen_norms)

    def answer(self, maps: tuple[Tensor, ...], size: tuple[int, int], head: nn.Module) -> Output:
        """See :class:`~csg.models.model.Model`; logits are (N, classes, H, W), enlarged bilinearly."""
        logits = F.interpolate(head(maps[-1]), size=size, mode="bilinear", align_corners=False)
        return Output(logits=logits, maps=maps, features=average_pool(maps[-1]))
