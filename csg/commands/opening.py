"""From a configuration to the run that it means: what it needs is checked before anything is trained."""

from __future__ import annotations

from typing import Final

from csg.commands.pretrain import make_weights
from csg.commands.remarks import print_remarks, remark_on_warmup
from csg.config import Config
from csg.config.settings import find_places
from csg.data import ON_DISK, load_pair
from csg.data.check import verify
from csg.data.fault import UNREADABLE
from csg.data.pair import SOURCE_TRAIN, Pair
from csg.data.reading.listing import describe_files
from csg.messages.console import Console
from csg.messages.progress import show_image_progress
from csg.messages.wording import is_or_are, pluralize
from csg.methods import find_method_class
from csg.models.handwriting import RECIPES
from csg.models.weights import OWN_WEIGHTS, check_weights
from csg.storage.layout import place_at, reach_addresses
from csg.training.identity import describe_earlier_runs
from csg.training.loop import count_steps_per_epoch
from csg.training.protocol import check_protocol, check_streams
from csg.training.run import Run

NOTHING: Final = "nothing was trained"
"""What Ctrl-C leaves."""


def open_run(config: Config, console: Console, *, writing: bool = True) -> Run:
    """Check the store and the weights, load the data and open the run. Without ``writing``, the run is only read.

    Raises:
        UserError: the weights, the data or the output folder cannot be used.
    """
    place_at(config.train.output).reach("train.output", writing=writing)
    check_starting_weights(config, console)
    pair = open_pair(config, console)
    console.print(f"{config.summary} on {pair.description}")
    run = Run(config, pair)
    if not writing:
        return run
    show_remarks(config, pair, console)
    return run.create()


def check_starting_weights(config: Config, console: Console, *, left: str = NOTHING) -> None:
    """See that the weights that the encoder and the teacher start from can be loaded, and make those of handwriting.

    ``left`` says what is left when Ctrl-C ends it; empty where the command itself says so.

    Raises:
        UserError: see :func:`csg.models.weights.check_weights`.
    """
    make_starting_weights(config, console, left=left)
    old_head = find_method_class(config).uses_old_head(config.method)
    check_weights(config.model, seed=config.train.seed, old_head=old_head)


def make_starting_weights(config: Config, console: Console, *, left: str) -> None:
    """Make those weights of handwriting that a run starts from by its seed and that this machine does not have.

    ``left`` as in :func:`check_starting_weights`.
    """
    for encoder in filter(None, (config.model, config.model.teacher)):
        if encoder.weights in RECIPES and encoder.weights in OWN_WEIGHTS.get(encoder.name, ()):
            make_weights(encoder.weights, config.train.seed, console, left=left)


def open_pair(config: Config, console: Console) -> Pair:
    """Load a pair that can be trained on. Images on disk are all looked at, unless they were before.

    Raises:
        UserError: the data are not there, are at fault, lack what is measured or what the selection protocol looks at,
            or are fewer than a batch.
    """
    reach_addresses(find_places(config.data, "read", "data."))
    pair = load_pair(config.data)
    check_streams(pair)
    check_protocol(config, pair)
    count_steps_per_epoch(config, pair)
    if config.data.name in ON_DISK:
        _verify(config, console)
    return pair


def _verify(config: Config, console: Console) -> None:
    """Look at all images of a pair on disk, and print what is not used."""
    with show_image_progress(console, "checking", "checked", left=NOTHING) as progress:
        report = verify(config.data, progress)
    if report.not_used:
        console.print(f"{describe_files(report.not_used)} not used, as csg data check says: {report.path}")
    skipped = sum(fault.kind in UNREADABLE for fault in report.faults)
    if skipped:
        what = f"{pluralize(skipped, 'image')} cannot be used and {is_or_are(skipped)} skipped"
        console.print(f"{what}: {report.path}")


def show_remarks(config: Config, pair: Pair, console: Console) -> None:
    """Print what does not hinder a training and should be known before it; nothing where all is as expected."""
    print_remarks(
        [
            describe_earlier_runs(config.train.output),
            remark_on_warmup(config, images=len(pair.streams[SOURCE_TRAIN])),
        ],
        console,
    )
