"""Files on disk: whole or absent, whatever killed their writer."""

from __future__ import annotations

import os
from pathlib import Path

from csg.storage import replacing


def test_what_kills_left_of_any_file_goes_when_it_is_old(tmp_path: Path) -> None:
    new, old, other = (tmp_path / f".a[1].csv.{end}" for end in ("0123abcd", "0123abce", "swp"))
    for left in (new, old, other):
        left.write_bytes(b"half")
        os.utime(left, (0, 0) if left != new else None)
    with replacing(tmp_path / "a[1].csv") as file:
        file.write(b"whole")
    assert {path.name for path in tmp_path.iterdir()} == {"a[1].csv", new.name, other.name}
