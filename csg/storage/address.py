"""Addresses: of buckets, such as ``s3://bucket/prefix``, which stand where a path may stand; of SQLite files."""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePath
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from csg.messages.errors import UserError
from csg.messages.text import is_utf8

SECRETS = {"access_key", "secret_key", "session_token", "client_secret", "account_key", "sas_token"}
"""Names of an address's query that hold a secret."""
SQLITE = "sqlite:///"
SQLITE_QUOTED = "sqlite+pysqlite:///"
"""Names the driver as well: of an address that begins like the other one, MLflow takes the rest for a path as it is,
and makes its folder."""
_SQLITE_FILE = re.compile(r"sqlite(?:\+\w+)?:///(?P<path>.*?)(?P<query>\?\w+=[^/]*)?", re.DOTALL)
_ALTERED = re.compile(r"\?|%[0-9a-fA-F]{2}")
"""What SQLAlchemy does not read as it stands in an address."""


def is_address(text: str) -> bool:
    """Whether ``text`` is an address, and not a path."""
    return "://" in text


def check_address(text: str, setting: str) -> str:
    """Return an address in the one form that names a working folder.

    Raises:
        UserError: it holds a password, which would be written into every record, no name, or what no address can.
    """
    try:
        parts = urlsplit(text)
    except ValueError as error:  # of brackets that enclose no address of a machine, say
        raise UserError(
            f"{setting}: expected an address such as s3://bucket/prefix, found {text!r} ({error})"
        ) from None
    if not is_utf8(text):
        raise UserError(f"{setting}: expected an address in UTF-8, found {text!r}; choose another one")
    secret = {name for name, _ in parse_qsl(parts.query)} & SECRETS
    if secret or parts.password is not None or (parts.username and parts.scheme == "s3"):
        raise UserError(
            f"{setting}: expected no key in the address, which is written into every record; give credentials in the "
            "environment (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, say)"
        )
    if not parts.scheme or not (parts.netloc or parts.path.strip("/")):
        raise UserError(f"{setting}: expected a path or an address such as s3://bucket/prefix, found {text}")
    return parts._replace(path=parts.path.rstrip("/")).geturl()


def get_last_part(text: str) -> str:
    """Return the last name of a path, or of the path within an address; of a whole bucket its name."""
    if not is_address(text):
        return PurePath(text).name
    address = urlsplit(text)
    return PurePath(unquote(address.path)).name or address.netloc


def make_sqlite_address(path: Path) -> str:
    """Return the address of the SQLite file at ``path``, quoted only where SQLAlchemy and MLflow would misread it."""
    text = str(path.absolute())
    return f"{SQLITE_QUOTED}{quote(text)}" if _ALTERED.search(text) else f"{SQLITE}{text}"


def get_sqlite_path(address: str) -> Path | None:
    """Return the absolute path that an SQLite file's address means; None of an address of something else.

    A question mark that begins no ``name=value`` is one of the path's own.
    """
    found = _SQLITE_FILE.fullmatch(address)
    if not found or not found["path"]:
        return None
    return Path(os.path.expanduser(unquote(found["path"]))).absolute()  # noqa: PTH111 (Path's own may raise)


def get_sqlite_query(address: str) -> str:
    """Return what follows the path in an SQLite file's address, with its question mark."""
    found = _SQLITE_FILE.fullmatch(address)
    return (found["query"] or "") if found else ""
