"""Stand-ins of the GPU bench for packages that are not installed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

import pytest

from tools.gpubench import stand_ins

pytestmark = pytest.mark.tools


@pytest.fixture
def _without_traces() -> Iterator[None]:
    modules, finders = dict(sys.modules), list(sys.meta_path)
    yield
    for name in sys.modules.keys() - modules.keys():
        del sys.modules[name]
    sys.meta_path[:] = finders


@pytest.mark.usefixtures("_without_traces")
def test_a_missing_package_has_modules_names_and_a_version(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stand_ins, "_NOT_MEASURED", ("absent_one", "absent_two", "json"))
    monkeypatch.setattr(stand_ins, "_CHECKED", {"absent_one": "1.2.3"})
    assert stand_ins.fill_in() == ("absent_one", "absent_two")
    assert isinstance(import_module("absent_one.part.inner").Detector, type)
    assert version("absent_one") == "1.2.3"
    with pytest.raises(PackageNotFoundError):
        version("absent_two")
    assert not hasattr(import_module("absent_two"), "__wrapped__")


@pytest.mark.usefixtures("_without_traces")
def test_a_blocked_import_counts_as_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httpx2", None)
    assert "httpx2" in stand_ins.fill_in()
    assert isinstance(import_module("httpx2").TransportError, type)
