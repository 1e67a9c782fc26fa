"""What is found at an address, before Ray is asked."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from messages import refuses

from tune.cluster import head_node
from tune.cluster.head_node import ClusterError, check_answers


@contextmanager
def server(answer: Callable[[socket.socket], object]) -> Iterator[str]:
    """One that takes a single visitor; its address."""
    with socket.create_server(("127.0.0.1", 0)) as door:

        def serve() -> None:
            visitor, _ = door.accept()
            with visitor:
                answer(visitor)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{door.getsockname()[1]}"
        thread.join()


def test_server_of_grpc_is_taken_for_a_head():
    with server(lambda visitor: visitor.sendall(b"\0\0\0\x04\0\0\0\0\0")) as address:
        check_answers(address, "Start it.")


@pytest.mark.parametrize("said", [b"SSH-2.0-OpenSSH_9.6\r\n", b"HTTP/1.1 505 HTTP Version Not Supported\r\n", b""])
def test_server_of_another_kind_is_named(said: bytes):
    with server(lambda visitor: (visitor.recv(64), visitor.sendall(said))) as address:
        none = "none (something other than Ray listens there)"
        with refuses(ClusterError, where=f"--address {address}", expected="cluster", found=none, remedy="Start it."):
            check_answers(address, "Start it.")


def test_server_that_says_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(head_node, "_ANSWER_S", 0.2)
    heard = threading.Event()
    with server(lambda visitor: heard.wait(20)) as address:
        try:
            with pytest.raises(ClusterError, match="something other than Ray listens there"):
                check_answers(address, "Start it.")
        finally:
            heard.set()


@pytest.mark.parametrize("address", ["somewhere", "somewhere:", ":", "host:port", "http://host:6379/x"])
def test_address_without_a_port_is_named(address: str):
    with pytest.raises(ClusterError, match=rf"--address: expected host:port of a cluster's head, found '{address}'"):
        check_answers(address, "Start it.")
