"""Check the head of a cluster at an address within seconds; Ray itself takes a minute to report an error."""

from __future__ import annotations

import contextlib
import importlib
import os
import platform
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from preprocess.errors import SpikeloomError

_CONNECT_S = 10.0
# A busy head answers late.
_ANSWER_S = 10.0
# The first bytes of a gRPC client, with empty settings; the server answers with its own settings.
_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0"
_SETTINGS = 4


class ClusterError(SpikeloomError):
    """A Ray cluster cannot be reached, or Ray cannot be started here."""


def split_address(address: str, otherwise: str = "") -> tuple[str, int]:
    """Host and port of ``host:port`` or ``[IPv6]:port``.

    Raises:
        ClusterError: For anything else, which names the alternative in `otherwise`.
    """
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit():
        raise ClusterError(f"--address: expected host:port of a cluster's head{otherwise}, found '{address}'")
    return host.strip("[]"), int(port)


def listens(host: str, port: int) -> str | None:
    """The reason why nothing listens at a port; None if something does."""
    try:
        socket.create_connection((host, port), _CONNECT_S).close()
    except OSError as error:
        return str(error)
    return None


def check_answers(address: str, hint: str) -> None:
    """Find out whether a server like Ray's is there.

    Raises:
        ClusterError: With the hint, if none answers in 20 seconds.
    """
    host, port = split_address(address)
    try:
        with socket.create_connection((host, port), _CONNECT_S) as line:
            message = _greet(line)
    except OSError as error:
        message = str(error)
    if message is not None:
        raise ClusterError(f"--address {address}: expected a cluster that answers, found none ({message}). {hint}")


def _greet(line: socket.socket) -> str | None:
    if os.environ.get("RAY_USE_TLS", "0") not in ("0", ""):
        # With TLS only Ray itself can connect.
        return None
    line.settimeout(_ANSWER_S)
    line.sendall(_HELLO)
    try:
        answer = line.recv(9, socket.MSG_WAITALL)
    except TimeoutError:
        answer = b""
    return None if len(answer) == 9 and answer[3] == _SETTINGS else "something other than Ray listens there"


def check_compatible(address: str, *, token: str) -> None:
    """Compare the versions of Ray and Python with the head's; Ray itself would fail with a long traceback.

    Args:
        address: The address of a head that answers.
        token: The file with this process's token, for the error.

    Raises:
        ClusterError: If the head refuses the token, or runs another version of Ray or Python.
    """
    import ray
    from ray._common.usage.usage_lib import get_cluster_metadata

    asked = os.environ.get("RAY_AUTH_MODE") == "token"
    if asked and "RAY_AUTH_TOKEN" not in os.environ and not Path(token).exists():
        # Ray's C++ would end this process without an error message.
        raise _token_error(address, token, found="none")
    try:
        with _gcs(address) as gcs:
            theirs = get_cluster_metadata(gcs) or {}
    except ray.exceptions.AuthenticationError:
        raise _token_error(address, token, found="another" if asked else "none") from None
    except Exception as error:  # of Ray's C++, of every kind
        cause = " ".join(str(error).split())[:200].rstrip(".")
        raise ClusterError(
            f"--address {address}: expected a head that answers as Ray does, found: {cause}. Check the address."
        ) from None
    ours = {"Ray": ray.__version__, "Python": platform.python_version()}
    found = {"Ray": theirs.get("ray_version"), "Python": theirs.get("python_version")}
    errors = [
        f"--address {address}: expected {what} {found[what]} as on its head, found {here} on this machine. Install the "
        "same version everywhere."
        for what, here in ours.items()
        if found[what] not in (None, here)
    ]
    if errors:
        raise ClusterError(*errors)


def _token_error(address: str, token: str, found: str) -> ClusterError:
    return ClusterError(
        f"--address {address}: expected the cluster's token, found {found}. Copy {token} from its head, or set "
        "RAY_AUTH_TOKEN."
    )


def check_member(address: str) -> None:
    """Check that this machine is in the cluster: a driver works through the Ray of its own machine.

    Raises:
        ClusterError: If this machine is not in the cluster.
    """
    from ray._private.services import find_node_ids

    ours = find_node_ids()
    if ours:
        with _gcs(address) as gcs:
            nodes = gcs.get_all_node_info(timeout=_ANSWER_S)
        # 0 is alive.
        ours &= {node.hex() for node, info in nodes.items() if info.state == 0}
    if not ours:
        raise ClusterError(
            f"--address {address}: expected a cluster of this machine, found another. Join it first: "
            f"spikeloom cluster up --address {address} (with --cpus 0 it runs no trials)"
        )


@contextlib.contextmanager
def _gcs(address: str) -> Iterator[Any]:
    """A client of the head; what Ray's C++ prints is hidden, because the exception says the same."""
    raylet = importlib.import_module("ray._raylet")
    with _silent_stderr():
        yield raylet.GcsClient(address=address)


@contextlib.contextmanager
def _silent_stderr() -> Iterator[None]:
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
