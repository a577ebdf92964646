"""The cache: bounded by bytes, with eviction of the least recently used results."""

from __future__ import annotations

import pytest
import torch

from models.cache import TensorCache, Tensors

pytestmark = pytest.mark.torch


class Encoder:
    def __init__(self) -> None:
        self.calls: list[str] = []

    def of(self, key: str, count: int = 1) -> Tensors:
        self.calls.append(key)
        return tuple(torch.zeros(25) for _ in range(count))  # 100 bytes each


def test_a_cached_result_is_not_computed_again() -> None:
    cache, encoder = TensorCache(1000), Encoder()
    first = cache.get("a", lambda: encoder.of("a"))
    assert cache.get("a", lambda: encoder.of("a")) is first
    assert encoder.calls == ["a"]


def test_the_least_recently_used_result_is_evicted_first() -> None:
    cache, encoder = TensorCache(250), Encoder()
    for key in ("a", "b", "a", "c", "a", "b"):
        cache.get(key, lambda key=key: encoder.of(key))  # type: ignore[misc]
    assert encoder.calls == ["a", "b", "c", "b"]


def test_a_result_that_does_not_fit_is_returned_and_not_cached() -> None:
    cache, encoder = TensorCache(250), Encoder()
    cache.get("small", lambda: encoder.of("small"))
    assert len(cache.get("large", lambda: encoder.of("large", 3))) == 3
    for key in ("large", "small"):
        cache.get(key, lambda key=key: encoder.of(key, 3))  # type: ignore[misc]
    assert encoder.calls == ["small", "large", "large", "small"]
