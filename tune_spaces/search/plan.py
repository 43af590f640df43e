"""What a search is: its flags, checked before anything starts, its name, and its trials."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Final

from analysis.runs.names import ROLE_NAMES
from csg.commands.opening import check_starting_weights, open_pair
from csg.commands.tracked_training import check_store
from csg.config import Config
from csg.config.names import make_folder_name
from csg.config.pairs import BUNDLED
from csg.config.settings import flatten
from csg.data import load_pair
from csg.data.pair import Pair
from csg.messages.console import Console
from csg.messages.errors import UserError
from csg.messages.wording import pluralize
from csg.parsing import Flags, build_config, overlay
from csg.storage.layout import JOURNAL, SEARCHES, place_at
from csg.storage.place import Place
from csg.tasks import find_task
from csg.tracking import TrackedRun, View, get_default_tracking_uri
from csg.tracking.tags import Tag
from csg.training.dry_run import check_trainable
from csg.training.identity import compute_config_id, resolve_settings
from csg.training.loop import count_steps_per_epoch
from csg.training.mean_run import MeanRun, open_trial_run
from csg.training.program import get_program_digest
from csg.training.selection import ASKS, PROTOCOLS, get_score_metric
from tune_spaces.execution.driver import Study
from tune_spaces.execution.recorder import Entry
from tune_spaces.execution.trial import NUMBER, ROLE, configure_trial, get_epochs, get_settings
from tune_spaces.search.journal import Journal
from tune_spaces.search.labels import label_trial
from tune_spaces.search.options import SearchOptions
from tune_spaces.spaces.narrowing import check_space, narrow_space
from tune_spaces.spaces.shipped import find_space
from tune_spaces.spaces.space import Space

REFERENCE: Final[dict[str, Any]] = {"method.name": "source_only", "averaging.name": "none"}
"""What makes a configuration the reference point source only."""


def is_source_only(config: Config) -> bool:
    """Whether a configuration is itself the reference point source only."""
    return (config.method.name, config.averaging.name) == tuple(REFERENCE.values())


@dataclasses.dataclass(frozen=True)
class Search:
    """A search with everything decided."""

    config: Config
    options: SearchOptions
    space: Space
    pair: Pair
    base: Mapping[str, Any]
    """Settings that are not searched."""
    tracking_uri: str
    experiment: str
    fresh_threads: int = 1
    """CPU threads of a run under a fresh seed. Such runs do not wait for each other, as trials do for their sampler, so
    that one thread each and several at a time take the least time."""

    @cached_property
    def name(self) -> str:
        """Names the search: same flags, same data and same program give the same search."""
        what = {
            "base": resolve_settings(self.config) | {"train.seed": self.config.train.seed},
            "space": self.space.describe(),
            "score": self.score_metric,
            "num_samples": self.options.num_samples,
            "data": self.pair.fingerprint,
            "program": get_program_digest(),
        }
        digest = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:8]
        return f"{self.config.data.name}-{self.config.selection.protocol}-seed{self.options.seed}-{digest}"

    @property
    def where(self) -> str:
        """What is searched on, for people."""
        kind = "bundled benchmark" if self.config.data.name in BUNDLED else "data"
        return f"{kind} {self.config.data.name}: {self.pair.description}"

    @property
    def reference(self) -> Mapping[str, Any] | None:
        """What makes a trial source only, at the default's learning rates and epochs; None where that one is it."""
        if is_source_only(self.config):
            return None
        default = self.space.make_point(self.base).items()
        return {n: value for n, value in default if not n.startswith(("method.", "averaging."))} | REFERENCE

    @cached_property
    def default_id(self) -> str:
        """The identity of the default setting, which the sampler may suggest too."""
        return compute_config_id(build_config(overlay(self.base, self.space.make_point(self.base))))

    @cached_property
    def epochs(self) -> int:
        """How many epochs the default setting trains; so do all trials, unless these are searched."""
        return get_epochs(self.space.make_point(self.base), self.config.train.epochs)

    @property
    def confirmed(self) -> int:
        """How many of the best trials are trained again under fresh seeds."""
        asked = self.options.confirm_top
        return int(self.config.data.name in BUNDLED) if asked is None else asked

    @property
    def selects_by(self) -> str:
        """What the search looks at, and what else it could, for people."""
        looked = {
            "nothing": "no real image",
            "images": "the images of target/val without their labels; --protocol source looks at no real image",
            "labels": "the labels of target/val",
        }
        protocol = self.config.selection.protocol
        return f"Selects by {self.score_metric} (protocol {protocol}): looks at {looked[ASKS[protocol]]}."

    @property
    def trainings(self) -> int:
        """How many trainings a trial is."""
        run = open_trial_run(self.config, self.pair)
        return len(run.parts) if isinstance(run, MeanRun) else 1

    @property
    def cost(self) -> str:
        """How many trainings the search takes, for people; empty where a trial is one."""
        run = open_trial_run(self.config, self.pair)
        if not isinstance(run, MeanRun):
            return ""
        parts, trials = len(run.parts), self.options.num_samples
        steps = sum(count_steps_per_epoch(part.config, part.pair) for part in run.parts.values())
        whole = steps / count_steps_per_epoch(self.config, self.pair)
        said = (
            f"A trial is {parts} trainings, each without one source ({', '.join(run.parts)}), in all {whole:.1f} times "
            f"the steps of one on all sources: at most {parts * trials} for {trials} trials"
        )
        if self.confirmed:
            cells, seeds = self.confirmed + 2, self.options.seeds
            said += (
                f", and at most {cells * seeds * (parts + 1)} to confirm {cells} configurations under "
                f"{pluralize(seeds, 'seed')} ({parts} and one on all sources)"
            )
        return f"{said}. What is on record is not trained again."

    @property
    def above(self) -> Place:
        """Folder of the experiment's searches."""
        return place_at(self.config.train.output) / SEARCHES / make_folder_name(self.experiment)

    @property
    def folder(self) -> Place:
        """Where the search keeps its journal and its figures."""
        return self.above / self.name

    @property
    def journal(self) -> Journal:
        """What has happened in the search."""
        return Journal(self.folder / JOURNAL)

    @property
    def best(self) -> Place:
        """File of the settings of the best trial, once one has finished."""
        return self.folder / "best.yaml"

    @property
    def score_metric(self) -> str:
        """The metric that the protocol selects by."""
        return get_score_metric(self.config)

    @property
    def study(self) -> Study:
        """What the driver needs to know."""
        options = self.options
        known = {name: value for name, value in self.base.items() if value is not None}
        other_data = any(name.startswith("data.") and name != "data.augmentation" for name in self.space.names)
        numbers = [] if other_data else range(options.num_samples)
        return Study(
            kind="search",
            key=self.name,
            folder=self.folder,
            config=self.config,
            tracking_uri=self.tracking_uri,
            experiment=self.experiment,
            params={"num_samples": options.num_samples, "sampler_seed": options.seed} | known,
            tags={
                Tag.SCORE: self.score_metric,
                Tag.SPACE: json.dumps(self.space.names),
                Tag.LOGARITHMIC: json.dumps(self.space.logarithmic),
            },
            description=f"Search over {', '.join(self.space.names)} on {self.where}",
            base=self.base,
            fingerprints=dict.fromkeys(numbers, open_trial_run(self.config, self.pair).pair.fingerprint),
            find_entry=self.find_entry,
        )

    def label(self, trial_config: Mapping[str, Any]) -> str:
        """Name a trial for people, by its Tune configuration."""
        settings = get_settings(trial_config)
        named = {name: settings[name] for name in self.space.names if name in settings}
        role = ROLE_NAMES.get(trial_config[ROLE])
        return role or label_trial(configure_trial(self.base, trial_config), named)

    def make_view(self, parent: str, trials: Sequence[TrackedRun]) -> View:
        """Say what MLflow's page of the trials shows."""
        searched = [run for run in trials if run.tags.get(Tag.ROLE) != "source_only"]
        return View(
            parent=parent,
            settings=self.space.names,
            score=self.score_metric,
            real=find_task(self.config.data).real_headline,
            axes=[name for name in self.space.names if all(name in run.params for run in searched)],
        )

    def find_entry(self, trial_config: Mapping[str, Any]) -> Entry:
        """Find a trial's run by the trial's Tune configuration."""
        config = configure_trial(self.base, trial_config)
        number, role = trial_config[NUMBER], trial_config[ROLE]
        run = open_trial_run(config, load_pair(config.data))
        tags = {Tag.TRIAL: str(number), Tag.ROLE: role}
        if isinstance(run, MeanRun):
            tags[Tag.WITHOUT] = json.dumps({name: part.identity.name for name, part in run.parts.items()})
        return Entry(run, name=f"{number:03d} {self.label(trial_config)}", tags=tags)


