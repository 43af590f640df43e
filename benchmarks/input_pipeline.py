"""The speed and memory of the way from images on disk to a training step: ``python -m benchmarks.input_pipeline``.

A temporary folder gets a VisDA-17 tree of PNG renders and JPEG photographs of 640x480 pixels. The output is

    memory            of the worker processes under the published list's 152,397 lines, epoch by epoch
    decoding          images a second of CPU time: file -> square, by format
    one view          images a second of CPU time: PNG file -> a crop, augmented; and two views of each file; and the
                      same where the resized images are kept (data.resized_gigabytes)
    pipeline          images/s that arrive in the training process, by worker processes
    step              images/s of a ResNet-50 step whose views are in memory, decoded and augmented
    ratio             pipeline / step: below 1, the step waits for images

The step of source only gets one view, that of CSG two. Pipeline and step are timed one after the other. If both need
the same CPU cores, the real ratio is smaller. One process is timed by its CPU time, and everything else by the fastest
round, so that other load on the machine matters less. All files are in memory (the page cache), since they were written
a moment ago: no time is spent on a disk.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from csg.config import Config
from csg.data import load_pair
from csg.data.pair import SOURCE_TRAIN, Stream
from csg.data.pairs import visda17
from csg.data.reading.decoding import decode
from csg.data.reading.image_files import FileStream, ImageFiles
from csg.data.reading.loading import map_in_order
from csg.data.views.augmentation import Views, draw_views
from csg.messages.wording import pluralize
from csg.methods import find_method_class
from csg.methods.method import Batch
from csg.parsing import build_config
from csg.randomness import make_generator
from csg.tasks.measurement import to_input
from csg.training.step import make_learner

SIZE = (640, 480)
LINES = 152_397
"""The number of lines of VisDA-17's ``train/image_list.txt``."""


def draw_picture(number: int, *, render: bool) -> Image.Image:
    """Draw a smooth shape. A render has a plain background, a photograph has noise everywhere."""
    rng = make_generator(0, "picture", number)
    coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
    pixels = np.asarray(coarse.resize(SIZE, Image.Resampling.BICUBIC)).astype(np.int16)
    pixels = pixels + rng.integers(-6, 7, pixels.shape, dtype=np.int16)
    if render:
        pixels[:, :140], pixels[:, -140:], pixels[:80], pixels[-80:] = 200, 200, 200, 200
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def write_tree(root: Path, per_class: int) -> None:
    """Write ``train/`` (PNG) and ``validation/`` (JPEG, quality 90) with their lists."""
    for folder, suffix in (("train", "png"), ("validation", "jpg")):
        lines = []
        for label, name in enumerate(visda17.CLASSES):
            (root / folder / name).mkdir(parents=True)
            for number in range(per_class):
                relative = f"{name}/{number:06d}.{suffix}"
                image = draw_picture(label * per_class + number, render=suffix == "png")
                image.save(root / folder / relative, quality=90)
                lines.append(f"{relative} {label}\n")
        (root / folder / visda17.LIST).write_text("".join(lines))


def measure_rate(images: int, work: Callable[[], object], rounds: int) -> float:
    """Return images per second of CPU time: the median of ``rounds`` rounds, after one that does not count."""
    times = []
    for _ in range(rounds + 1):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return images / statistics.median(times[1:])


def make_views(stream: Stream, config: Config, *, two_views: bool) -> Callable[[int], Views]:
    """Return the function that makes a batch of augmented views, one or two of each image."""
    size = config.train.batch_size

    def draw_batch(step: int) -> Views:
        indices = torch.arange(step * size, (step + 1) * size) % len(stream)
        return draw_views(stream, indices, config=config.data, seed=0, epoch=0, two_views=two_views)

    return draw_batch


def print_decoding(root: Path, side: int, rounds: int) -> None:
    """Measure decoding alone."""
    torch.set_num_threads(1)
    for folder, suffix in (("train", "png"), ("validation", "jpg")):
        files = sorted((root / folder).rglob(f"*.{suffix}"))[:48]
        kilobytes = sum(path.stat().st_size for path in files) / len(files) / 1000
        speed = measure_rate(len(files), partial(decode_all, files, side), rounds)
        print(
            f"decoding, {suffix.upper()} of {SIZE[0]}x{SIZE[1]}, {kilobytes:.0f} kB, read from memory (page cache): "
            f"{speed:.0f} images a second of CPU time"
        )


def print_ratios(configs: list[Config], *, workers: list[int], rounds: int, batches: int) -> None:
    """Measure for each method how fast views are made, how fast they arrive, and how fast a step takes them."""
    for config in configs:
        torch.set_num_threads(1)
        size, stream = config.train.batch_size, load_pair(config.data).streams[SOURCE_TRAIN]
        two_views = find_method_class(config).two_views
        what = "two views" if two_views else "one view"
        views = make_views(stream, config, two_views=two_views)
        alone = measure_rate(4 * size, partial(make_all, views, 4), rounds)
        kept = make_views(keep_resized(config), config, two_views=two_views)
        again = measure_rate(4 * size, partial(make_all, kept, 4), rounds)
        print(
            f"{what}, files read from memory (page cache): {alone:.0f} images a second of CPU time, {again:.0f} where "
            "resized images are kept"
        )
        speeds = {
            count: max(measure_arrivals(views, batches, count) * size for _ in range(rounds)) for count in workers
        }
        for count, speed in speeds.items():
            print(f"pipeline, {what}, {pluralize(count, 'worker')}: {speed:.0f} images/s")
        wanted = measure_step(config, views(0), rounds)
        ratios = ", ".join(f"{speed / wanted:.1f} ({pluralize(count, 'worker')})" for count, speed in speeds.items())
        print(
            f"step, {config.method.name}, {what}, batch {size}, {config.train.device}: {wanted:.1f} images/s; "
            f"ratio {ratios}"
        )


