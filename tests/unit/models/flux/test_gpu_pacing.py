"""GPU pacing: how far the host runs ahead, observed with stub events that record waits."""

from __future__ import annotations

import pytest
import torch

from models.flux.gpu_pacing import Pace

pytestmark = pytest.mark.torch


@pytest.fixture
def happened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    notes: list[str] = []

    class Event:
        made = 0

        def __init__(self) -> None:
            Event.made += 1
            self.number = Event.made

        def record(self, stream: str) -> None:
            notes.append(f"{self.number} recorded on {stream}")

        def synchronize(self) -> None:
            notes.append(f"{self.number} waited for")

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: f"the stream of {device}")
    return notes


def test_each_step_waits_for_the_one_before(happened: list[str]) -> None:
    pace = Pace(torch.device("cuda", 1))
    for _ in range(3):
        pace.step()
    assert happened == [
        "1 recorded on the stream of cuda:1",
        "2 recorded on the stream of cuda:1",
        "1 waited for",
        "3 recorded on the stream of cuda:1",
        "2 waited for",
    ]


def test_pacing_does_not_wait_for_a_cpu(happened: list[str]) -> None:
    pace = Pace(torch.device("cpu"))
    pace.step()
    pace.step()
    assert happened == []