def choose_protocol(flags: Flags[SearchOptions]) -> str:
    """Return what a search may look at: as a flag or ``--config`` says, or else real images, but not their labels.

    Raises:
        UserError: it would look at the images that are reported.
    """
    config = flags.config
    stated = "selection.protocol" in flags.stated or config.data.trained_on == "target"
    usual = "unlabelled" if config.data.names_target else "source"
    protocol = flags.options.protocol or (config.selection.protocol if stated else usual)
    if protocol not in PROTOCOLS:
        raise UserError(
            f"selection.protocol: expected one of {', '.join(PROTOCOLS)} in a search, found {protocol!r}, which "
            "selects on the reported images and would hand them to the search; choose one with --protocol"
        )
    return protocol


def plan_search(flags: Flags[SearchOptions], console: Console, *, starts: bool = True) -> Search:
    """Check everything that can be checked before anything is started.

    Args:
        flags: of the search.
        console: where to print.
        starts: whether the search is about to start; otherwise no store is asked and no starting weights are made.

    Raises:
        UserError: says which flag, what was expected and what was found.
    """
    options = flags.options
    config = build_config(flatten(flags.config) | {"selection.protocol": choose_protocol(flags)})
    if options.time_budget < 0:
        raise UserError(f"--time-budget: expected minutes, at least 0, found {options.time_budget}")
    declared = find_space(options.space, method=config.method.name, data=config.data, averaging=config.averaging.name)
    space = narrow_space(declared, config, flags.given, flags.stated)
    if not space.names:
        raise UserError("--space: every parameter of the space is set by a flag; nothing is left to search")
    base = {name: value for name, value in flatten(config).items() if name not in space.names}
    pinned_stage = [name for name, value in base.items() if re.match(r"method\.stage\d", name) and value is not None]
    if pinned_stage and "method.stages" in space.names:
        raise UserError(f"--{pinned_stage[0]}: stages are searched; set --method.stages too, or leave this unset")
    check_space(space, base, config)
    place_at(config.train.output).reach("train.output", writing=True)
    if starts:
        check_store(config, uri=options.tracking_uri, experiment=options.experiment, needed_by="a search")
        check_starting_weights(config, console)
    pair = open_pair(config, console)
    run = open_trial_run(config, pair)
    for each in run.parts.values() if isinstance(run, MeanRun) else [run]:
        check_trainable(each)
    return Search(
        config=config,
        options=options,
        space=space,
        pair=pair,
        base=base,
        tracking_uri=options.tracking_uri or get_default_tracking_uri(config.train.output),
        experiment=options.experiment or config.data.name,
        fresh_threads=config.train.threads if "train.threads" in flags.stated else 1,
    )
