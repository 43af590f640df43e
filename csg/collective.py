"""Processes that train one model together: sums and lists over all of them.

Without a process group there is one process, and every function returns what it was given. Every process has to make
the same calls in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def get_world_size() -> int:
    """Return how many processes there are."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def get_rank() -> int:
    """Return this process's number, from 0."""
    return dist.get_rank() if get_world_size() > 1 else 0


def is_first() -> bool:
    """Whether this process is the one that writes files."""
    return get_rank() == 0


def wait_for_all() -> None:
    """Wait for all processes."""
    if get_world_size() > 1:
        sum_over_processes(torch.zeros(1))


def ask_first(ask: Callable[[], bool]) -> bool:
    """Return the first process's answer to a question that it alone is asked."""
    answer = is_first() and ask()
    return answer if get_world_size() == 1 else bool(sum_over_processes(torch.tensor(float(answer))))


def check_agreement(found: Mapping[str, int]) -> None:
    """See that all processes found the same numbers, such as where the run stands that each has read from disk.

    Raises:
        RuntimeError: they did not; names what differs, and what each process found.
    """
    everywhere = gather_rows(torch.tensor([list(found.values())], dtype=torch.int64)).T.tolist()
    differing = {name: each for name, each in zip(found, everywhere, strict=True) if len(set(each)) > 1}
    if differing:
        listed = "; ".join(f"{name}: {', '.join(map(str, each))}" for name, each in differing.items())
        raise RuntimeError(
            f"the {get_world_size()} workers disagree on where the run stands, by worker {listed}; expected one "
            "answer. A shared folder that shows a node only later what another one wrote does that: start again"
        )


def get_own_slice(total: int) -> slice:
    """Return this process's contiguous part of ``total`` things; parts differ by at most one thing."""
    size, number = get_world_size(), get_rank()
    return slice(total * number // size, total * (number + 1) // size)


def sum_over_processes(values: Tensor) -> Tensor:
    """Return the sum over all processes of a tensor of one shape."""
    if get_world_size() == 1:
        return values
    total = values.to(_get_device(), copy=True)
    dist.all_reduce(total)
    return total.to(values.device)


def sum_over_processes_with_gradient(values: Tensor) -> Tensor:
    """Return the sum over all processes of a tensor of one shape, through which gradients flow.

    Every process's values have part in every process's loss, so the gradient is the sum of all of theirs. Every process
    has to run backward, in the same order.
    """
    return values if get_world_size() == 1 else _apply(values)


class _Summed(torch.autograd.Function):
    """A sum over processes is its own transpose."""

    @staticmethod
    def forward(_: Any, values: Tensor) -> Tensor:
        return sum_over_processes(values)

    @staticmethod
    def backward(_: Any, *gradients: Tensor) -> Tensor:
        return _apply(*gradients)


def _apply(values: Tensor) -> Tensor:
    total: Tensor = _Summed.apply(values)  # type: ignore[no-untyped-call]
    return total


def gather_rows(rows: Tensor, *, blocks: int = 1) -> Tensor:
    """Put all processes' rows together, in the order in which one process would have them.

    Args:
        rows: (blocks * n, ...); n may differ between processes. Block by block, each block holds this process's part
            of the batch: the patches of a chunked map come so.
        blocks: how many there are.

    Returns:
        (blocks * N, ...), N being the sum of all n: the first block of process 0, of process 1, ..., then the second.
    """
    if get_world_size() == 1:
        return rows
    device, count = _get_device(), len(rows) // blocks
    counts = torch.zeros(get_world_size(), dtype=torch.int64)
    counts[get_rank()] = count
    counts = sum_over_processes(counts)
    padded = torch.zeros(blocks, int(counts.max()), *rows.shape[1:], dtype=rows.dtype, device=device)
    padded[:, :count] = rows.reshape(blocks, count, *rows.shape[1:]).to(device)
    gathered = [torch.empty_like(padded) for _ in range(get_world_size())]
    dist.all_gather(gathered, padded)
    whole = torch.cat([each[:, :n] for each, n in zip(gathered, counts.tolist(), strict=True)], dim=1)
    return whole.reshape(-1, *rows.shape[1:]).to(rows.device)


def _get_device() -> str:
    """Return where the process group works."""
    return "cuda" if dist.get_backend() == "nccl" else "cpu"
