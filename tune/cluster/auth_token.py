"""This user's token, without which Ray runs nothing that is sent to it."""

from __future__ import annotations

import contextlib
import importlib
import os
import secrets
from pathlib import Path


def token_file() -> Path:
    """Where Ray keeps this user's token, without which a cluster refuses every command."""
    return Path(os.environ.get("RAY_AUTH_TOKEN_PATH", "~/.ray/auth_token")).expanduser()


def make_token() -> None:
    """Create this user's token if there is none; Ray would create one that other users may read, by the umask."""
    path = token_file()
    if "RAY_AUTH_TOKEN" in os.environ:
        return
    if path.exists() and path.stat().st_size == 0:
        # Left by a full disk.
        path.unlink()
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        # Another process may make it at the same time.
        with contextlib.suppress(FileExistsError), open(path, "x", opener=_private) as file:
            try:
                file.write(secrets.token_hex(32))
                file.flush()
            except OSError:
                path.unlink()
                raise


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def use_token() -> bool:
    """Let this process and its children send the token, if there is one and the user set no mode.

    Returns whether they send it.

    By default Ray sends a token only to a cluster that it starts; here the user has given the cluster's address.
    """
    if "RAY_AUTH_MODE" not in os.environ and ("RAY_AUTH_TOKEN" in os.environ or token_file().exists()):
        os.environ["RAY_AUTH_MODE"] = "token"
        # Ray read its environment when it was imported.
        importlib.import_module("ray._raylet").Config.initialize("")
    return os.environ.get("RAY_AUTH_MODE") == "token"
