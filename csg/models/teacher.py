"""The frozen encoder that a method learns from, which may differ from the one that is trained."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from csg.messages.errors import UserError
from csg.models.encoder import Encoder
from csg.models.folding import FoldedEncoder


class Teacher(FoldedEncoder):
    """A frozen copy of an encoder that is shown images normalised for another one, the ``student``.

    Its stages are the student's by number. Channels and sizes of the maps may differ.
    """

    def __init__(self, encoder: Encoder, student: Encoder) -> None:
        super().__init__(encoder)
        self.in_bfloat16 = False
        """Whether the maps are computed in bfloat16 (autocast); they are handed over in the images' type."""
        self._rescale = (encoder.mean, encoder.std) != (student.mean, student.std)
        if self._rescale:
            parameter = next(student.parameters())
            mean, std, own_mean, own_std = (
                torch.tensor(values, dtype=parameter.dtype, device=parameter.device).reshape(1, 3, 1, 1)
                for values in (student.mean, student.std, encoder.mean, encoder.std)
            )
            self._scale, self._shift = std / own_std, (mean - own_mean) / own_std

    @torch.no_grad()
    def forward(self, images: Tensor, depth: int = 4) -> tuple[Tensor, ...]:
        """See :class:`~csg.models.encoder.Encoder`; ``images`` are normalised for the student."""
        images = images * self._scale + self._shift if self._rescale else images
        if not self.in_bfloat16:
            return super().forward(images, depth)
        with torch.autocast(images.device.type, dtype=torch.bfloat16):
            maps = super().forward(images, depth)
        return tuple(each.to(images.dtype) for each in maps)


def check_widths(
    method: str, stages: Iterable[int], *, student: Encoder, teacher: Encoder, otherwise: str = ""
) -> None:
    """Check that what a method compares channel by channel has the same channels in both encoders.

    Args:
        method: what compares, as the message begins with it.
        stages: whose maps are compared, 1 to 4.
        student: the encoder that is trained.
        teacher: the frozen one.
        otherwise: what can be done beside choosing another teacher.

    Raises:
        UserError: a stage's maps differ in width.
    """
    for stage in stages:
        trained, frozen = student.channels[stage - 1], teacher.channels[stage - 1]
        if trained != frozen:
            raise UserError(
                f"model.teacher_name: {method} compares maps of one width; stage {stage} has {trained} channels in the "
                f"encoder, {frozen} in the teacher; choose another{otherwise}"
            )
