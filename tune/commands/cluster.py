"""spikeloom cluster: this machine's part of a Ray cluster, up and down, and how the cluster stands."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import tyro

from preprocess.terminal.command_line import UsageError, parse

PROG = "spikeloom cluster"


@dataclass(frozen=True)
class Arguments:
    """Start a cluster's head on this machine, join one, look at it, or leave it.

    Example: spikeloom cluster up --node-ip 10.0.0.1         (the head; then its address is printed)

    On each other machine: spikeloom cluster up --address 10.0.0.1:6379

    Then, on any of them: spikeloom tune n-mnist-small --address 10.0.0.1:6379

    Ray listens on every address of a machine, and a cluster obeys whoever shows its token (~/.ray/auth_token of the
    head, made if there is none): copy it to the other machines, or set RAY_AUTH_TOKEN there. Nothing is encrypted: use
    a network that you trust.
    """

    do: Annotated[Literal["up", "down", "status"], tyro.conf.Positional]
    """up: start a head, or join with --address; down: stop what up started here; status: the cluster's machines."""
    address: str | None = None
    """host:port of the head; of status the cluster that this machine is in, if not given."""
    port: int = 6379
    """Of a new head."""
    node_ip: str | None = None
    """The address by which the other machines reach this one."""
    cpus: int | None = None
    """CPUs to offer, all if not given."""
    gpus: int | None = None
    """GPUs to offer, all if not given."""
    json: bool = False
    """status: print one JSON object."""


def run(words: list[str]) -> None:
    """Do it, and say what comes next."""
    arguments = parse(Arguments, words, prog=PROG)
    if not 1 <= arguments.port <= 65535:
        raise UsageError(f"--port: expected 1 to 65535, found {arguments.port}")
    if arguments.do == "up":
        _up(arguments)
    elif arguments.do == "down":
        _down()
    else:
        _status(arguments)


def _up(arguments: Arguments) -> None:
    from tune.cluster.node_process import start_member
    from tune.cluster.ray_session import token_file

    member = start_member(
        arguments.address,
        port=arguments.port,
        node_ip=arguments.node_ip,
        cpus=arguments.cpus,
        gpus=arguments.gpus,
    )
    print(f"this machine is the {member.role} of the cluster {member.address}")
    if member.role == "head":
        print(f"On each other machine:  {PROG} up --address {member.address}   (needs {token_file()} of this one)")
    print(f"Search on all of them:  spikeloom tune PRESET --address {member.address}")
    print(f"Leave it:               {PROG} down")


def _down() -> None:
    from tune.cluster.head_node import ClusterError
    from tune.cluster.node_process import forget_dead, read_member, stop_member

    member = read_member()
    if member is None:
        forget_dead()
        raise ClusterError("nothing that spikeloom cluster up started runs on this machine")
    stop_member(member)
    print(f"this machine, the {member.role} of {member.address}, has left")


def _status(arguments: Arguments) -> None:
    from tune.cluster.head_node import ClusterError
    from tune.cluster.node_process import describe_nodes, read_member

    member = read_member()
    address = arguments.address or (member.address if member else None)
    if address is None:
        raise ClusterError(f"--address: expected host:port of a cluster; this machine is in none. Start one: {PROG} up")
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
        told = [software.get(name, "") for name in ("spikeloom", "torch", "Python")]
        name = node["node"] if node["alive"] else f"{node['node']}: lost"
        rows.append((name, *(f"{node[key]:g}" for key in ("cpus", "gpus", "memory_gb", "object_store_gb")), *told))
    alive = sum(node["alive"] for node in nodes)
    Table(f"cluster {address}: {alive} of {len(nodes)} machines are there", columns, tuple(rows), "lrrrrlll").print()
