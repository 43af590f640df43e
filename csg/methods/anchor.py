"""The weights that a penalty pulls to: a teacher's, beside those of the encoder that trains."""

from __future__ import annotations

from torch import Tensor, nn

from csg.messages.errors import UserError
from csg.models.encoder import Encoder


class Anchor:
    """A copy of a teacher's weights, by the names of the student's trainable parameters.

    It is a function of weights that are stored elsewhere, so no part of a checkpoint.
    """

    def __init__(self, teacher: Encoder, student: Encoder) -> None:
        """Copy what the student trains.

        Raises:
            UserError: the teacher is another architecture.
        """
        theirs = dict(teacher.named_parameters())
        self._anchors: dict[str, Tensor] = {}
        for name, parameter in _list_trainable(student).items():
            if name not in theirs or theirs[name].shape != parameter.shape:
                raise UserError(
                    "model.teacher_name: a penalty on weights needs a teacher of the encoder's own architecture; "
                    f"found none of {name} {tuple(parameter.shape)} in it"
                )
            self._anchors[name] = theirs[name].detach().clone()

    def pair_with(self, student: Encoder) -> dict[str, tuple[nn.Parameter, Tensor]]:
        """Return each trainable weight with its anchor, by name."""
        return {name: (parameter, self._anchors[name]) for name, parameter in _list_trainable(student).items()}


def _list_trainable(encoder: Encoder) -> dict[str, nn.Parameter]:
    return {name: parameter for name, parameter in encoder.named_parameters() if parameter.requires_grad}
