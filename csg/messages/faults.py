"""What goes wrong outside a configuration: a full disk, a store that is away, a process that is killed.

A configuration that fails would fail again. What is named here is no fault of its own: the run stays as it is on disk,
and the same command goes on with it when the cause is gone. Whether there is such a run only the command knows, which
then says so (:mod:`csg.messages.exit_codes`).
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Final

NUMBERS: Final = frozenset(
    {
        *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE),
        *(errno.ENOMEM, errno.EIO, errno.ESTALE, errno.ENODEV, errno.ENXIO, errno.EREMOTEIO),
    }
)
"""What a machine answers that lacks something: space, rights, open files, memory, a disk or a network folder."""
REMEDIES: Final = {
    errno.ENOSPC: "free some space there",
    errno.EDQUOT: "free some space there, or have the quota raised",
    errno.EFBIG: "raise the limit on the size of files (ulimit -f)",
    errno.EROFS: "have it mounted for writing",
    errno.EACCES: "give this user the right to it",
    errno.EPERM: "give this user the right to it",
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
    errno.ENFILE: "raise the system's limit on open files",
    errno.ENOMEM: "leave more memory free",
}
MEMORY = re.compile(r"DefaultCPUAllocator|not enough memory|can't allocate memory|^DataLoader worker ")
"""How a RuntimeError of torch's begins, or what it holds, where memory or a process was taken away."""
SYSTEM_WORDS = re.compile(r"(?P<words>[A-Z][A-Za-z/' ]+) \((?P<number>\d+)\)")
"""How torch's compiled code puts an error of the system into a RuntimeError: "No space left on device (28)"."""


class OutsideFaultError(Exception):
    """Something outside its configuration ended what was under way; the message says what, and what to do."""

    later: ClassVar[str] = "the same command goes on where it was"
    """What a command that can go on does when the cause is gone."""


class LostProcessError(RuntimeError):
    """Processes of a run died again and again; whether its configuration is to blame, nobody can tell."""


def is_outside(error: OSError) -> bool:
    """Whether the machine lacks something, rather than the file being another than expected."""
    return error.errno in NUMBERS


def is_shortage(error: OSError) -> bool:
    """Whether the machine is short of something, such as space, rather than closed to this user in one place."""
    return is_outside(error) and error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS)


def find_outside_fault(error: BaseException) -> OutsideFaultError | None:
    """Return what outside the configuration made ``error`` come up, in one line that says what to do; None for nothing.

    That is ``error`` itself where it comes from the operating system, or what of that kind it was raised from or
    while handling: torch's writer puts an error of its own in the place of a full disk's.
    """
    for place, each in enumerate(chain(error)):
        if isinstance(each, OutsideFaultError):
            return each
        if isinstance(each, OSError) and not isinstance(each, BrokenPipeError) and (place == 0 or is_outside(each)):
            return OutsideFaultError(_explain(each))
        if isinstance(each, RuntimeError) and (found := _system_error(each)) is not None:
            return OutsideFaultError(_explain(found))
    return None


def is_of_the_machine(error: BaseException) -> bool:
    """Whether reading failed for what the machine lacks, rather than for what was read or who may read it."""
    if isinstance(error, OSError):
        return is_outside(error) and not isinstance(error, PermissionError)
    return isinstance(error, MemoryError)


def is_of_one_file(error: OSError) -> bool:
    """Whether one of many files cannot be read: where the machine lacks something, the others cannot be either."""
    return error.errno == errno.EIO or not is_of_the_machine(error)


def is_of_the_process(error: BaseException) -> bool:
    """Whether a new process may do better: memory ran out, here or on the GPU, or a process was killed."""
    import torch  # which takes a second: commands that only explain themselves do without

    lost = (MemoryError, LostProcessError, torch.OutOfMemoryError, torch.AcceleratorError)
    return any(
        isinstance(each, lost) or (isinstance(each, RuntimeError) and MEMORY.search(str(each)) is not None)
        for each in chain(error)
    )


def chain(error: BaseException) -> Iterator[BaseException]:
    """Yield ``error``, then what it was raised from or while handling, and so on."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)


def _system_error(error: RuntimeError) -> OSError | None:
    """Return what the operating system said, which torch's compiled code has put into words."""
    text = str(error)
    for found in SYSTEM_WORDS.finditer(text):
        number = int(found["number"])
        if number in NUMBERS and found["words"].strip() == os.strerror(number):
            line = text[text.rfind("\n", 0, found.start()) + 1 : found.end()]
            return OSError(number, line.strip()[-200:])
    return None


def _explain(error: OSError) -> str:
    what = error.strerror or str(error) or type(error).__name__
    where = "" if error.filename is None else f": {os.fsdecode(error.filename)}{_room(error)}"
    remedy = REMEDIES.get(error.errno or 0, "mend that")
    return f"{what}{where}; {remedy}"


def _room(error: OSError) -> str:
    """Say how much is free where there was no space, beside what was asked for (see ``replacing``)."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return ""
    folder = Path(os.fsdecode(error.filename)).absolute()
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    try:
        free = shutil.disk_usage(folder).free
    except OSError:
        return ""
    needed = getattr(error, "needed", 0)
    more = f", more than {needed / 1e6:.1f} MB are needed" if needed else ""
    return f" ({free / 1e6:.1f} MB are free on its disk{more})"
