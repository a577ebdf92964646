"""The container files agree with the code, with each other and with their formats."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.core.queueing.jobs import _TIMEOUT_S
from app.core.requests.record import Stage
from app.core.settings import Settings
from tests.unit.deployment.starting import start_of_redis

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


def stages() -> dict[str, list[list[str]]]:
    """The instructions of each stage, by its name."""
    found: dict[str, list[list[str]]] = {}
    for words in dockerfile():
        if words[0] == "FROM":
            found[words[-1]] = []
        elif found:
            list(found.values())[-1].append(words)
    return found


def locked(name: str) -> dict[str, list[str]]:
    """`package==version` -> the words of its entry (marker and hashes), sorted."""
    text = (ROOT / name).read_text().replace("\\\n", " ")
    entries = [line.split() for line in text.splitlines() if line and line[0] != "#"]
    return {entry[0]: sorted(entry[1:]) for entry in entries}


def yaml_of_the_docs(page: str) -> list[str]:
    return re.findall(
        r"^```yaml\n(.*?)^```", (ROOT / "docs" / page).read_text(), re.DOTALL | re.MULTILINE
    )


def example() -> dict[str, tuple[str, str]]:
    """Of .env.example: name -> value, and the comment above it; commented out or not."""
    found = re.findall(
        r"((?:^# .*\n)*)((?:^#?[A-Z][A-Z0-9_]*=.*\n)+)",
        (ROOT / ".env.example").read_text(),
        re.MULTILINE,
    )
    return {
        name: (value, comment)
        for comment, lines in found
        for name, value in re.findall(r"^#?([A-Z][A-Z0-9_]*)=(.*)$", lines, re.MULTILINE)
    }


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


@pytest.mark.parametrize("page", ["containers.md", "operations.md"])
def test_so_is_every_addition_in_the_docs(page: str, tmp_path: Path) -> None:
    known = set(yaml.safe_load(COMPOSE.read_text())["services"])
    assert yaml_of_the_docs(page)
    for text in yaml_of_the_docs(page):
        text = text.replace("!override", "")  # a tag of compose's own
        check_compose(text, tmp_path)
        for name, service in yaml.safe_load(text)["services"].items():
            assert name in known or service["extends"]["service"] in known


def test_each_image_is_built_by_one_service(services: dict[str, Any]) -> None:
    """Builders that build all services at once fail when two of them export one name."""
    images = {service["image"] for service in services.values() if "flux-" in service["image"]}
    assert len(images) == len(IMAGES)
    for image in images:
        using = [service for service in services.values() if service["image"] == image]
        [building] = [service for service in using if "build" in service]
        # With a profile it would not be there for those without.
        assert "profiles" not in building
        assert f"controlnet-{building['build']['target']}:" in image
        # No registry has such a tag.
        assert {service["pull_policy"] for service in using} == {"never"}


def test_one_key_cannot_occupy_all_prepare_workers(services: dict[str, Any]) -> None:
    assert services["cpu-worker"]["deploy"]["replicas"] >= 2


def test_redis_never_starts_without_a_password(services: dict[str, Any], tmp_path: Path) -> None:
    command = [part.replace("$$", "$") for part in services["redis"]["command"]]
    assert start_of_redis(command, "", tmp_path) == (78, "")
    assert start_of_redis(command, "secret", tmp_path) == (0, 'requirepass "secret"\n')


def test_every_service_is_hardened(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert service["read_only"], name
        assert service["init"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["logging"]["options"]["max-size"], name
        assert not re.search("password|token", str(service.get("environment")), re.IGNORECASE), name


def test_redis_is_reached_from_inside_only(services: dict[str, Any]) -> None:
    assert "ports" not in services["redis"]
    assert services["redis"]["networks"] == ["inside"]
    assert yaml.safe_load(COMPOSE.read_text())["networks"]["inside"]["internal"]
    for name, service in services.items():
        if name != "redis":
            assert service["depends_on"]["redis"]["condition"] == "service_healthy"


def test_a_stopped_container_has_the_grace_period_to_finish_its_job(
    services: dict[str, Any],
) -> None:
    def grace_s(name: str) -> int:
        minutes = re.fullmatch(r"(\d+)m", services[name]["stop_grace_period"])
        assert minutes is not None
        return 60 * int(minutes[1])

    for name in ("demo-worker", "gpu-worker"):
        assert grace_s(name) > Settings().generate_timeout_s
    assert grace_s("fetch-worker") > _TIMEOUT_S[Stage.FETCH]
    assert grace_s("cpu-worker") > _TIMEOUT_S[Stage.PREPARE]
    assert grace_s("finish-worker") > _TIMEOUT_S[Stage.FINISH]
    # A call of the api may wait as long as a picture takes: SYNC_TIMEOUT_S has no bound.
    assert grace_s("api") >= grace_s("gpu-worker")


def test_workers_with_a_model_back_off_before_docker_restarts_them(
    services: dict[str, Any],
) -> None:
    """Docker cannot see why a process ended, and waits for at most a minute."""
    for name in ("demo-worker", "gpu-worker", "finish-worker"):
        assert services[name]["restart"] == "unless-stopped"
        assert services[name]["command"][-2:] == ["--back-off", "600"], name


def test_the_token_is_a_secret_of_the_gpu_worker_alone(services: dict[str, Any]) -> None:
    assert [name for name, service in services.items() if "hf_token" in service["secrets"]] == [
        "gpu-worker"
    ]


def test_every_name_in_the_example_means_something() -> None:
    names = set(example())
    # What somebody must have thought about before others are let in.
    assert names >= {"REDIS_URL", "OUTPUT_METADATA", "CONTENT_FILTER", "HF_HUB_OFFLINE"}
    known = {name.upper() for name in Settings.model_fields}
    known |= {"COMPOSE_PROFILES", "HF_HUB_OFFLINE"}
    known |= set(re.findall(r"\$\{(\w+)", COMPOSE.read_text()))
    assert names <= known
    secret = re.compile("PASSWORD|TOKEN|KEY")
    assert not any(secret.search(name) for name in names)


def test_settings_in_the_example_are_valid(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name, (value, _) in example().items():
        monkeypatch.setenv(name, value)
    Settings()


def test_the_example_shows_defaults_but_where_it_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    of_compose = dict(re.findall(r"\$\{(\w+):-([^}]*)\}", COMPOSE.read_text()))
    others = {**of_compose, "COMPOSE_PROFILES": "cpu", "HF_HUB_OFFLINE": "0"}
    for name, (value, comment) in example().items():
        if name in others:
            assert value == others[name], name
            continue
        monkeypatch.delenv(name, raising=False)
        default = getattr(Settings(), name.lower())
        monkeypatch.setenv(name, value)
        shown = getattr(Settings(), name.lower())
        monkeypatch.delenv(name)
        assert (shown == default) is ("Example:" not in comment), name


def test_the_base_is_pinned_and_everything_copied_exists() -> None:
    instructions = dockerfile()
    base = next(words[1] for words in instructions if words[0] == "ARG" and "BASE=" in words[1])
    assert re.fullmatch(r"BASE=\S+:[\w.-]+@sha256:[0-9a-f]{64}", base)
    copied = [words[1:-1] for words in instructions if words[0] == "COPY"]
    own = [source for sources in copied for source in sources if sources[0][:2] != "--"]
    assert own
    for source in own:
        assert list(ROOT.glob(source)), source


def test_the_demos_weights_have_a_layer_of_their_own_below_the_source() -> None:
    copied = [words[1:-1] for words in stages()["worker"] if words[0] == "COPY"]
    own = [sources for sources in copied if sources[0][:2] != "--"]
    weights = ROOT / "models/checkpoints/demo_weights"
    assert own[0] == [str(weights.relative_to(ROOT))]
    above = [
        file
        for sources in own[1:]
        for source in sources
        for place in ROOT.glob(source)
        for file in (place.rglob("*") if place.is_dir() else [place])
    ]
    assert not any(file.is_relative_to(weights) for file in above)
    # A package that is added to models has to be named there.
    for folder in ("app", "models", "worker"):
        modules = set((ROOT / folder).rglob("*.py"))
        assert modules <= set(above), modules - set(above)


def test_only_listed_files_are_sent_to_a_build() -> None:
    rules = (ROOT / ".dockerignore").read_text().split("\n")
    rules = [rule for rule in rules if rule and rule[0] != "#"]
    assert rules[0] == "*"
    for rule in rules:
        if rule[0] == "!":
            assert (ROOT / rule[1:]).exists(), rule


def test_both_images_run_without_root_and_have_health_checks() -> None:
    for image in IMAGES:
        said = {words[0]: " ".join(words[1:]) for words in stages()[image]}
        assert said["USER"] == "10001:10001"
        assert said["STOPSIGNAL"] == "SIGTERM"
        assert said["ENTRYPOINT"] == '["python", "-m", "app.cli"]'
        assert '"app.cli", "health"' in said["HEALTHCHECK"]
        assert "apt-get" not in said["RUN"]
        assert "pip" not in said["RUN"]


def test_lines_of_a_bad_start_are_those_of_the_code() -> None:
    """What the page says that a process prints, but for its holes, is in the source."""
    page = (ROOT / "docs" / "containers.md").read_text()
    table = page.partition("## When it does not start")[2].partition("\n## ")[0]
    lines = re.findall(r"^\| (`.*?`) \|", table, re.MULTILINE)
    code = "".join(
        re.sub(r'"\n\s+f?"', "", file.read_text())
        for folder in ("app", "models", "worker")
        for file in (ROOT / folder).rglob("*.py")
    )
    printed = [line for line in lines if re.match(r"`(\.\.\.|checkpoint) ", line)]
    assert len(printed) >= 3
    for line in printed:
        for part in line.strip("`").split("..."):
            assert part in code, part


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
    written = (re.split(r"[^\w.-]", requirement)[0].lower() for requirement in asked)
    names = {re.sub(r"[-_.]+", "-", name) for name in written}
    assert names <= {package.partition("==")[0] for package in locked(f"requirements-{image}.lock")}


def _hashes(entry: list[str]) -> list[str]:
    return [word for word in entry if word.startswith("--hash=")]
