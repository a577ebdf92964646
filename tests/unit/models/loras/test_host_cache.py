"""The LoRAs in host memory: by content, bounded."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.errors import LoraError
from models.loras.host_cache import LoraCache
from tools.stand_in_loras import random_lora, save_lora

pytestmark = pytest.mark.torch

SHAPES = {"proj_out": (100, 100)}
BYTES = 4 * 4 * (100 + 100)


def test_a_file_is_read_once_and_the_least_recently_used_goes_first(tmp_path: Path) -> None:
    cache = LoraCache(tmp_path, 2 * BYTES + 1000)
    loras = [
        save_lora(tmp_path, name, random_lora(SHAPES, 4, seed)) for seed, name in enumerate("abc")
    ]
    a, b, c = loras
    first = cache.get(a)
    assert first.bytes == BYTES
    assert cache.get(a) is first
    cache.get(b)
    assert cache.get(a) is first
    cache.get(c)  # b goes
    assert cache.get(a) is first
    (tmp_path / "a.safetensors").unlink()
    (tmp_path / "b.safetensors").unlink()
    assert cache.get(a) is first
    with pytest.raises(LoraError, match="LoRA b cannot be applied: this worker has no such file"):
        cache.get(b)


def test_a_replaced_file_is_another_lora(tmp_path: Path) -> None:
    cache = LoraCache(tmp_path, 10 * BYTES)
    old = save_lora(tmp_path, "style", random_lora(SHAPES, 4, 1))
    before = cache.get(old)
    new = save_lora(tmp_path, "style", random_lora(SHAPES, 4, 2))
    assert cache.get(new) is not before
    assert cache.get(old) is before
    with pytest.raises(LoraError, match="its file was replaced after the request was submitted"):
        LoraCache(tmp_path, 10 * BYTES).get(old)


def test_a_file_larger_than_the_cache_is_refused(tmp_path: Path) -> None:
    lora = save_lora(tmp_path, "style", random_lora(SHAPES, 4, 1))
    with pytest.raises(LoraError, match="its file is larger than LORAS_CACHE_BYTES"):
        LoraCache(tmp_path, BYTES).get(lora)


@pytest.mark.parametrize("name", ["gone", "../style", "/etc/passwd"])
def test_an_unknown_name_is_refused(tmp_path: Path, name: str) -> None:
    lora = save_lora(tmp_path, "style", random_lora(SHAPES, 4, 1))
    with pytest.raises(LoraError, match="this worker has no such file in LORAS_DIR"):
        LoraCache(tmp_path, 10 * BYTES).get(type(lora)(name, 1.0, lora.sha256))


def test_without_a_folder_there_are_no_loras(tmp_path: Path) -> None:
    lora = save_lora(tmp_path, "style", random_lora(SHAPES, 4, 1))
    with pytest.raises(LoraError, match=r"this worker has no folder of LoRAs \(LORAS_DIR\)"):
        LoraCache(None, 10 * BYTES).get(lora)
