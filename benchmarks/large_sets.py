"""Time and memory of sets of many files, and of the same images in shards: ``python -m benchmarks.large_sets``.

A temporary folder gets class folders with links to a few small JPEG files, and shards of such images. The output is

    names             seconds to find the names of the files, most of which a remembered list would save, and to look up
                      the sizes and times by which a change of one is noticed, which it would not; each with the
                      seconds of the processors
    files             seconds to list a pair of folders, anew and again, and memory of the process
    shards            the same for shards
    reading           images/s of one process in random order: of files, and of shards
"""

from __future__ import annotations

import argparse
import io
import os
import resource
import tarfile
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from csg import data
from csg.config import DataConfig
from csg.data import load_pair
from csg.data.pair import SOURCE_TRAIN, Pair
from csg.data.reading.contents import read_stamps
from csg.data.reading.listing import list_image_names
from csg.randomness import make_generator

CLASSES = 20
ORIGINALS = 64
"""Different images; all others are links to them, or copies in shards."""
BATCH = 64
PER_SHARD = 5000


def draw_image(number: int, side: int) -> bytes:
    """Return a small JPEG file of a smooth shape."""
    coarse = make_generator(0, "large set", number).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    held = io.BytesIO()
    Image.fromarray(coarse).resize((side * 4 // 3, side), Image.Resampling.BICUBIC).save(held, "JPEG", quality=90)
    return held.getvalue()


def write_files(folder: Path, images: int, originals: list[Path]) -> None:
    """Link ``images`` names, spread over the classes, to a few files."""
    for label in range(CLASSES):
        (folder / f"class {label:02}").mkdir(parents=True)
    for number in range(images):
        os.link(originals[number % len(originals)], folder / f"class {number % CLASSES:02}" / f"{number:08}.jpg")


def write_shards(folder: Path, images: int, originals: list[Path]) -> None:
    """Write the images with a label each into shards."""
    folder.mkdir(parents=True)
    contents = [path.read_bytes() for path in originals]
    for start in range(0, images, PER_SHARD):
        with tarfile.open(folder / f"{start // PER_SHARD:06}.tar", "w") as shard:
            for number in range(start, min(start + PER_SHARD, images)):
                label = f"class {number % CLASSES:02}".encode()
                for kind, content in (("jpg", contents[number % len(contents)]), ("cls", label)):
                    member = tarfile.TarInfo(f"{number:08}.{kind}")
                    member.size = len(content)
                    shard.addfile(member, io.BytesIO(content))


def print_parts_of_listing(folder: Path) -> None:
    """Print how long it takes to find the names of files, and to look up their sizes and times."""
    began, began_computing = time.perf_counter(), time.process_time()
    names = [os.fsencode(name) for name in list_image_names(folder)]
    found, found_computing = time.perf_counter(), time.process_time()
    read_stamps(str(folder), names)
    looked_up, computed = time.perf_counter() - found, time.process_time() - found_computing
    print(f"names: {len(names):,} found in {found - began:.1f} s ({found_computing - began_computing:.1f} s), ", end="")
    print(f"their sizes and times in {looked_up:.1f} s ({computed:.1f} s)")


def measure(name: str, config: DataConfig, *, batches: int) -> None:
    """Print the times of a pair, and the rate at which its training images are read."""
    for when in ("anew", "again"):
        data._list_domains.cache_clear()
        data._load_once.cache_clear()
        began = time.perf_counter()
        pair = load_pair(config)
        listed = time.perf_counter() - began
        fingerprint = pair.fingerprint
        known = time.perf_counter() - began
        held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
        print(f"{name} {when}: listed in {listed:.1f} s, known by content {fingerprint[:8]} in {known:.1f} s, ", end="")
        print(f"at most {held:.0f} MB so far")
    print(f"{name}: {read_rate(pair, batches):.0f} images/s")


def read_rate(pair: Pair, batches: int) -> float:
    """Return images/s of one process, read at random."""
    stream = pair.streams[SOURCE_TRAIN]
    order = torch.from_numpy(make_generator(0, "large set order").permutation(len(stream)))
    began = time.perf_counter()
    for batch in torch.split(order[: batches * BATCH], BATCH):
        stream.read(batch)
    return min(batches * BATCH, len(stream)) / (time.perf_counter() - began)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--shard-images", type=int, default=100_000)
    parser.add_argument("--side", type=int, default=96, help="height of the images")
    parser.add_argument("--batches", type=int, default=100)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "originals").mkdir()
        originals = [root / "originals" / f"{number}.jpg" for number in range(ORIGINALS)]
        for number, path in enumerate(originals):
            path.write_bytes(draw_image(number, arguments.side))
        for name, images, write in (
            ("shards", arguments.shard_images, write_shards),
            ("files", arguments.files, write_files),
        ):
            if images:
                began = time.perf_counter()
                write(root / name, images, originals)
                print(f"{name}: {images:,} images written in {time.perf_counter() - began:.0f} s")
                if name == "files":
                    print_parts_of_listing(root / name)
                config = DataConfig(
                    name="folders", source=str(root / name), image_size=64, cache=str(root / f"cache of {name}")
                )
                measure(name, config, batches=arguments.batches)


if __name__ == "__main__":
    main()
