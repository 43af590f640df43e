"""The weights of a finished run (``selected.pt``), with what it takes to use them without its data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from csg.config import Config
from csg.config.external import FROM_OUTSIDE, depends_on_folder
from csg.config.settings import Flat, flatten
from csg.data.pair import Pair
from csg.messages.errors import UserError
from csg.messages.text import get_first_line
from csg.messages.wording import name_first
from csg.models.architecture import make_architecture
from csg.models.model import Model
from csg.models.weights import check_numbers
from csg.parsing import build_config
from csg.storage.place import Place
from csg.training.checkpoint import load_state, save_state
from csg.training.step import make_model, place

HELD: Final = {"model": dict, "config": dict, "classes": list, "flip_averaging": bool}
"""What the file holds, by name."""


@dataclass(frozen=True)
class Selected:
    """What ``selected.pt`` holds."""

    place: Place
    state: dict[str, Tensor]
    """The model's state dict."""
    config: Config
    """Of the run."""
    classes: tuple[str, ...]
    """Names, in the order of the model's outputs."""
    flip_averaging: bool
    """Whether an image and its mirror image show the same class: the run's :class:`~csg.data.pair.Pair` says so."""
    encoder: str = ""
    """What the encoder can be made of without its files: its :attr:`~csg.models.encoder.Encoder.architecture`."""

    def build_model(self, config: Config | None = None) -> Model:
        """Build the architecture, without its starting weights, and load the state.

        Args:
            config: says where to compute, if not where the run did: as :meth:`configure_for` returns it.

        Raises:
            UserError: the state is not of this architecture or not finite, or the run's method cannot be found.
        """
        config = config or self.config
        encoder = make_architecture(config.model, remembered=self.encoder)
        untrained = make_model(config, encoder, classes=len(self.classes))
        model = place(untrained, config)  # before the weights come, which may be of twice the precision
        try:
            model.load_state_dict(self.state)
        except RuntimeError as error:
            first_fault = str(error).strip().partition("\n")[2] or str(error)  # below torch's heading
            raise UserError(
                f"{self.place}: expected the weights of a {config.model.name} with {len(self.classes)} classes, "
                f"as {config.method.name} builds it; {get_first_line(first_fault).rstrip('.')}; was it trained by "
                "another version of csg?"
            ) from None
        check_numbers(model, f"{self.place}")
        return model

    def configure_for(self, device: str | None) -> Config:
        """Return the run's configuration with another device; None keeps the run's where it is there, else the CPU.

        Raises:
            UserError: "cuda" where there is none.
        """
        available = torch.cuda.is_available()
        if device == "cuda" and not available:
            raise UserError("--device: expected a CUDA device, found none; use --device cpu")
        chosen = device or (self.config.train.device if available else "cpu")
        return build_config(flatten(self.config) | {"train.device": chosen})


def save_selected(place: Place, model: Model, config: Config, pair: Pair) -> None:
    """Write a model's weights and what :func:`load_selected` returns beside them."""
    about: Flat = {
        "config": flatten(config),
        "classes": list(pair.classes),
        "flip_averaging": pair.flip_averaging,
        "encoder": model.encoder.architecture,
    }
    save_state(place, {"model": model.state_dict(), **about})


def load_selected(place: Place) -> Selected:
    """Read the selected weights of a finished run, onto the CPU.

    A run whose method or encoder is from outside the package names its file (``method.path``, ``model.path``), which is
    imported: from where it was when the run was trained, not from beside the weights.

    Raises:
        UserError: the file is missing, is something else (the training state of a run under way, say), or its settings
            are not those of this version.
    """
    state = load_state(place)
    if "optimiser" in state:
        raise UserError(
            f"{place}: expected the selected weights of a finished run (selected.pt), found the training state of one "
            "under way; let it finish (csg train with the same flags), which leaves selected.pt in the same folder"
        )
    if not all(isinstance(state.get(name), kind) for name, kind in HELD.items()):
        raise UserError(
            f"{place}: expected the selected weights of a finished run (selected.pt), found a file that holds "
            f"{name_first(map(str, state)) or 'nothing'}"
        )
    for name in FROM_OUTSIDE:
        code = state["config"].get(name)
        if isinstance(code, str) and depends_on_folder(code):
            raise UserError(f"{place}: expected an absolute path as {name}, found {code!r}, which is not imported")
    try:
        config = build_config(state["config"])
    except UserError as error:
        raise UserError(f"{place}: its settings cannot be used here: {error}") from None
    classes, flip_averaging = tuple(state["classes"]), state["flip_averaging"]
    return Selected(place, state["model"], config, classes, flip_averaging, state.get("encoder", ""))
