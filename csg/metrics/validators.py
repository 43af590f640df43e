"""The validators by name: scores of a model on images of the target that need none of their labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from torch import Tensor

from csg.metrics import atc, bnm, class_ami, class_silhouette, diversity, entropy, mixval, snd, teacher_neighbours
from csg.metrics.rows import is_degenerate


@dataclass(frozen=True, eq=False)
class TargetView:
    """All that a validator may see. It has no place for a label of the target.

    Rows are images, or places of images (see :mod:`csg.metrics.places`).

    Raises:
        ValueError: tensors whose shapes do not fit together.
    """

    logits: Tensor
    """(N, C) of target images."""
    features: Tensor
    """(N, D) of the last stage, pooled, not normalised."""
    teacher_features: Tensor | None = None
    """(N, D') of the frozen encoder."""
    partner_logits: Tensor | None = None
    """(N, C) of the images that each image is mixed with (see :mod:`csg.metrics.mixval`)."""
    mixed_logits: Tensor | None = None
    """(N, C) of the mixtures."""
    source_logits: Tensor | None = None
    """(M, C) of held-out source images."""
    source_labels: Tensor | None = None
    """(M,) classes of the held-out source images."""

    def __post_init__(self) -> None:
        if self.logits.ndim != 2:
            raise ValueError(f"logits: expected a matrix (N, C), found the shape {tuple(self.logits.shape)}")
        images, classes = self.logits.shape
        for name in ("features", "teacher_features"):
            _check_shape(name, getattr(self, name), (images, None))
        for name in ("partner_logits", "mixed_logits"):
            _check_shape(name, getattr(self, name), (images, classes))
        _check_shape("source_logits", self.source_logits, (None, classes))
        held_out = None if self.source_logits is None else len(self.source_logits)
        _check_shape("source_labels", self.source_labels, (held_out,))


@dataclass(frozen=True)
class Validator:
    """One validator. Higher is better, and no score is below the worst."""

    compute: Callable[..., float]
    """The pure function; its arguments have the names of the parts that it reads."""
    reads: tuple[str, ...]
    """The parts of a view that it reads."""
    worst: Callable[[int], float]
    """From the number of classes to the worst score, which is finite, so that JSON and Optuna take it."""

    def score(self, view: TargetView) -> float:
        """Score a model; a degenerate one gets the worst score, whichever part of the view shows it.

        Raises:
            ValueError: the view lacks a part that this validator reads.
        """
        parts = {part: getattr(view, part) for part in self.reads}
        missing = [part for part, rows in parts.items() if rows is None]
        if missing:
            raise ValueError(
                f"{self.compute.__name__}: expected a view with {', '.join(self.reads)}, found none of "
                f"{', '.join(missing)}; add them to the view or choose another validator"
            )
        if is_degenerate(logits=view.logits, features=view.features):
            return self.worst(view.logits.shape[1])
        return self.compute(**parts)


def _always(worst: float) -> Callable[[int], float]:
    return lambda _classes: worst


VALIDATORS: Mapping[str, Validator] = MappingProxyType(
    {
        "class_ami": Validator(class_ami.class_ami, ("logits", "features"), _always(class_ami.WORST)),
        "class_silhouette": Validator(
            class_silhouette.class_silhouette, ("logits", "features"), _always(class_silhouette.WORST)
        ),
        "infomax": Validator(entropy.infomax, ("logits",), _always(entropy.INFOMAX_WORST)),
        "bnm": Validator(bnm.bnm, ("logits",), _always(bnm.WORST)),
        "entropy": Validator(entropy.entropy, ("logits",), entropy.entropy_worst),
        "snd": Validator(snd.snd, ("logits",), _always(snd.WORST)),
        "mixval": Validator(mixval.mixval, ("logits", "partner_logits", "mixed_logits"), _always(mixval.WORST)),
        "atc": Validator(atc.atc, ("logits", "source_logits", "source_labels"), _always(atc.WORST)),
        "teacher_neighbours": Validator(
            teacher_neighbours.teacher_neighbours, ("logits", "teacher_features"), _always(teacher_neighbours.WORST)
        ),
        "diversity": Validator(diversity.diversity, ("features",), _always(diversity.WORST)),
    }
)
"""Every validator, under the name that a configuration chooses it by."""


def _check_shape(name: str, rows: Tensor | None, expected: tuple[int | None, ...]) -> None:
    """Compare a tensor's shape with the expected one, in which None stands for any size.

    Raises:
        ValueError: they differ.
    """
    if rows is None:
        return
    found = tuple(rows.shape)
    if len(found) != len(expected) or any(want not in (None, size) for want, size in zip(expected, found, strict=True)):
        wanted = ", ".join("any" if size is None else str(size) for size in expected)
        raise ValueError(f"{name}: expected the shape ({wanted}), found {found}")
