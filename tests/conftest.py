"""Fixtures of the whole suite: real Redis, real HTTP, one whole server a session."""

from __future__ import annotations

import gc
import os
import re
import sys
import tempfile
from pathlib import Path

# Before torch is imported: two test processes whose threads spin against each other crawl.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# httpx parses the file of root certificates for each client: 20 ms for a usual one, 1 ms for this
# one. The only TLS in the suite is that of this certificate.
os.environ["SSL_CERT_FILE"] = str(Path(__file__).with_name("support") / "pictures.test.pem")

from collections.abc import Generator, Iterator

import pytest
from segmind import SegmindClient

from tests.support.collector import Collector, running_collector
from tests.support.logs import as_before
from tests.support.lora_files import served_loras
from tests.support.pictures import PictureHost, picture_host
from tests.support.servers import Server, running_redis, running_server

TORCH_FILE = re.compile(r"^pytestmark = .*pytest\.mark\.torch\b", re.MULTILINE)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--without-torch", action="store_true", help="leave out what is marked torch")
    parser.addoption("--screenshots", metavar="FOLDER", help="where tests/browser puts them")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """A file that is marked torch as a whole is not even imported: torch takes seconds."""
    if not config.getoption("--without-torch") or not collection_path.name.startswith("test_"):
        return None
    return bool(TORCH_FILE.search(collection_path.read_text())) or None


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Imports and collected tests stay alive, so the garbage collector need not look at them."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_unconfigure() -> None:
    gc.unfreeze()  # else libraries complain about leaks when Python ends


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A whole server has a gpu worker, so it loads torch too."""
    if not config.getoption("--without-torch"):
        return
    left_out = [item for item in items if item.get_closest_marker("torch") or _has_server(item)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def _has_server(item: pytest.Item) -> bool:
    return isinstance(item, pytest.Function) and "server" in item.fixturenames


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if collector.config.getoption("--without-torch") and "torch" in sys.modules:
        report.outcome = "failed"
        report.longrepr = f"{collector.nodeid} imports torch and is not marked torch"
    return report


@pytest.fixture(scope="session", autouse=True)
def _own_temporary_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Commands look in the temporary folder for the servers of this checkout: those of another
    test process, or of a developer, are not there."""
    tmp_path_factory.getbasetemp()  # outside, because it outlives the session
    with tempfile.TemporaryDirectory(prefix="tests-") as folder, pytest.MonkeyPatch.context() as to:
        to.setenv("TMPDIR", folder)
        to.setattr(tempfile, "tempdir", folder)
        yield


@pytest.fixture(autouse=True)
def _process_as_before() -> Iterator[None]:
    """A command that runs in this process writes to what is its standard error then, and keeps its
    files to itself."""
    mask = os.umask(0)
    os.umask(mask)
    with as_before():
        yield
    os.umask(mask)


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a Redis that no server uses."""
    with running_redis(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture(scope="session")
def collector() -> Iterator[Collector]:
    """Where the server's processes send their spans."""
    with running_collector() as running:
        yield running


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, collector: Collector) -> Iterator[Server]:
    """The whole server with the demo checkpoint, its LoRA and LoRAs that cannot be applied; it may
    fetch from 127.0.0.1. Its log is JSON."""
    data_dir: Path = tmp_path_factory.mktemp("server") / "data"
    with running_server(
        data_dir,
        FETCH_ALLOW_HOSTS="127.0.0.1",
        LOG_FORMAT="json",
        LORAS_DIR=str(served_loras(tmp_path_factory.mktemp("loras"))),
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
        OTEL_BSP_SCHEDULE_DELAY="100",
    ) as running:
        yield running


@pytest.fixture(scope="session")
def host() -> Iterator[PictureHost]:
    """A web server on 127.0.0.1 that hands out pictures."""
    with picture_host() as running:
        yield running


@pytest.fixture
def client(server: Server) -> Iterator[SegmindClient]:
    """The real client, pointed at the server."""
    segmind = SegmindClient(api_key=server.key, base_url=f"{server.url}/v1", timeout=120)
    yield segmind
    segmind._client.close()
