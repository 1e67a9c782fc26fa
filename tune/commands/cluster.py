"""spikeloom cluster: start, join and leave a Ray cluster on this machine, and show its status."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import tyro

from preprocess.terminal.command_line import UsageError, parse

PROG = "spikeloom cluster"


@dataclass(frozen=True)
class Arguments:
    """Start a Ray cluster on this machine, join one, show its status, or leave it.

    Example: spikeloom cluster up --node-ip 10.0.0.1         (starts the head, and prints its address)

    On each other machine: spikeloom cluster up --address 10.0.0.1:6379

    Then, on any of these machines: spikeloom tune n-mnist-small --address 10.0.0.1:6379

    A cluster accepts commands from anyone who has its token (~/.ray/auth_token on the head, created if missing): copy
    it to the other machines, or set RAY_AUTH_TOKEN there. Ray listens on every address of a machine, and nothing is
    encrypted: use a network that you trust.
    """

    do: Annotated[Literal["up", "down", "status"], tyro.conf.Positional]
    """up: start a head, or join a cluster with --address; down: leave the cluster and stop its processes here; status:
    list the cluster's machines."""
    address: str | None = None
    """Address of the head, host:port. Default for status: the cluster of this machine."""
    port: int = 6379
    """Port of a new head."""
    node_ip: str | None = None
    """The address at which other machines reach this one."""
    cpus: int | None = None
    """Number of CPUs to offer. Default: all."""
    gpus: int | None = None
    """Number of GPUs to offer. Default: all."""
    json: bool = False
    """With status: print one JSON object instead of a table."""


def run(argv: list[str]) -> None:
    """Run the action, and print the next steps."""
    arguments = parse(Arguments, argv, prog=PROG)
    if not 1 <= arguments.port <= 65535:
        raise UsageError(f"--port: expected 1 to 65535, found {arguments.port}")
    if arguments.do == "up":
        _up(arguments)
    elif arguments.do == "down":
        _down()
    else:
        _status(arguments)


def _up(arguments: Arguments) -> None:
    from tune.cluster.auth_token import token_file
    from tune.cluster.node_process import start_member

    member = start_member(
        arguments.address,
        port=arguments.port,
        node_ip=arguments.node_ip,
        cpus=arguments.cpus,
        gpus=arguments.gpus,
    )
    print(f"This machine is the {member.role} of the cluster at {member.address}")
    if member.role == "head":
        print(f"On each other machine:  {PROG} up --address {member.address}   (needs a copy of {token_file()})")
    print(f"Search on all of them:  spikeloom tune PRESET --address {member.address}")
    print(f"Leave the cluster:      {PROG} down")


def _down() -> None:
    from tune.cluster.member_record import check_state, forget_dead, read_member
    from tune.cluster.node_process import stop_member
    from tune.cluster.trial_storage import remove_abandoned

    check_state()
    member = read_member()
    if member is None:
        forget_dead()
        remove_abandoned()
        print(f"Nothing to stop: no process started by {PROG} up is running on this machine.")
        return
    stop_member(member)
    # Trials that this ended, and others whose machine was lost before.
    remove_abandoned()
    print(f"This machine, the {member.role} of {member.address}, has left the cluster.")


def _status(arguments: Arguments) -> None:
    from tune.cluster.head_node import ClusterError
    from tune.cluster.member_record import read_member
    from tune.cluster.node_process import describe_nodes

    member = read_member()
    address = arguments.address or (member.address if member else None)
    if address is None:
        raise ClusterError(
            f"--address: expected host:port of a cluster, found none; this machine is not in one. Start one: {PROG} up"
        )
    nodes = describe_nodes(address)
    if arguments.json:
        print(json.dumps({"address": address, "nodes": nodes}))
        return
    _print(address, nodes)


def _print(address: str, nodes: list[dict[str, Any]]) -> None:
    from tune.rendering.table import Table

    columns = ("machine", "CPUs", "GPUs", "memory, GB", "object store, GB", "spikeloom", "torch", "Python")
    rows = []
    for node in nodes:
        software = node["software"] or {}
        versions = [software.get(name, "") for name in ("spikeloom", "torch", "Python")]
        name = node["node"] if node["alive"] else f"{node['node']}: lost"
        rows.append((name, *(f"{node[key]:g}" for key in ("cpus", "gpus", "memory_gb", "object_store_gb")), *versions))
    alive = sum(node["alive"] for node in nodes)
    Table(f"cluster {address}: {alive} of {len(nodes)} machines are running", columns, tuple(rows), "lrrrrlll").print()
