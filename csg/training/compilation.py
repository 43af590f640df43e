"""``train.compile``: the encoders of a step as torch.compile makes them."""

from __future__ import annotations

import importlib.util
import os
import shutil

from csg.messages.errors import UserError
from csg.methods.method import Method
from csg.models.model import Model


def compile_encoders(model: Model, method: Method, device: str) -> None:
    """Have the trained encoder and the frozen ones compiled when they are first called; names of weights stay.

    Sums are rounded in another order than without, as they are on another machine.

    Raises:
        UserError: what torch compiles with is not there.
    """
    if device == "cuda" and importlib.util.find_spec("triton") is None:
        raise UserError("train.compile: expected the package triton, which torch compiles with on a GPU, found none")
    if device == "cpu" and shutil.which(os.environ.get("CXX", "g++")) is None:
        raise UserError("train.compile: expected a C++ compiler (g++, or what CXX names), found none")
    for encoder in (model.encoder, *(frozen.encoder for frozen in method.frozen.values())):
        encoder.compile()
