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

GONE = "10.0.0.5:6379"


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is in no cluster."""
    monkeypatch.setattr(member_record, "state_file", lambda: tmp_path / "member.json")
    monkeypatch.setattr("ray._common.utils.get_ray_address_file", lambda folder: str(tmp_path / "ray_current_cluster"))
    monkeypatch.setattr("ray._private.services.find_gcs_addresses", frozenset)
    monkeypatch.setattr(cluster_address, "listens", lambda host, port: "refused" if host == "10.0.0.5" else None)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


def test_given_address_is_kept(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.9:1")
    assert resolve_address("10.0.0.1:6379") == "10.0.0.1:6379"


def test_auto_is_the_environment_s_then_that_of_cluster_up_then_that_of_ray_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "ray_current_cluster").write_text("127.0.0.1:6379\n")
    assert resolve_address("auto") == "127.0.0.1:6379"
    write_member(Member.of("worker", "10.0.0.2:6379", os.getpid(), str(tmp_path)))
    assert resolve_address("auto") == "10.0.0.2:6379"
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert resolve_address("auto") == "10.0.0.1:6379"
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    assert resolve_address("auto") == "10.0.0.2:6379"


@pytest.mark.parametrize("given", ["local", "ray://127.0.0.1:10001", "http://127.0.0.1:8265"])
def test_an_address_of_the_environment_that_is_no_head_is_named(given: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RAY_ADDRESS", given)
    with refuses(ClusterError, where="RAY_ADDRESS", expected="host:port", found=given, remedy="--address HOST:PORT"):
        resolve_address("auto")


def test_auto_is_not_a_member_that_has_ended(tmp_path: Path):
    with subprocess.Popen(["true"]) as process:
        member = Member.of("head", "10.0.0.2:6379", process.pid, str(tmp_path))
    write_member(member)
    remedy = "spikeloom cluster up"
    with refuses(ClusterError, where="--address auto", expected="of a Ray cluster", found="in none", remedy=remedy):
        resolve_address("auto")


@pytest.mark.parametrize("head", ["10.0.0.4:6379", "[2001:db8::4]:6379", "127.0.0.1:6379", GONE, "nonsense"])
def test_auto_is_a_head_to_which_a_process_here_belongs_unless_it_is_a_search_s_or_gone(
    head: str, monkeypatch: pytest.MonkeyPatch
):
    """`ray start` records heads, not workers; the Ray of a search listens on the loopback address."""
    monkeypatch.setattr("ray._private.services.find_gcs_addresses", lambda: frozenset({head}))
    if head in ("10.0.0.4:6379", "[2001:db8::4]:6379"):
        assert resolve_address("auto") == head
    else:
        with pytest.raises(ClusterError, match="in none"):
            resolve_address("auto")


@pytest.mark.parametrize("content", [GONE.encode(), b"", b"\xff\xfe"], ids=["gone", "empty", "damaged"])
def test_a_record_of_ray_start_that_is_of_no_use_is_passed_over(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "ray_current_cluster").write_bytes(content)
    monkeypatch.setattr("ray._private.services.find_gcs_addresses", lambda: frozenset({"10.0.0.4:6379"}))
    assert resolve_address("auto") == "10.0.0.4:6379"
