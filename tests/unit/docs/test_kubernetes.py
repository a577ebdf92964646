"""The example for Kubernetes, against itself and against this code. The schemas of Kubernetes are
not at hand in a test; the example was checked against them when it was written.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from starlette.responses import JSONResponse

from app.api.operations import ops
from app.commands.parser import make_parser
from app.core.queueing.jobs import GPU, Jobs
from app.core.settings import Settings
from tests.unit.deployment.starting import start_of_redis

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "docs" / "kubernetes"
Resource = dict[str, Any]
KINDS = ("fetch", "cpu", "finish", "webhook", "gpu")


def resources() -> list[Resource]:
    names = kustomization()["resources"]
    return [one for name in names for one in yaml.safe_load_all((FOLDER / name).read_text())]


def kustomization() -> Resource:
    loaded: Resource = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
    return loaded


def of_kind(*kinds: str) -> list[Resource]:
    return [one for one in resources() if one["kind"] in kinds]


def pods() -> dict[str, Resource]:
    found = of_kind("Deployment", "StatefulSet")
    return {one["metadata"]["name"]: one["spec"]["template"] for one in found}


def containers() -> Iterator[tuple[str, Resource]]:
    for name, pod in pods().items():
        [container] = pod["spec"]["containers"]
        yield name, container


def settings() -> dict[str, str]:
    [generated] = kustomization()["configMapGenerator"]
    return dict(literal.split("=", 1) for literal in generated["literals"])


def test_every_file_is_named_once() -> None:
    files = {path.name for path in FOLDER.glob("*.yaml")} - {"kustomization.yaml"}
    assert sorted(kustomization()["resources"]) == sorted(files)


def test_every_selector_matches_pods() -> None:
    labels = {name: pod["metadata"]["labels"] for name, pod in pods().items()}
    for one in of_kind("Deployment", "StatefulSet"):
        assert one["spec"]["selector"]["matchLabels"] == labels[one["metadata"]["name"]]
    for one in of_kind("Service"):
        assert one["spec"]["selector"] in labels.values()
    [scaled] = of_kind("ScaledObject")
    assert scaled["spec"]["scaleTargetRef"]["name"] in labels
    assert scaled["spec"]["minReplicaCount"] >= 1


def test_the_settings_are_settings() -> None:
    names = {name.lower() for name in settings()}
    assert names <= set(Settings.model_fields)
    given: dict[str, Any] = {name.lower(): value for name, value in settings().items()}
    assert Settings(**given).checkpoint == "flux-dev-union-pro"


def test_the_termination_grace_period_covers_a_graceful_shutdown() -> None:
    needed = float(settings()["DRAIN_S"]) + float(settings()["GRACE_S"])
    for name in pods().keys() - {"redis"}:
        assert pods()[name]["spec"]["terminationGracePeriodSeconds"] > needed


def test_probes_ask_what_is_answered() -> None:
    routes = {route.path for route in ops.router.routes if hasattr(route, "path")}
    container = dict(containers())["api"]
    # /health/ready asks for gpu workers: one that restarts would take every api out of the Service.
    for probe in ("livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["path"] == "/health/live"
    assert "/health/live" in routes


def test_the_documented_balancer_check_detects_a_draining_api() -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    [text] = re.findall(r"^http-check expect ! string '(.*)'$", page, re.MULTILINE)
    for leaving in (True, False):
        body = bytes(JSONResponse({"checks": {"api": not leaving, "redis": False}}).body)
        assert (text.encode() in body) is leaving


def test_redis_is_that_of_compose_and_never_starts_without_a_password(tmp_path: Path) -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["redis"]
    redis = dict(containers())["redis"]
    assert redis["image"] == compose["image"]
    assert start_of_redis(redis["command"], "", tmp_path) == (78, "")
    assert start_of_redis(redis["command"], "secret", tmp_path) == (0, 'requirepass "secret"\n')


def test_the_command_line_knows_the_arguments() -> None:
    for name, container in containers():
        if "args" in container:
            parsed = make_parser().parse_args(container["args"])
            assert name == f"{parsed.kind.removesuffix('s')}-worker"


def test_each_card_has_one_pod_and_scaling_reads_the_list_that_rq_writes(redis_server: str) -> None:
    from app.core.redis.connection import connect

    assert dict(containers())["gpu-worker"]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    [scaled] = of_kind("ScaledObject")
    [trigger] = scaled["spec"]["triggers"]
    with connect(redis_server) as redis:
        assert trigger["metadata"]["listName"] == Jobs(redis, 0).queue(GPU).key


def test_volumes_and_secrets_are_there() -> None:
    keys = {"redis_password", "hf_token"}
    for name, pod in pods().items():
        volumes = {one["name"]: one for one in pod["spec"]["volumes"]}
        claims = {"data"} if name == "redis" else set()
        [container] = pod["spec"]["containers"]
        assert {one["name"] for one in container["volumeMounts"]} == set(volumes) | claims
        items = volumes["secrets"]["secret"]["items"]
        assert {one["key"] for one in items} <= keys
        # A token of the cluster would be mounted inside the folder of the secrets.
        assert pod["spec"]["automountServiceAccountToken"] is False


@pytest.mark.parametrize("name", ["redis", "api", *(f"{kind}-worker" for kind in KINDS)])
def test_containers_may_do_nothing_more_than_they_need(name: str) -> None:
    context = dict(containers())[name]["securityContext"]
    assert context["readOnlyRootFilesystem"]
    assert not context["allowPrivilegeEscalation"]
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert pods()[name]["spec"]["securityContext"]["runAsNonRoot"]
    assert pods()[name]["spec"]["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
