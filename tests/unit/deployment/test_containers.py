"""The files that make containers agree with the code, with each other and with their formats."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.core.queue import _TIMEOUT_S
from app.core.record import Stage
from app.core.settings import Settings

ROOT = Path(__file__).resolve().parents[3]
COMPOSE = ROOT / "docker-compose.yml"
IMAGES = ("api", "worker")


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    return dict(yaml.safe_load(COMPOSE.read_text())["services"])


def dockerfile() -> list[list[str]]:
    """The words of each instruction, without comments and flags."""
    lines = [
        line for line in (ROOT / "Dockerfile").read_text().splitlines() if line.strip()[:1] != "#"
    ]
    instructions = "\n".join(lines).replace("\\\n", " ").splitlines()
    return [line.split() for line in instructions if line]


def locked(name: str) -> dict[str, list[str]]:
    """`package==version` -> the words of its entry (marker and hashes), sorted."""
    text = (ROOT / name).read_text().replace("\\\n", " ")
    entries = [line.split() for line in text.splitlines() if line and line[0] != "#"]
    return {entry[0]: sorted(entry[1:]) for entry in entries}


def yaml_of_the_docs() -> list[str]:
    return re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "containers.md").read_text(), re.S)


def check_compose(text: str, folder: Path) -> None:
    file = folder / "compose.yml"
    file.write_text(text)
    checked = subprocess.run(
        [
            *(sys.executable, "-m", "check_jsonschema"),
            *("--builtin-schema", "vendor.compose-spec", str(file)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout


def test_compose_is_what_its_specification_allows(tmp_path: Path) -> None:
    check_compose(COMPOSE.read_text(), tmp_path)


def test_so_is_every_addition_in_the_docs(tmp_path: Path) -> None:
    assert yaml_of_the_docs()
    for text in yaml_of_the_docs():
        check_compose(text.replace("!override", ""), tmp_path)  # a tag of compose's own


def test_every_service_is_hardened(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert service["read_only"], name
        assert service["init"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["logging"]["options"]["max-size"], name
        assert not re.search("password|token", str(service.get("environment")), re.I), name


def test_redis_is_reached_from_inside_only(services: dict[str, Any]) -> None:
    assert "ports" not in services["redis"]
    assert services["redis"]["networks"] == ["inside"]
    assert yaml.safe_load(COMPOSE.read_text())["networks"]["inside"]["internal"]
    for name, service in services.items():
        if name != "redis":
            assert service["depends_on"]["redis"]["condition"] == "service_healthy"


def test_whoever_is_told_to_stop_may_finish_its_job(services: dict[str, Any]) -> None:
    def grace_s(name: str) -> int:
        minutes = re.fullmatch(r"(\d+)m", services[name]["stop_grace_period"])
        assert minutes is not None
        return 60 * int(minutes[1])

    for name in ("demo-worker", "gpu-worker"):
        assert grace_s(name) > _TIMEOUT_S[Stage.GENERATE]
    assert grace_s("cpu-worker") > max(_TIMEOUT_S[Stage.PREPARE], _TIMEOUT_S[Stage.FINISH])
    assert grace_s("api") > Settings.model_fields["sync_timeout_s"].default


def test_the_token_is_a_secret_of_the_gpu_worker_alone(services: dict[str, Any]) -> None:
    assert [name for name, service in services.items() if "hf_token" in service["secrets"]] == [
        "gpu-worker"
    ]


def test_every_name_in_the_example_means_something() -> None:
    text = (ROOT / ".env.example").read_text()
    names = re.findall(r"^#?([A-Z][A-Z0-9_]*)=", text, re.M)
    assert len(names) > 10
    known = {name.upper() for name in Settings.model_fields} | {"COMPOSE_PROFILES"}
    known |= set(re.findall(r"\$\{(\w+)", COMPOSE.read_text()))
    assert set(names) <= known
    secret = re.compile("PASSWORD|TOKEN|KEY")
    assert not any(secret.search(name) for name in names)


def test_settings_in_the_example_are_valid(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    text = (ROOT / ".env.example").read_text()
    for name, value in re.findall(r"^#?([A-Z][A-Z0-9_]*)=(.*)$", text, re.M):
        monkeypatch.setenv(name, value)
    Settings()


def test_the_base_is_pinned_and_everything_copied_exists() -> None:
    instructions = dockerfile()
    base = next(words[1] for words in instructions if words[0] == "ARG" and "BASE=" in words[1])
    assert re.fullmatch(r"BASE=\S+:[\w.-]+@sha256:[0-9a-f]{64}", base)
    copied = [words[1:-1] for words in instructions if words[0] == "COPY"]
    own = [source for sources in copied for source in sources if sources[0][:2] != "--"]
    assert own
    for source in own:
        assert list(ROOT.glob(source)), source


def test_nothing_is_sent_to_a_build_but_what_is_named() -> None:
    rules = (ROOT / ".dockerignore").read_text().split("\n")
    rules = [rule for rule in rules if rule and rule[0] != "#"]
    assert rules[0] == "*"
    for rule in rules:
        if rule[0] == "!":
            assert (ROOT / rule[1:]).exists(), rule


def test_both_images_run_as_nobody_and_are_asked_how_they_are() -> None:
    stages: dict[str, list[list[str]]] = {}
    for words in dockerfile():
        if words[0] == "FROM":
            stages[words[-1]] = []
        elif stages:
            list(stages.values())[-1].append(words)
    for image in IMAGES:
        said = {words[0]: " ".join(words[1:]) for words in stages[image]}
        assert said["USER"] == "10001:10001"
        assert said["STOPSIGNAL"] == "SIGTERM"
        assert said["ENTRYPOINT"] == '["python", "-m", "app.cli"]'
        assert '"app.cli", "health"' in said["HEALTHCHECK"]
        assert "apt-get" not in said["RUN"]
        assert "pip" not in said["RUN"]


@pytest.mark.parametrize("image", IMAGES)
def test_the_lock_of_an_image_is_a_part_of_the_lock(image: str) -> None:
    """Only then do the tests run what the images hold. CONTRIBUTING has the command."""
    everything, part = locked("requirements.lock"), locked(f"requirements-{image}.lock")
    assert part
    for package, entry in part.items():
        assert package in everything, package
        assert _hashes(entry) == _hashes(everything[package]), package


@pytest.mark.parametrize("image", IMAGES)
def test_the_lock_of_an_image_has_what_its_extras_ask_for(image: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    asked = [*project["dependencies"], *extras[image], *extras["s3"], *extras["postgres"]]
    names = {re.split(r"[^\w.-]", requirement)[0].lower() for requirement in asked}
    assert names <= {package.partition("==")[0] for package in locked(f"requirements-{image}.lock")}


def _hashes(entry: list[str]) -> list[str]:
    return [word for word in entry if word.startswith("--hash=")]
