"""Addresses in object stores, such as ``s3://bucket/prefix``: texts that stand where a path may stand."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

from csg.settings import ConfigError

SECRETS = {"access_key", "secret_key", "session_token", "client_secret", "account_key", "sas_token"}
"""Names of an address's query that hold a secret."""


def is_address(text: str) -> bool:
    """Whether ``text`` names a place in an object store, and not a path."""
    return "://" in text


def checked_address(text: str, setting: str) -> str:
    """Return an address in the one form that names a working folder.

    Raises:
        ConfigError: it holds a password, which would be written into every record, or no name.
    """
    parts = urlsplit(text)
    secret = {name for name, _ in parse_qsl(parts.query)} & SECRETS
    if secret or parts.password is not None or (parts.username and parts.scheme == "s3"):
        raise ConfigError(
            f"{setting}: expected no key in the address, which is written into every record; give credentials in the "
            "environment (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, say)"
        )
    if not parts.scheme or not (parts.netloc or parts.path.strip("/")):
        raise ConfigError(f"{setting}: expected a path or an address such as s3://bucket/prefix, found {text}")
    return parts._replace(path=parts.path.rstrip("/")).geturl()
