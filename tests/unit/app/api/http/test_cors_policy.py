"""Which response another origin may read."""

from __future__ import annotations

import pytest
from fastapi.routing import iter_route_contexts

from app.api.http.cors_policy import EXPOSED, CorsPolicy, cors_policy, origin_of
from app.core.settings import Settings
from app.main import create_app

APP = "https://app.example"
LISTED = CorsPolicy(frozenset({APP, "http://localhost:5173"}))
ANY = CorsPolicy(frozenset({"*"}))
EXPOSE = {"access-control-expose-headers": ", ".join(EXPOSED)}
VARY = {"vary": "Origin"}

OPEN = (
    "/v1/",
    "/v2/",
    "/flux-controlnet",
    "/files/",
    "/upload-asset",
    "/uploads/",
    "/inference-request/",
    "/inference-model-information/",
)
CLOSED = ("/admin/", "/health/", "/metrics", "/openapi.json", "/playground/")


def test_without_the_setting_there_is_no_policy() -> None:
    assert cors_policy(Settings()) is None


def test_the_policy_of_the_settings() -> None:
    settings = Settings(cors_origins=(APP,), public_url="https://pictures.example/api/")
    assert cors_policy(settings) == CorsPolicy(frozenset({APP}), "/api")
    assert cors_policy(Settings(cors_origins=("*",))) == ANY


@pytest.mark.parametrize("origin", [APP, "http://localhost:5173"])
def test_a_listed_origin_is_named(origin: str) -> None:
    allowed = {"access-control-allow-origin": origin, **EXPOSE, **VARY}
    assert LISTED.headers("/v2/flux-controlnet", origin) == allowed


@pytest.mark.parametrize(
    "origin",
    [
        None,
        "",
        "null",
        "*",
        "https://app.example.evil.example",
        "https://evil-app.example",
        "https://sub.app.example",
        "http://app.example",
        "https://app.example:8443",
        "https://app.example/",
        "HTTPS://APP.EXAMPLE",
        "https://app.example:443",
        "http://localhost",
    ],
)
def test_another_origin_gets_no_allow_header(origin: str | None) -> None:
    """Browsers send an origin in one spelling, so a comparison of texts is enough."""
    assert LISTED.headers("/v2/flux-controlnet", origin) == VARY


@pytest.mark.parametrize("origin", [None, APP, "null", "chrome-extension://abc"])
def test_every_origin_gets_the_same_headers(origin: str | None) -> None:
    """Also a request without one: a browser may reuse the picture of an `img` for a script."""
    assert ANY.headers("/files/a/0.png", origin) == {"access-control-allow-origin": "*", **EXPOSE}


@pytest.mark.parametrize("policy", [LISTED, ANY])
@pytest.mark.parametrize(
    "path",
    [
        *("/admin", "/admin/keys", "/admin/keys/1/credits", "/admin/"),
        *("/metrics", "/openapi.json", "/openapi.json/", "/health/live", "/health/ready"),
        *("/", "//", "", "*", "/playground/js/main.js", "http://localhost/v2/requests/1"),
    ],
)
def test_a_closed_path_gets_no_header(policy: CorsPolicy, path: str) -> None:
    assert policy.headers(path, APP) == {}


@pytest.mark.parametrize(
    ("prefix", "path", "is_open"),
    [
        ("/api", "/api/v2/flux-controlnet", True),
        ("/api", "/v2/flux-controlnet", True),
        ("/api", "/api/admin/keys", False),
        ("/api", "/admin/keys", False),
        ("/api", "/api/", False),
        ("/admin", "/v2/flux-controlnet", True),
        ("/admin", "/admin/keys", False),
        ("/v", "/v2/flux-controlnet", True),
        ("", "/administration", True),
        ("", "/nothing", True),
    ],
)
def test_a_path_counts_with_and_without_the_prefix(prefix: str, path: str, is_open: bool) -> None:
    policy = CorsPolicy(frozenset({"*"}), prefix)
    assert bool(policy.headers(path, APP)) == is_open


def test_every_route_is_open_or_closed_on_purpose(redis_server: str) -> None:
    app = create_app(Settings(redis_url=redis_server))
    paths = {str(context.path) for context in iter_route_contexts(app.routes)}
    assert {"/flux-controlnet", "/admin/keys", "/openapi.json"} <= paths
    for path in paths - {"/"}:
        assert path.startswith(OPEN + CLOSED), path
        assert bool(ANY.headers(path, APP)) == path.startswith(OPEN), path


def test_the_origin_of_a_request() -> None:
    assert origin_of({b"origin": b"https://b\xfc.example"}) == "https://b\u00fc.example"
    assert origin_of({b"host": b"localhost"}) is None
