"""LoRAs of a submission: names that the server knows, and the sums in the record."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from app.api.deps import Services
from app.api.submission.lora_files import loras_of
from app.api.submission.pictures import pictures_of
from app.api.submission.submit import Submission, submit
from app.api.wire.loras import LoraBody
from app.api.wire.requests import FluxControlNetBody, parse_body
from app.core.accounts.api_keys import Key
from app.core.errors import InvalidRequest
from models.loras.lora_folder import LoraFolder
from models.spec import Lora
from tests.support.lora_files import sha256_of, write_lora

CALLER = Key("k", "team-a", 0.0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for seed, name in enumerate(("ink", "watercolour", "water", "oil paint")):
        write_lora(tmp_path / f"{name}.safetensors", seed=seed)
    return tmp_path


@pytest.fixture
def with_loras(services: Services, folder: Path) -> Services:
    return replace(services, loras=LoraFolder(folder))


def bodies(*names: str) -> tuple[LoraBody, ...]:
    return tuple(LoraBody(name=name) for name in names)


def refusal(services: Services, *names: str) -> str:
    with pytest.raises(InvalidRequest) as refused:
        loras_of(services, bodies(*names))
    return refused.value.text


def submission(**fields: object) -> Submission:
    body = parse_body(FluxControlNetBody, {"image": "aGVsbG8=", "prompt": "x", **fields})
    return Submission(body, pictures_of(body, {}, {}))


def test_the_record_has_the_sums_of_the_files(with_loras: Services, folder: Path) -> None:
    sent = submission(loras=[{"name": "ink", "scale": 0.5}, {"name": "oil paint.safetensors"}])
    record = with_loras.requests.get(submit(with_loras, CALLER, sent))
    assert record is not None
    assert record.params.loras == (
        Lora("ink", 0.5, sha256_of(folder / "ink.safetensors")),
        Lora("oil paint", 1.0, sha256_of(folder / "oil paint.safetensors")),
    )
    write_lora(folder / "ink.safetensors", seed=9)
    record = with_loras.requests.get(submit(with_loras, CALLER, sent))
    assert record is not None
    assert record.params.loras[0].sha256 == sha256_of(folder / "ink.safetensors")


def test_an_unknown_name_is_refused_with_the_nearest_ones(with_loras: Services) -> None:
    assert refusal(with_loras, "ink", "watercolor").startswith(
        'loras[1].name: "watercolor" is not allowed; the nearest names are watercolour, water, '
    )
    both = refusal(with_loras, "Ink", "../ink")
    assert both.startswith('loras[0].name: "Ink" is not allowed; the nearest names are ink, ')
    assert '; loras[1].name: "../ink" is not allowed; the nearest names are ink, ' in both


def test_nothing_is_stored_of_a_refused_submission(with_loras: Services) -> None:
    with pytest.raises(InvalidRequest):
        submit(with_loras, CALLER, submission(loras=[{"name": "absent"}]))
    assert with_loras.redis.keys("blob:*") == []
    assert list(with_loras.requests.unfinished()) == []


def test_a_server_without_loras_refuses_every_name(services: Services, tmp_path: Path) -> None:
    without = replace(services, loras=None)
    assert loras_of(without, ()) == ()
    sentence = "loras: is not allowed; this server has no LoRAs (LORAS_DIR)"
    assert refusal(without, "ink") == sentence
    for path in (tmp_path, tmp_path / "absent"):
        empty = replace(services, loras=LoraFolder(path))
        assert refusal(empty, "ink") == 'loras[0].name: "ink" is not allowed; there is no LoRA file'


def test_a_file_that_cannot_be_read_is_refused(
    with_loras: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    sentence = "loras[0].name: ink.safetensors cannot be read: Permission denied"
    assert refusal(with_loras, "ink") == sentence


def test_what_a_file_holds_is_left_to_the_gpu_worker(with_loras: Services, folder: Path) -> None:
    (folder / "broken.safetensors").write_bytes(b"no safetensors file")
    [lora] = loras_of(with_loras, bodies("broken"))
    assert lora == Lora("broken", 1.0, sha256_of(folder / "broken.safetensors"))
