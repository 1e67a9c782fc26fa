"""Which cluster `--address auto` means."""

from __future__ import annotations

import os

from tune.cluster.head_node import ClusterError, listens, split_address
from tune.cluster.member_record import read_member

_LOOPBACK = ("127.0.0.1", "localhost", "::1", "[::1]")


def resolve_address(address: str) -> str:
    """The address of a cluster's head; for ``auto``, that of the cluster to which this machine belongs.

    That is, in this order, the environment variable RAY_ADDRESS, the cluster of `spikeloom cluster up`, and that of
    `ray start`. Ray itself would take the head of another search on this machine as well, which nobody can join, and
    would wait for it for minutes.

    Raises:
        ClusterError: If this machine is in no cluster.
    """
    if address != "auto":
        return address
    member = read_member()
    found = os.environ.get("RAY_ADDRESS") or (member.address if member else None) or _started_by_ray()
    if not found:
        raise ClusterError(
            "--address auto: expected a machine of a Ray cluster, found one that is in none. Start a cluster or join "
            "one (spikeloom cluster up), or run on this machine alone, without --address."
        )
    return found


def _started_by_ray() -> str | None:
    """The cluster that `ray start` recorded on this machine last, or to which a process of Ray belongs."""
    from ray._private.services import find_gcs_addresses
    from ray._private.utils import read_ray_address

    named = {address: split_address(address) for address in sorted(find_gcs_addresses())}
    # The Ray of a search listens on the loopback address alone, and ends with the search.
    reached = (address for address, at in named.items() if at[0] not in _LOOPBACK and listens(*at) is None)
    return read_ray_address() or next(reached, None)
