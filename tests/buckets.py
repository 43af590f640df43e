"""A bucket behind a real S3 API on this machine, and machines that share nothing else."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from moto.server import ThreadedMotoServer
from pyarrow.fs import S3FileSystem

from tests.process_group import free_port

KEYS = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_EC2_METADATA_DISABLED": "true"}


@contextmanager
def bucket_server() -> Iterator[str]:
    """Serve an empty bucket; yields what follows ``s3://bucket/prefix`` in an address."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    port = free_port()
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    server.start()
    where = {"endpoint_override": f"127.0.0.1:{port}", "scheme": "http", "region": "us-east-1"}
    try:
        with patch.dict(os.environ, KEYS):
            S3FileSystem(**where, allow_bucket_creation=True).create_dir("bucket")
            yield "?" + "&".join(f"{name}={value}" for name, value in where.items())
    finally:
        server.stop()


def move_to(machine: Path) -> None:
    """Go on as if on another machine, with another home."""
    os.environ["XDG_CACHE_HOME"] = str(machine)
