"""The cluster that `--address auto` means."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from messages import refuses

from tune.cluster import cluster_address, member_record
from tune.cluster.cluster_address import resolve_address
from tune.cluster.head_node import ClusterError
from tune.cluster.member_record import Member, write_member


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is in no cluster."""
    monkeypatch.setattr(member_record, "state_file", lambda: tmp_path / "member.json")
    monkeypatch.setattr("ray._private.utils.get_ray_address_file", lambda folder: str(tmp_path / "ray_current_cluster"))
    monkeypatch.setattr("ray._private.services.find_gcs_addresses", frozenset)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


def test_given_address_is_kept(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.9:1")
    assert resolve_address("10.0.0.1:6379") == "10.0.0.1:6379"


def test_auto_is_the_environment_s_then_that_of_cluster_up_then_that_of_ray_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "ray_current_cluster").write_text("10.0.0.3:6379\n")
    assert resolve_address("auto") == "10.0.0.3:6379"
    write_member(Member.of("worker", "10.0.0.2:6379", os.getpid(), str(tmp_path)))
    assert resolve_address("auto") == "10.0.0.2:6379"
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert resolve_address("auto") == "10.0.0.1:6379"


def test_auto_is_not_a_member_that_has_ended(tmp_path: Path):
    with subprocess.Popen(["true"]) as process:
        member = Member.of("head", "10.0.0.2:6379", process.pid, str(tmp_path))
    write_member(member)
    refused = refuses(
        ClusterError,
        where="--address auto",
        expected="of a Ray cluster",
        found="in none",
        remedy="spikeloom cluster up",
    )
    with refused:
        resolve_address("auto")


@pytest.mark.parametrize("head", ["10.0.0.4:6379", "127.0.0.1:6379", "10.0.0.5:6379"])
def test_auto_is_a_head_to_which_a_process_here_belongs_unless_it_is_a_search_s_or_gone(
    head: str, monkeypatch: pytest.MonkeyPatch
):
    """`ray start` records heads, not workers; the Ray of a search listens on the loopback address."""
    monkeypatch.setattr("ray._private.services.find_gcs_addresses", lambda: frozenset({head}))
    monkeypatch.setattr(cluster_address, "listens", lambda host, port: "refused" if host == "10.0.0.5" else None)
    if head == "10.0.0.4:6379":
        assert resolve_address("auto") == head
    else:
        with pytest.raises(ClusterError, match="in none"):
            resolve_address("auto")
