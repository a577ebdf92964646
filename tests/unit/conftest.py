"""A Redis client that is empty at the start of each test, time zones far from UTC, and tiny
networks that are made once.

torch is imported by the fixtures that need it, so that the other tests start without it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from redis import Redis

from app.core.redis.connection import connect
from tests.support.time_zones import AHEAD, BEHIND, time_zone

if TYPE_CHECKING:
    from models.checkpoints import Checkpoint, LoadedCheckpoint


@pytest.fixture
def redis(redis_server: str) -> Iterator[Redis]:
    client = connect(redis_server)
    client.flushall()
    yield client
    client.close()


@pytest.fixture(scope="session")
def stand_in_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """The saved weights of a tiny FLUX-shaped checkpoint; its files must not be changed."""
    from tools.stand_in import stand_in as random_weights

    return random_weights(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="session")
def stand_in(stand_in_checkpoint: Checkpoint) -> LoadedCheckpoint:
    """The same, loaded once for all tests; what a test changes in it, it puts back."""
    import torch

    from models.checkpoints import load

    return load(stand_in_checkpoint, torch.device("cpu"))


@pytest.fixture(params=[AHEAD, BEHIND], ids=["ahead of UTC", "behind UTC"])
def far_from_utc(request: pytest.FixtureRequest) -> Iterator[None]:
    """The process is in a time zone in which it is another hour, and in one of the two another day,
    than in UTC."""
    with time_zone(request.param):
        yield
