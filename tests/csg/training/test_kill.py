"""Real kills: ``csg train`` under SIGKILL, in the middle of an epoch."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from tests import warm
from tests.few_images import few_images

FLAGS = [
    *("--data.source-images", "40", "--train.epochs", "2", "--train.batch-size", "8"),
    *("--method.queue-size", "100", "--train.checkpoint-minutes", "0", "--tracking-uri", "none"),
]


def command(output: Path) -> list[str]:
    return [sys.executable, "-m", "csg", "train", *few_images(), *FLAGS, "--train.output", str(output)]


def result(output: Path) -> tuple[list[dict[str, float]], dict[str, float], dict[str, Any]]:
    (folder,) = (output / "trained").iterdir()
    kept = {path.name for path in folder.iterdir() if path.name != ".lock"}
    assert kept == {"record.json", "selected.pt", "test_outputs.npz", "test_pictures.npz"}
    record = json.loads((folder / "record.json").read_text())
    assert record["status"] == "finished"
    epochs = [{k: v for k, v in epoch.items() if "second" not in k} for epoch in record["epochs"]]
    final = {k: v for k, v in record["final"].items() if "second" not in k}
    return epochs, final, torch.load(folder / "selected.pt", weights_only=True)["model"]


@pytest.mark.slow
def test_a_run_killed_twice_in_mid_epoch_ends_bit_identical(tmp_path: Path) -> None:
    subprocess.run(command(tmp_path / "whole"), check=True, capture_output=True)  # its hashes have another seed
    for steps in (3, 7):
        with warm.Popen(command(tmp_path / "cut"), stdout=warm.PIPE) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith("step ") and int(line.split()[1].split("/")[0]) >= steps:
                    process.send_signal(signal.SIGKILL)
                    break
        assert process.returncode == -signal.SIGKILL
        (folder,) = (tmp_path / "cut" / "trained").iterdir()
        assert (folder / "checkpoint.pt").exists()
        time.sleep(0.1)
    warm.run(command(tmp_path / "cut"), check=True)
    whole, cut = result(tmp_path / "whole"), result(tmp_path / "cut")
    assert cut[:2] == whole[:2]
    assert cut[2].keys() == whole[2].keys()
    assert all(torch.equal(cut[2][name], whole[2][name]) for name in whole[2])
