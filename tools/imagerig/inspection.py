"""Finds forbidden content of an image in its root file system, its configuration and its history.

Each finding is one line.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SOURCE = "srv/flux-controlnet"
_PACKAGES = "opt/venv/lib/python3.11/site-packages"
_DEMO = f"{SOURCE}/models/"
"""Where the demo checkpoint's weights are source like any other."""
_DEMO_BYTES = 24_000_000
_WRITABLE = ("data", "weights", "tmp", "var/tmp", "dev", "proc", "run/lock")
_COMPILER = re.compile(
    r"(.*-)?(gcc|g\+\+|c\+\+|cc|cc1|cc1plus|cpp|clang|clang\+\+|tcc|ld|as|make|rustc|nvcc)(-[\d.]+)?"
)
_STAND_IN_CC = "opt/triton/cc"
_WEIGHTS = re.compile(r".*\.(safetensors|ckpt|pth?|gguf|onnx|tflite|h5|msgpack|bin)")
_LEAST_WEIGHTS = 256 * 1024
_SECRET_NAME = re.compile(
    r"\.env|\.netrc|id_(rsa|ed25519)|pip\.conf|hf_token|redis_password|api-key"
)
_SECRET_TEXT = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----|hf_[A-Za-z0-9]{30}|SG_[0-9a-f]{16}")
_SECRET_VARIABLE = re.compile(r"(TOKEN|PASSWORD|SECRET|KEY)=")
_TEST = re.compile(r"(tests?|conftest\.py|test_.*)")
_INDEX = re.compile(r"index-url|://[^/\s]*@|find-links")


def findings(root: Path, target: str, description: dict[str, Any]) -> list[str]:
    """Everything wrong with the image of this target, whose files are below `root`.

    description: its config and history (Store.inspect).
    """
    steps = [step.get("created_by", "") for step in description["history"]]
    return [
        *_misconfigured(description["config"]),
        *(f"history tells of an index: {step}" for step in steps if _INDEX.search(step)),
        *_wrong_files(root),
        *(_torch(root) if target == "api" else []),
    ]


def _misconfigured(config: dict[str, Any]) -> Iterator[str]:
    for name in ("Healthcheck", "Labels", "Volumes", "Entrypoint", "Cmd"):
        if not config.get(name):
            yield f"config has no {name}"
    if config.get("User") != "10001:10001":
        yield f"config has the user {config.get('User')!r}"
    for variable in config["Env"]:
        if _SECRET_VARIABLE.search(variable):
            yield f"config has a secret in its environment: {variable.split('=')[0]}"


def _wrong_files(root: Path) -> Iterator[str]:
    demo_bytes = 0
    for path, status in _files(root):
        place = str(path.relative_to(root))
        if _COMPILER.fullmatch(path.name) and status.st_mode & 0o111 and place != _STAND_IN_CC:
            yield f"compiler: {place}"
        if _WEIGHTS.fullmatch(path.name) and status.st_size >= _LEAST_WEIGHTS:
            if place.startswith(_DEMO):
                demo_bytes += status.st_size
            else:
                yield f"weights: {place}, {status.st_size} bytes"
        # Packages are what their index has, by hash, and their documentation shows example keys.
        own = not place.startswith(_PACKAGES)
        if _SECRET_NAME.fullmatch(path.name) or (own and _has_secret(path, status)):
            yield f"secret: {place}"
        if place.startswith((SOURCE, f"{_PACKAGES}/pytest")) and any(
            _TEST.fullmatch(part) for part in Path(place.removeprefix(_PACKAGES)).parts
        ):
            yield f"test: {place}"
        if not place.startswith(_WRITABLE) and _is_writable(status):
            yield f"writable by the image's user: {place}"
    if demo_bytes > _DEMO_BYTES:
        yield f"weights of the demo: {demo_bytes} bytes"


def _files(root: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """The regular files; links say nothing that their targets do not."""
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder, name)
            status = path.lstat()
            if stat.S_ISREG(status.st_mode):
                yield path, status


def _has_secret(path: Path, status: os.stat_result) -> bool:
    """Small files only."""
    small = status.st_size < 64 * 1024
    return small and _SECRET_TEXT.search(path.read_bytes()) is not None


def _is_writable(status: os.stat_result) -> bool:
    own = status.st_uid == 10001 and status.st_mode & stat.S_IWUSR
    group = status.st_gid == 10001 and status.st_mode & stat.S_IWGRP
    return bool(own or group or status.st_mode & stat.S_IWOTH)


def _torch(root: Path) -> Iterator[str]:
    for name in ("torch", "nvidia", "triton", "diffusers", "transformers", "numpy"):
        if (root / _PACKAGES / name).exists():
            yield f"package that the api must not need: {name}"
    for name in ("worker", "models/checkpoints"):
        if (root / SOURCE / name).exists():
            yield f"source that the api must not need: {name}"
