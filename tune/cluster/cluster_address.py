"""Which cluster `--address auto` means."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from tune.cluster.head_node import ClusterError, listens, split_address
from tune.cluster.member_record import read_member

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def resolve_address(address: str) -> str:
    """The address of a cluster's head; for ``auto``, that of the cluster to which this machine belongs.

    That is, in this order, the environment variable RAY_ADDRESS, the cluster of `spikeloom cluster up`, and that of
    `ray start`, if its head can be reached. Ray itself would take the head of another search on this machine as well,
    which nobody can join, and would wait for it for minutes.

    Raises:
        ClusterError: If this machine is in no cluster, or RAY_ADDRESS is not ``host:port``.
    """
    if address != "auto":
        return address
    given, member = os.environ.get("RAY_ADDRESS", "").strip(), read_member()
    if given not in ("", "auto"):
        return _checked(given)
    found = member.address if member else next(filter(_is_reached, _started_by_ray()), None)
    if found is None:
        raise ClusterError(
            "--address auto: expected a machine of a Ray cluster, found one that is in none. Start a cluster or join "
            "one (spikeloom cluster up), or run on this machine alone, without --address."
        )
    return found


def _checked(given: str) -> str:
    host, colon, port = given.rpartition(":")
    if "/" in host or not colon or not port.isdigit():
        raise ClusterError(
            f"RAY_ADDRESS: expected host:port of a cluster's head, found '{given}'. Change it, or give "
            "--address HOST:PORT."
        )
    return given


def _started_by_ray() -> Iterator[str]:
    """The cluster that `ray start` recorded on this machine last, and those to which processes of Ray belong."""
    from ray._common.utils import get_ray_address_file
    from ray._private.services import find_gcs_addresses

    record = Path(get_ray_address_file(None))
    try:
        # Other users can write to Ray's folder.
        if record.stat().st_uid in (0, os.getuid()):
            yield record.read_text().strip()
    except (OSError, ValueError):
        pass
    for address in sorted(find_gcs_addresses()):
        # The Ray of a search listens on the loopback address alone, and ends with the search.
        if address.rpartition(":")[0].strip("[]") not in _LOOPBACK:
            yield address


def _is_reached(address: str) -> bool:
    try:
        return listens(*split_address(address)) is None
    except ClusterError:
        return False
