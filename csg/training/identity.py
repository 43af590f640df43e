"""What makes a run the run it is: what its configuration computes, its seed, its data and the program."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from csg.config import SECTIONS, Config
from csg.config.external import FROM_OUTSIDE
from csg.config.settings import Flat, NotIdentity, Section, find_marks, find_places
from csg.data.pair import Pair
from csg.data.reading.cache import get_cache_folder
from csg.data.reading.image_files import ImageFiles
from csg.data.reading.listing import list_image_files
from csg.messages.errors import UserError
from csg.messages.faults import is_machine_fault
from csg.messages.wording import is_or_are, pluralize
from csg.methods import find_method_class
from csg.models.handwriting import RECIPES, compute_identity
from csg.models.own_encoder import find_own_class
from csg.models.weights_folder import digest_folder, find_folder
from csg.storage.address import is_address
from csg.storage.files import digest_file
from csg.storage.layout import TRAINED, place_at
from csg.storage.place import Place
from csg.training.program import get_program_digest

KNOWN = {"csg", "torch", *sys.stdlib_module_names}
"""Packages whose classes a method from outside may inherit from without their files being part of its identity."""

_RUN_NAME: Final = re.compile(r"[0-9a-f]{10}-seed\d+-[0-9a-f]{8}-(?P<program>[0-9a-f]{10})")
"""What :attr:`Identity.name` gives."""


def resolve_settings(config: Config) -> Flat:
    """Return the settings that say what is computed: defaults resolved, inactive ones gone, files by content.

    A method or an encoder from outside the package enters with the content of the files that define it, a method's
    settings and the classes that these inherit from.

    The selection protocol and its validator enter only with ``selection.epoch=best``, where they decide which weights
    are measured.

    Raises:
        UserError: a file or a folder that a setting names cannot be read.
        OSError: the machine cannot read it; see :mod:`csg.messages.faults`.
    """
    flat: Flat = {}
    for section in SECTIONS:
        part: Section = getattr(config, section)
        other = find_marks(part, NotIdentity)
        flat |= {f"{section}.{name}": value for name, value in part.get_active().items() if name not in other}
    del flat["train.seed"]  # an axis of its own
    for name in FROM_OUTSIDE:
        del flat[name]
    if config.data.task == "classification":
        del flat["model.aspp_rates"]
    flat |= _digest_sources("method.source", find_method_class(config), type(config.method))
    for name, place in (("model.source", config.model.path), ("model.teacher_source", config.model.teacher_path)):
        if place is not None:
            flat |= _digest_sources(name, find_own_class(place, name.replace("source", "path")))
    if config.selection.epoch == "best":
        flat["selection.protocol"] = config.selection.protocol
        if config.selection.protocol == "unlabelled":
            flat["selection.validator"] = config.selection.validator
    made = (name for name in ("model.weights", "model.teacher_weights") if flat.get(name) in RECIPES)
    flat |= {name: f"{flat[name]} {_identify_handwriting()}" for name in made}
    flat |= {
        name: f"sha256:{_digest_place(name, path, config)}"
        for name, path in find_places(config).items()
        if name in flat
    }
    return flat


def _digest_place(name: str, path: str, config: Config) -> str:
    """Digest a file or a folder that a setting names."""
    try:
        if name in ("model.weights", "model.teacher_weights"):
            return digest_file(path) if Path(path).is_file() else digest_folder(find_folder(path, name))
        return _digest_folder(path, get_cache_folder(config.data)) if Path(path).is_dir() else digest_file(path)
    except OSError as error:
        if is_machine_fault(error):
            raise
        raise UserError(f"{name}: cannot read {error.filename} ({error.strerror})") from error


def _digest_sources(name: str, *classes: type[Any]) -> Flat:
    """Digest the files from outside that define classes and those that these inherit from; nothing without any."""
    modules = {cls.__module__ for of in classes for cls in of.__mro__ if cls.__module__.partition(".")[0] not in KNOWN}
    digests = sorted(_digest_source(module) for module in modules)
    return {name: "sha256:" + "+".join(digests)} if digests else {}


@lru_cache(maxsize=1)
def _identify_handwriting() -> str:
    """Return what identifies the weights that are made on this machine, as it was when it was first asked for."""
    return compute_identity()


@lru_cache(maxsize=64)
def _digest_folder(folder: str, cache: Path) -> str:
    """Digest the paths and contents of the images below a folder, as a data fingerprint does; a process asks once."""
    listed = {str(path.relative_to(folder)): 0 for path in list_image_files(folder)}
    return ImageFiles.of(folder, listed, cache=cache).fingerprint


@lru_cache(maxsize=64)
def _digest_source(module: str) -> str:
    """Digest a module's file as it was when it was first asked for: what was imported, not what it was edited to."""
    return digest_file(str(sys.modules[module].__file__))


def compute_config_id(config: Config) -> str:
    """Ten hexadecimal digits that name what is computed, whatever the seed, the machine or the paths."""
    text = json.dumps(resolve_settings(config), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


@dataclass(frozen=True)
class Identity:
    """What makes a run the run it is."""

    config_id: str
    seed: int
    data_fingerprint: str
    source_digest: str

    @classmethod
    def of(cls, config: Config, pair: Pair) -> Identity:
        """Return the identity of ``config`` on ``pair`` under this version of the package."""
        return cls(compute_config_id(config), config.train.seed, pair.fingerprint, get_program_digest())

    @property
    def name(self) -> str:
        """A file name."""
        return f"{self.config_id}-seed{self.seed}-{self.data_fingerprint[:8]}-{self.source_digest}"


@dataclass(frozen=True)
class RunFolder:
    """The folder of a run, known by its name."""

    output: str
    """The ``train.output`` that it lies below."""
    name: str
    """Of the run's identity."""


def find_run_folder(file: Place) -> RunFolder | None:
    """Return the folder of the run that a file lies in; None where it lies elsewhere."""
    parts = str(file if is_address(str(file)) else file.local.absolute()).rsplit("/", 3)
    if len(parts) < 4 or parts[1] != TRAINED or _RUN_NAME.fullmatch(parts[2]) is None:
        return None
    return RunFolder(output=parts[0], name=parts[2])


def describe_earlier_runs(output: str) -> str:
    """Say how many runs below ``output`` another version of the program has trained; empty where none has.

    The names of the runs' folders tell: no record is read.
    """
    found = map(_RUN_NAME.fullmatch, (place_at(output) / TRAINED).list_names())
    programs = Counter(name["program"] for name in found if name is not None)
    del programs[get_program_digest()]
    if not programs:
        return ""
    runs = programs.total()
    digests = f"digest {next(iter(programs))}" if len(programs) == 1 else f"{len(programs)} digests"
    return (
        f"{pluralize(runs, 'run')} below {output} {is_or_are(runs)} from an earlier program ({digests}; now "
        f"{get_program_digest()}): kept, and not reused."
    )
