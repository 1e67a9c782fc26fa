"""Buffers of the fused neurons: used again when no tensor is left, never while one is."""

from __future__ import annotations

import threading

import pytest
import torch

from pipeline.kernels import buffers
from pipeline.neurons import CLIFNode


@pytest.fixture(autouse=True)
def nothing_idle():
    buffers.release()
    yield
    buffers.release()


def test_memory_comes_back_when_the_last_tensor_is_gone():
    a = buffers.empty_rows(10, 10_000)
    place = a.data_ptr()
    view = a[3, 5:]
    del a
    assert buffers._bytes.idle == 0
    assert buffers.empty_rows(10, 10_000).data_ptr() != place
    del view
    assert buffers._bytes.idle >= 400_000
    b, c = buffers.empty_rows(10, 10_000), buffers.empty_rows(10, 10_000)
    assert place in (b.data_ptr(), c.data_ptr()) and b.data_ptr() != c.data_ptr()


def test_a_little_less_fits_into_the_same_memory():
    place = buffers.empty_rows(10, 10_000).data_ptr()
    smaller = buffers.empty_rows(10, 9_900)
    assert smaller.data_ptr() == place and smaller.shape == (10, 9_900) and smaller.dtype == torch.float32
    assert smaller.untyped_storage().nbytes() == 4 * 10 * 9_900


def test_small_rows_are_torchs_own():
    assert buffers.empty_rows(2, 10).shape == (2, 10)
    assert buffers._bytes.idle == 0


def test_release_gives_idle_memory_away():
    buffers.empty_rows(10, 10_000)
    assert buffers._bytes.idle > 0
    buffers.release()
    assert buffers._bytes.idle == 0


def test_a_training_step_needs_no_new_memory_after_the_first():
    node = CLIFNode(step_mode="m", backend="fused")
    x = torch.randn(10, 4, 10_000)

    def step() -> torch.Tensor:
        node.reset()
        leaf = x.clone().requires_grad_()
        node(leaf).square().sum().backward()
        assert leaf.grad is not None
        return leaf.grad.clone()

    first = step()
    idle = buffers._bytes.idle
    for _ in range(3):
        assert torch.equal(step(), first)
    assert buffers._bytes.idle == idle


def test_results_kept_by_the_caller_are_never_written_to_again():
    node = CLIFNode(step_mode="m", backend="fused")
    kept = []
    for seed in range(6):
        x = torch.randn(4, 2, 20_000, generator=torch.Generator().manual_seed(seed))
        node.reset()
        spikes = node(x)
        kept.append((x, spikes, spikes.clone()))
    for x, spikes, copy in kept:
        assert torch.equal(spikes, copy)
        node.reset()
        assert torch.equal(node(x), copy)


def test_threads_share_no_memory_in_use():
    errors = []

    def work(value: int) -> None:
        for _ in range(200):
            a = buffers.empty_rows(4, 10_000)
            a.fill_(value)
            if not bool((a == value).all()):
                errors.append(value)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors


def test_what_lies_idle_is_never_more_than_what_was_in_use_at_once():
    largest = 0
    for elements in [10_000 * k for k in (1, 2, 3, 5, 8, 13, 21, 13, 5, 1)]:
        largest = max(largest, buffers.empty_rows(10, elements).untyped_storage().nbytes())
        assert buffers._bytes.idle <= 1.13 * largest