def keep_resized(config: Config) -> Stream:
    """Return the training images, which are kept once they are resized; their files are known by content."""
    stream = load_pair(dataclasses.replace(config.data, resized_gigabytes=1)).streams[SOURCE_TRAIN]
    assert stream.fingerprint
    return stream


def measure_step(config: Config, views: Views, rounds: int) -> float:
    """Return images per second of training steps on views in memory: the fastest of ``rounds`` steps."""
    torch.set_num_threads(config.train.threads)
    learner = make_learner(config, classes=len(visda17.CLASSES))
    labels = views.labels.to(config.train.device)
    times = []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        query = to_input(learner.model, config, views.query)
        key = query if views.key is None else to_input(learner.model, config, views.key)
        learner.step(Batch(query, key, labels, views.indices, 0, torch.zeros_like(views.indices), 1), 1.0)
        if config.train.device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return len(labels) / min(times[1:])


def make_all(views: Callable[[int], Views], batches: int) -> None:
    """Make batches one after the other."""
    for step in range(batches):
        views(step)


def decode_all(files: list[Path], side: int) -> None:
    """Decode files one after the other."""
    for path in files:
        decode(path, side)


def measure_arrivals(views: Callable[[int], Views], batches: int, workers: int) -> float:
    """Return batches per second, without the first batch, which waits for the processes to start."""
    times = [time.perf_counter() for _ in map_in_order(views, range(batches), workers=workers)]
    return (batches - 1) / (times[-1] - times[0])


@dataclass(frozen=True)
class Memory:
    """The memory of a process, in MB."""

    process: int
    proportional: float
    """Proportional set size: shared pages divided among the processes that share them."""
    own: float
    """Unique set size: pages of this process alone."""


def read_memory() -> Memory:
    """Read this process's memory from the kernel."""
    lines = (line.split() for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:])
    kilobytes = {line[0]: int(line[1]) for line in lines}
    own = kilobytes["Private_Clean:"] + kilobytes["Private_Dirty:"]
    return Memory(os.getpid(), kilobytes["Pss:"] / 1000, own / 1000)


def print_memory(root: Path, *, workers: int, epochs: int, side: int) -> None:
    """Read every name of the list and some images in each epoch, and print the memory of the processes."""
    originals = sorted((root / "train").rglob("*.png"))
    many = root / "many"
    labels = {f"{label % 12:02d}/src_1_{label:06d}__0_38_-166_-165_155.png": label % 12 for label in range(LINES)}
    for label in range(12):
        (many / f"{label:02d}").mkdir(parents=True)
    for place, name in enumerate(labels):
        os.link(originals[place % len(originals)], many / name)
    lines = "".join(f"{name} {label}\n" for name, label in labels.items())
    began = time.perf_counter()
    listing = visda17.parse_list(lines.encode(), "list")
    files = ImageFiles.of(str(many), listing.labels)
    listed = time.perf_counter() - began
    stream = FileStream(files, side)
    fingerprint = stream.fingerprint
    both = time.perf_counter() - began
    print(f"listing {len(files):,} lines: {listed:.1f} s, with its fingerprint {fingerprint[:8]} {both:.1f} s")
    held = files.names.nbytes + files.ends.nbytes + files.stamps.nbytes + files.digests.nbytes + files.labels.nbytes
    print(f"  held in {held / 1e6:.1f} MB, shared by all processes")

    def read(step: int) -> Memory:
        for index in range(len(files)):
            files.name(index)
        stream.read_crops(torch.arange(32) + 1000 * step, seed=0, epoch=0, views=2)
        return read_memory()

    for epoch in range(epochs):
        seen: dict[int, list[Memory]] = {}
        for figures in map_in_order(read, range(12), workers=workers):
            seen.setdefault(figures.process, []).append(figures)
        parent = read_memory()
        parts = [
            f"worker own {held[0].own:.0f} -> {held[-1].own:.0f} MB, PSS {held[-1].proportional:.0f} MB"
            for held in seen.values()
        ]
        print(f"memory, epoch {epoch + 1}: training process own {parent.own:.0f} MB; {'; '.join(parts)}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--per-class", type=int, default=16, help="images a class and side in the made-up tree")
    parser.add_argument("--batches", type=int, default=16)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_tree(root, arguments.per_class)
        settings = {
            "data.name": "visda17",
            "data.root": str(root),
            "data.cache": str(root / "cache"),
            "data.image_size": arguments.image_size,
            "model.name": "resnet50",
            "model.weights": "none",
            "optim.lr": 1e-4,
            "train.batch_size": arguments.batch_size,
            "train.threads": os.cpu_count() or 1,
            "train.device": arguments.device,
        }
        configs = [build_config({**settings, "method.name": name}) for name in ("source_only", "csg")]
        print_memory(root, workers=2, epochs=arguments.epochs, side=arguments.image_size)
        print_decoding(root, arguments.image_size, arguments.rounds)
        print_ratios(configs, workers=arguments.workers, rounds=arguments.rounds, batches=arguments.batches)


if __name__ == "__main__":
    main()
