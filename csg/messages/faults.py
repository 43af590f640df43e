"""Faults outside a configuration: a full disk, an unreachable store, a killed process.

A configuration that fails would fail again. After one of these faults the run stays on disk as it is, and the same
command continues it when the cause is gone. Only the command knows whether there is such a run, and says so
(:mod:`csg.messages.exit_codes`).
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Final

OUTSIDE_ERRORS: Final = frozenset(
    {
        *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE),
        *(errno.ENOMEM, errno.EIO, errno.ESTALE, errno.ENODEV, errno.ENXIO, errno.EREMOTEIO),
    }
)
"""Error numbers of a machine that lacks something: space, rights, open files, memory, a disk or a network folder."""
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
"""Text in a RuntimeError of torch when memory ran out or a process was killed."""
SYSTEM_WORDS = re.compile(r"(?P<words>[A-Z][A-Za-z/' ]+) \((?P<number>\d+)\)")
"""Form in which torch's compiled code puts a system error into a RuntimeError: "No space left on device (28)"."""


class OutsideFaultError(Exception):
    """Something outside a configuration ended the work. The message says what, and what to do."""

    later: ClassVar[str] = "the same command goes on where it was"
    """What a command that resumes does when the cause is gone."""


class LostProcessError(RuntimeError):
    """Processes of a run died repeatedly. The configuration may or may not be to blame."""


def is_outside(error: OSError) -> bool:
    """Whether the machine lacks something. Otherwise the file is not as expected."""
    return error.errno in OUTSIDE_ERRORS


def is_shortage(error: OSError) -> bool:
    """Whether the machine lacks something everywhere, such as space. A missing right concerns one place only."""
    return is_outside(error) and error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS)


def find_outside_fault(error: BaseException) -> OutsideFaultError | None:
    """Return the fault outside the configuration that caused ``error``, or None where there is none.

    The cause is ``error`` itself if the operating system raised it, or an error that it was raised from or while
    handling: torch's writer replaces the error of a full disk by one of its own.
    """
    for place, each in enumerate(walk_causes(error)):
        if isinstance(each, OutsideFaultError):
            return each
        if isinstance(each, OSError) and not isinstance(each, BrokenPipeError) and (place == 0 or is_outside(each)):
            return OutsideFaultError(_explain(each))
        if isinstance(each, RuntimeError) and (found := _find_system_error(each)) is not None:
            return OutsideFaultError(_explain(found))
    return None


def is_machine_fault(error: BaseException) -> bool:
    """Whether reading failed because the machine lacks something, not because of the file or its permissions."""
    if isinstance(error, OSError):
        return is_outside(error) and not isinstance(error, PermissionError)
    return isinstance(error, MemoryError)


def is_file_fault(error: OSError) -> bool:
    """Whether only this file cannot be read. Where the machine lacks something, no file can be."""
    return error.errno == errno.EIO or not is_machine_fault(error)


def is_process_fault(error: BaseException) -> bool:
    """Whether a new process may succeed: memory ran out, here or on the GPU, or a process was killed."""
    import torch  # takes a second, which --help and a refused flag do without

    lost = (MemoryError, LostProcessError, torch.OutOfMemoryError, torch.AcceleratorError)
    return any(
        isinstance(each, lost) or (isinstance(each, RuntimeError) and MEMORY.search(str(each)) is not None)
        for each in walk_causes(error)
    )


def walk_causes(error: BaseException) -> Iterator[BaseException]:
    """Yield ``error``, then the error that it was raised from or while handling, and so on."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)


def _find_system_error(error: RuntimeError) -> OSError | None:
    """Return the system error that torch's compiled code has put into words; None where there is none."""
    text = str(error)
    for found in SYSTEM_WORDS.finditer(text):
        number = int(found["number"])
        if number in OUTSIDE_ERRORS and found["words"].strip() == os.strerror(number):
            line = text[text.rfind("\n", 0, found.start()) + 1 : found.end()]
            return OSError(number, line.strip()[-200:])
    return None


def _explain(error: OSError) -> str:
    what = error.strerror or str(error) or type(error).__name__
    where = "" if error.filename is None else f": {os.fsdecode(error.filename)}{_describe_room(error)}"
    remedy = REMEDIES.get(error.errno or 0, "mend that")
    return f"{what}{where}; {remedy}"


def _describe_room(error: OSError) -> str:
    """Say how much space is free on a full disk, and how much was needed (see ``open_replacement``)."""
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
