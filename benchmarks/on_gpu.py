"""What a step costs on a card: ``python -m benchmarks.on_gpu``. With ``--small`` it also runs on a CPU, in seconds.

Four tables in Markdown, in at most ``--minutes``; what there was no time for is named, not guessed.

    steps       a CSG step beside a source-only step and its floor (source only + two inference passes), and peak memory
    DeepLab     peak memory of a step at 512x512, batch 6, 64 patches an image
    data        the share of a step that waits for images, by processes that decode them
    sharing     two trials on one card at a time, against one alone

Times are medians of ``--steps`` steps after two that do not count; a compiled network is compiled in those.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.card import FULL, SMALL, WARM_UP, Bench, Flat, Sizes, describe_machine
from benchmarks.input_pipeline import write_tree
from benchmarks.peak_memory import make_random_maps
from benchmarks.step_time import make_random_pair
from csg.data import load_pair
from csg.data.pair import Pair
from csg.data.pairs import visda17
from csg.messages.errors import UserError
from csg.models.folding import FoldedEncoder
from csg.tasks.measurement import to_input
from csg.training.loop import Training, fit
from csg.training.step import place

SHARE_OF_STEPS = 0.6
"""Of the time, for the first table."""


def list_cells(sizes: Sizes) -> Iterator[Flat]:
    """List what steps are timed of, what matters most first."""
    for encoder, batch, precision in itertools.product((sizes.cnn, "dinov2"), sizes.batches, sizes.precisions):
        yield {"encoder": encoder, "batch": batch, "precision": precision, "compile": False, "channels_last": True}
    for encoder, precision in itertools.product((sizes.cnn, "dinov2"), sizes.precisions):
        cell = {"encoder": encoder, "batch": sizes.batches[0], "precision": precision}
        yield cell | {"compile": False, "channels_last": False}
        if sizes.compiles:
            yield cell | {"compile": True, "channels_last": True}


def print_steps(bench: Bench, transformer: Path | None) -> None:
    """Time steps, and read their peak memory."""
    print("| encoder | batch | precision | compiled | channels_last | CSG ms | source only ms | of floor | GB |")
    print("|---|---:|---|---|---|---:|---:|---:|---:|")
    for cell in list_cells(bench.sizes):
        named = " | ".join(str(value) for value in cell.values())
        if bench.is_over:
            print(f"| {named} | no time left | | | |")
        elif cell["encoder"] == "dinov2" and transformer is None:
            print(f"| {named} | transformers is not installed | | | |")
        else:
            print(f"| {named} | {measure_cell(bench, cell, transformer)} |", flush=True)


def measure_cell(bench: Bench, cell: Flat, transformer: Path | None) -> str:
    """Return the figures of one row."""
    torch.compiler.reset()
    is_own = cell["encoder"] != "dinov2"
    shared = {
        "model.name": cell["encoder"] if is_own else "transformers",
        "model.weights": "none" if is_own else str(transformer),
        "data.source_images": max(10, cell["batch"]),
        "train.batch_size": cell["batch"],
        "train.precision": cell["precision"],
        "train.compile": cell["compile"],
        "train.channels_last": cell["channels_last"],
    }
    pair = make_random_pair(cell["batch"], bench.sizes.side)
    try:
        plain = time_training(bench, shared | {"method.name": "source_only"}, pair)
        inference = 2 * time_inference(bench, shared | {"method.name": "source_only"}, pair)
        bench.read_peak()
        csg = time_training(bench, shared | {"method.queue_size": bench.sizes.queue}, pair)
    except (UserError, RuntimeError) as error:  # out of memory, or nothing to compile with
        return f"{type(error).__name__}: {str(error).splitlines()[0][:60]} | | |"
    return f"{1e3 * csg:.1f} | {1e3 * plain:.1f} | {csg / (plain + inference):.2f} | {bench.read_peak()}"


def time_training(bench: Bench, settings: Mapping[str, Any], pair: Pair) -> float:
    """Return the median seconds of a step whose images are on the device."""
    training = Training(bench.configure(settings), pair)
    batch = next(training.load_batches())
    return bench.time_calls(lambda: training.learner.step(batch, 1.0))


@torch.no_grad()
def time_inference(bench: Bench, settings: Mapping[str, Any], pair: Pair) -> float:
    """Return the median seconds of an inference pass, in the step's precision."""
    config = bench.configure(settings)
    learner = Training(config, pair).learner
    folded = place(FoldedEncoder(learner.model.encoder), config)
    if config.train.compile:
        folded.encoder.compile()
    views = pair.streams["source/train"].read(torch.arange(config.train.batch_size)).views[0]
    images = to_input(learner.model, config, views)

    def infer() -> None:
        with torch.autocast(bench.device, torch.bfloat16, enabled=config.train.precision == "bfloat16"):
            folded(images)

    return bench.time_calls(infer)


