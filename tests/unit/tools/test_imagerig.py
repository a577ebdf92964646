"""scripts/test_images finds forbidden content, and reports a missing requirement in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tools.imagerig import machine
from tools.imagerig.compose import services
from tools.imagerig.inspection import SOURCE, findings

pytestmark = pytest.mark.tools

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = "opt/venv/lib/python3.11/site-packages"
CONFIG: dict[str, Any] = {
    "User": "10001:10001",
    "Env": ["PATH=/usr/bin"],
    **{key: ["given"] for key in ("Healthcheck", "Labels", "Volumes", "Entrypoint", "Cmd")},
}


def found(root: Path, target: str = "worker", **changes: Any) -> list[str]:
    steps = changes.pop("steps", [])
    history = [{"created_by": step} for step in steps]
    return findings(root, target, {"config": {**CONFIG, **changes}, "history": history})


def put(root: Path, place: str, content: bytes = b"", mode: int = 0o644) -> None:
    path = root / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(mode)


def test_an_image_as_it_should_be_is_left_in_peace(tmp_path: Path) -> None:
    put(tmp_path, f"{SOURCE}/app/cli.py")
    put(tmp_path, f"{SOURCE}/models/checkpoints/demo/base.safetensors", bytes(1_000_000))
    put(tmp_path, "opt/triton/cc", mode=0o755)
    put(tmp_path, "data/anything", mode=0o666)
    put(tmp_path, f"{PACKAGES}/library/docs.json", b"-----BEGIN RSA PRIVATE KEY-----")
    assert found(tmp_path) == []


@pytest.mark.parametrize(
    ("place", "content", "mode", "fault"),
    [
        ("usr/bin/x86_64-linux-gnu-gcc-12", b"", 0o755, "compiler"),
        ("usr/lib/gcc/12/cc1", b"", 0o755, "compiler"),
        ("weights/model.safetensors", bytes(300_000), 0o644, "weights"),
        (f"{SOURCE}/models/checkpoints/demo.pt", bytes(24_100_000), 0o644, "weights of the demo"),
        (f"{SOURCE}/.env", b"", 0o644, "secret"),
        ("etc/pip.conf", b"", 0o644, "secret"),
        ("tmp/left", b"-----BEGIN PRIVATE KEY-----", 0o644, "secret"),
        (f"{SOURCE}/tests/test_api.py", b"", 0o644, "test"),
        ("srv/other", b"", 0o666, "writable"),
    ],
)
def test_forbidden_content_of_an_image_is_found(
    tmp_path: Path, place: str, content: bytes, mode: int, fault: str
) -> None:
    put(tmp_path, place, content, mode)
    (said,) = found(tmp_path)
    assert said.startswith(fault)


def test_the_api_has_no_torch(tmp_path: Path) -> None:
    put(tmp_path, f"{PACKAGES}/torch/__init__.py")
    assert found(tmp_path) == []
    assert found(tmp_path, "api") == ["package that the api must not need: torch"]


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"User": "root"}, "config has the user 'root'"),
        ({"Healthcheck": None}, "config has no Healthcheck"),
        ({"Env": ["HF_TOKEN=hf_x"]}, "config has a secret in its environment: HF_TOKEN"),
        ({"steps": ["RUN pip --index-url x"]}, "history tells of an index"),
    ],
)
def test_a_wrong_description_is_found(tmp_path: Path, changes: dict[str, Any], fault: str) -> None:
    (said,) = found(tmp_path, **changes)
    assert said.startswith(fault)


def test_compose_is_read_with_its_defaults() -> None:
    read = services(ROOT / "docker-compose.yml")
    workers = {f"{kind}-worker" for kind in ("fetch", "cpu", "finish", "webhook", "demo")}
    assert {"redis", "api"} | workers <= set(read)
    targets = {name: service.target for name, service in read.items()}
    assert targets.pop("redis") is None
    assert targets.pop("api") == "api"
    assert set(targets.values()) == {"worker"}
    assert read["demo-worker"].environment == {
        "REDIS_URL": "redis://redis:6379/0",
        "CHECKPOINT": "demo",
    }
    assert read["api"].secrets == {"redis_password": "/run/secrets/redis_password"}
    assert "$$" not in str(read["redis"].command)


def test_a_missing_tool_is_named_with_its_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("shutil.which", lambda tool: None if tool == "buildah" else tool)
    with pytest.raises(SystemExit, match="buildah is missing: apt-get install buildah"):
        machine.require(["api"], tmp_path)


def test_a_user_other_than_root_gets_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(SystemExit, match="needs root"):
        machine.require(["api"], tmp_path)
