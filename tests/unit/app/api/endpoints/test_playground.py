"""The playground: its page and files, without a key, and its absence."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from app.api.endpoints.playground import PAGE_POLICY
from app.api.http.headers import SECURITY_HEADERS
from app.core.settings import Settings
from app.main import create_app
from models.control_types import served_types
from models.evaluations import CONTROL_SHARES, evaluations_of

FOLDER = Path(__file__).resolve().parents[5] / "app" / "playground"
FILES = sorted(
    str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*.*") if path.name != "index.html"
)
TYPES = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "json": "application/json",
    "svg": "image/svg+xml",
    "webp": "image/webp",
}
PAGE_BYTES = 150_000
SAMPLE_BYTES = 25_000


@pytest.fixture
def browser(api: TestClient) -> Iterator[TestClient]:
    """A client without a key."""
    key = api.headers.pop("x-api-key")
    yield api
    api.headers["x-api-key"] = key


def client_of(redis_server: str, **settings: object) -> TestClient:
    app = create_app(Settings.model_validate({"redis_url": redis_server, **settings}))
    return TestClient(app, base_url="http://localhost:8000", raise_server_exceptions=False)


def test_the_page_needs_no_key_and_has_its_own_policy(browser: TestClient) -> None:
    page = browser.get("/")
    assert page.status_code == 200
    assert page.content == (FOLDER / "index.html").read_bytes()
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["content-security-policy"] == PAGE_POLICY
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["cache-control"] == "no-cache"


def test_the_policy_allows_no_inline_code_and_no_other_host() -> None:
    policy = dict(part.split(" ", 1) for part in PAGE_POLICY.split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["img-src"] == "'self' blob: data:"
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert "unsafe" not in PAGE_POLICY


@pytest.mark.parametrize("name", FILES)
def test_each_file_has_its_type_and_the_policy_of_the_api(browser: TestClient, name: str) -> None:
    file = browser.get(f"/playground/{name}")
    assert file.status_code == 200
    assert file.content == (FOLDER / name).read_bytes()
    assert file.headers["content-type"] == TYPES[name.rpartition(".")[2]]
    assert file.headers["x-content-type-options"] == "nosniff"
    policy = "content-security-policy"
    assert file.headers[policy] == SECURITY_HEADERS[policy]


@pytest.mark.parametrize("path", ["/", "/playground/js/main.js", "/playground/form.json"])
def test_a_head_request_has_the_headers_alone(browser: TestClient, path: str) -> None:
    whole, head = browser.get(path), browser.head(path)
    assert (head.status_code, head.content) == (200, b"")
    for name in ("content-type", "content-length", "etag", "content-security-policy"):
        assert head.headers[name] == whole.headers[name]


@pytest.mark.parametrize("path", ["/", "/playground/css/base.css", "/playground/form.json"])
def test_a_known_version_is_304(browser: TestClient, path: str) -> None:
    etag = browser.get(path).headers["etag"]
    for known in (etag, f"W/{etag}", f'"other", {etag}'):
        again = browser.get(path, headers={"if-none-match": known})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == etag
        assert again.headers["cache-control"] == "no-cache"
    assert browser.get(path, headers={"if-none-match": '"other"'}).status_code == 200


@pytest.mark.parametrize(
    "name",
    [
        *(
            "index.html",
            "nothing.js",
            "js",
            "js/",
            "%2e%2e/main.py",
            "..%2fmain.py",
            "js/../../cli.py",
        ),
        *("..%5cmain.py", "/etc/passwd", "%2fetc%2fpasswd", "js/main.js%00", "JS/MAIN.JS"),
    ],
)
def test_a_path_names_a_file_of_the_playground_or_nothing(browser: TestClient, name: str) -> None:
    missing = browser.get(f"/playground/{name}")
    assert missing.status_code == 404
    assert missing.json()["error"].startswith("Not found: /")


def test_other_methods_are_refused(browser: TestClient) -> None:
    refused = browser.post("/")
    assert refused.status_code == 405
    assert refused.headers["allow"] == "GET, HEAD"


def test_the_form_has_the_schema_of_the_openapi_document(browser: TestClient) -> None:
    form = browser.get("/playground/form.json").json()
    document = browser.get("/openapi.json").json()
    body = document["paths"]["/v2/flux-controlnet"]["post"]["requestBody"]
    assert form["schema"] == body["content"]["application/json"]["schema"]
    assert all(field["description"] for field in form["schema"]["properties"].values())
    assert form["control_types"] == list(served_types("demo"))
    assert form["credits_per_work_unit"] == 1.0
    assert form["control_share"] == CONTROL_SHARES["demo"]
    assert form["evaluations"].keys() == set(form["schema"]["properties"]["sampler"]["enum"])
    assert form["evaluations"]["euler"] == [15, 75]
    assert form["evaluations"]["dpm_2"] == [
        evaluations_of("dpm_2", "simple", steps) for steps in (15, 75)
    ]
    assert not [path for path in document["paths"] if path == "/" or "playground" in path]


def test_the_page_works_while_the_openapi_document_is_closed(redis_server: str) -> None:
    closed = client_of(
        redis_server, closed_paths="/openapi.json", credits_per_work_unit=2.5, max_pixels=9**6
    )
    assert closed.get("/openapi.json").status_code == 404
    assert closed.get("/").status_code == 200
    form = closed.get("/playground/form.json").json()
    assert "prompt" in form["schema"]["properties"]
    assert (form["credits_per_work_unit"], form["max_pixels"]) == (2.5, 9**6)


def test_a_closed_playground_is_404_and_the_api_stays(redis_server: str) -> None:
    closed = client_of(redis_server, playground="off")
    for path in ("/", "/playground/js/main.js", "/playground/form.json", "/playground"):
        for method in ("GET", "HEAD"):
            assert closed.request(method, path).status_code == 404
    assert closed.get("/").json() == {"error": "Not found: /"}
    assert closed.get("/health/live").status_code == 200
    assert closed.get("/openapi.json").status_code == 200


def test_the_page_works_below_the_path_of_the_public_url(redis_server: str) -> None:
    below = client_of(redis_server, public_url="https://pictures.example.com/flux")
    page = below.get("/flux/")
    assert page.status_code == 200
    assert below.get("/flux/playground/js/main.js").status_code == 200
    links = re.findall(r'(?:href|src)="([^"#]+)"', page.text)
    assert links
    assert not [link for link in links if link.startswith(("/", "http"))]


def test_the_page_has_no_inline_code_or_style() -> None:
    page = (FOLDER / "index.html").read_text()
    assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son[a-z]+=", page)


def test_the_page_without_pictures_is_small() -> None:
    parts = [path for path in FOLDER.rglob("*.*") if path.suffix != ".webp"]
    assert sum(path.stat().st_size for path in parts) <= PAGE_BYTES


def test_six_small_samples_have_parameters_of_the_form(browser: TestClient) -> None:
    properties = browser.get("/playground/form.json").json()["schema"]["properties"]
    samples = json.loads((FOLDER / "samples" / "samples.json").read_text())
    assert [sample["values"]["cn_type"] for sample in samples] == [
        *("pose", "pose", "depth", "depth", "canny", "canny"),
    ]
    for sample in samples:
        assert (FOLDER / "samples" / sample["file"]).stat().st_size < SAMPLE_BYTES
        assert sample["title"]
        assert sample["values"].keys() <= properties.keys()