def print_scenes(bench: Bench) -> None:
    """Read the peak memory of DeepLab's step."""
    sizes = bench.sizes
    print("\n| DeepLab | precision | step ms | GB |\n|---|---|---:|---:|")
    pair = make_random_maps(sizes.scene_batch, sizes.scene_side)
    for method, precision in itertools.product(("source_only", "csg"), sizes.precisions):
        named = f"{sizes.cnn}, {sizes.scene_side} px, batch {sizes.scene_batch}, {method} | {precision}"
        if bench.is_over:
            print(f"| {named} | no time left | |")
            continue
        settings = {
            "data.name": "gta5_cityscapes",
            "data.image_size": sizes.scene_side,
            "model.name": sizes.cnn,
            "model.weights": "none",
            "train.batch_size": sizes.scene_batch,
            "train.precision": precision,
            "method.name": method,
            **({"method.chunks": sizes.chunks, "method.queue_size": sizes.queue} if method == "csg" else {}),
        }
        bench.read_peak()
        seconds = time_training(bench, settings, pair)
        print(f"| {named} | {1e3 * seconds:.1f} | {bench.read_peak()} |", flush=True)


def print_waiting(bench: Bench) -> None:
    """Measure the share of training that waits for images on disk, by processes that decode them."""
    sizes = bench.sizes
    print("\n| processes that decode | images/s | share of waiting |\n|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        write_tree(Path(folder), sizes.per_class)
        multiply_names(Path(folder) / "train", sizes.copies)
        for loaders in sizes.loaders:
            if bench.is_over:
                print(f"| {loaders} | no time left | |")
                continue
            config = bench.configure(
                {
                    "data.name": "visda17",
                    "data.root": folder,
                    "data.cache": None,
                    "method.queue_size": sizes.queue,
                    "data.workers": loaders,
                    "model.name": sizes.cnn,
                    "model.weights": "none",
                    "train.batch_size": sizes.batches[0],
                    "train.precision": "bfloat16",
                }
            )
            waited, whole, images = measure_waiting(bench, Training(config, load_pair(config.data)))
            print(f"| {loaders} | {images / whole:.0f} | {waited / whole:.2f} |", flush=True)


def multiply_names(folder: Path, copies: int) -> None:
    """Give each image of a list so many names."""
    lines = []
    for line in (folder / visda17.LIST).read_text().splitlines():
        name, label = line.split()
        for number in range(copies):
            again = Path(name).with_stem(f"{Path(name).stem}_{number}")
            os.link(folder / name, folder / again)
            lines.append(f"{again} {label}\n")
    (folder / visda17.LIST).write_text("".join(lines))


def measure_waiting(bench: Bench, training: Training) -> tuple[float, float, int]:
    """Return the seconds of waiting, those in all, and the images of an epoch after its first batch."""
    waited = whole = 0.0
    images = 0
    before = time.perf_counter()
    for number, batch in enumerate(training.load_batches()):
        arrived = time.perf_counter()
        training.learner.step(batch, 1.0)
        if bench.device == "cuda":
            torch.cuda.synchronize()
        done = time.perf_counter()
        if number or training.steps_per_epoch == 1:  # the first waits for the processes to start
            waited, whole, images = waited + arrived - before, whole + done - before, images + len(batch.query)
        before = done
    return waited, whole, images


def print_sharing(bench: Bench, arguments: Sequence[str]) -> None:
    """Time a trial alone, and two at a time."""
    print("\n| trials at a time | steps/s of each | steps/s in all |\n|---:|---:|---:|")
    command = [sys.executable, "-m", "benchmarks.on_gpu", *arguments, "--trial"]
    for count in bench.sizes.trials:
        if bench.is_over:
            print(f"| {count} | no time left | |")
            continue
        processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(count)]
        rates = [float(process.communicate()[0]) for process in processes]
        print(f"| {count} | {statistics.mean(rates):.2f} | {sum(rates):.2f} |", flush=True)


def run_trial(bench: Bench) -> float:
    """Return the steps a second of a training of noise through the production loop."""
    sizes = bench.sizes
    config = bench.configure(
        {
            "model.name": sizes.cnn,
            "model.weights": "none",
            "data.source_images": max(10, sizes.batches[0]),
            "train.batch_size": sizes.batches[0],
            "train.precision": "bfloat16",
            "train.epochs": WARM_UP + bench.steps,
            "method.queue_size": sizes.queue,
        }
    )
    reports = list(fit(Training(config, make_random_pair(sizes.batches[0], sizes.side))))[WARM_UP:]
    return 1 / statistics.median(report.metrics["train/seconds"] for report in reports)


def save_transformer(folder: Path, sizes: Sizes) -> Path | None:
    """Write an untrained DINOv2 of base size, or smaller; None without transformers."""
    try:
        from transformers import Dinov2Config, Dinov2Model
    except ImportError:
        return None
    Dinov2Model(Dinov2Config(**(sizes.transformer or {"image_size": 518, "patch_size": 14}))).save_pretrained(folder)
    return folder


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--small", action="store_true", help="tiny networks, for a look at the script itself")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--trial", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    began, seconds = time.monotonic(), 60 * arguments.minutes
    bench = Bench(arguments.device, SMALL if arguments.small else FULL, arguments.steps, began + seconds)
    if arguments.trial:
        print(run_trial(bench))
        return
    print(f"{describe_machine(arguments.device)}; median of {arguments.steps} steps\n")
    with tempfile.TemporaryDirectory() as folder:
        shorter = dataclasses.replace(bench, ends=began + SHARE_OF_STEPS * seconds)
        print_steps(shorter, save_transformer(Path(folder), bench.sizes))
    print_scenes(bench)
    print_waiting(bench)
    print_sharing(bench, sys.argv[1:])


if __name__ == "__main__":
    main()
