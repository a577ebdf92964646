"""The version is the one of `app` wherever it is written: images, manifests, pages, changelog."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

from app import VERSION
from app.core.settings import Settings
from app.main import create_app

ROOT = Path(__file__).resolve().parents[3]
TEXTS = {"", ".example", ".json", ".md", ".py", ".toml", ".yaml", ".yml"}
"""Kinds of files that are searched. Locks are not: they name versions of other projects."""

NAMED = re.compile(
    r"flux-controlnet-(?:api|worker):(?:\$\{FLUX_VERSION:-)?(?P<tag>\d[\w.+-]*)"
    r"|\bnewTag: (?P<new>\S+)"
    r"|\bARG VERSION=(?P<arg>\S+)"
    r"|\bFLUX_VERSION=(?P<env>\d\S*)"
    r'|"flux-controlnet-server": "(?P<receipt>[^"]+)"'
)
"""How a file may name the version of the server."""

PLACES = {
    ".env.example": 1,
    "Dockerfile": 2,
    "docker-compose.yml": 2,
    "docs/api.md": 1,
    "docs/containers.md": 1,
    "docs/kubernetes/kustomization.yaml": 2,
}
"""The files that do, and how often."""


def named(text: str) -> list[str]:
    return [next(filter(None, found.groups())) for found in NAMED.finditer(text)]


def searched() -> list[Path]:
    """The project's own texts, tests and a local .env aside. Without git, which an unpacked archive
    of a release does not have."""
    tops = ("app", "models", "worker", "scripts", "tools", "deploy", "docs")
    inside = [path for top in tops for path in (ROOT / top).rglob("*")]
    found = [path for path in [*ROOT.iterdir(), *inside] if path.is_file()]
    return [path for path in found if path.suffix in TEXTS and path.name != ".env"]


def test_every_file_that_names_the_version_names_this_one() -> None:
    places = {str(path.relative_to(ROOT)): named(path.read_text()) for path in searched()}
    assert {place: found for place, found in places.items() if found} == {
        place: [VERSION] * times for place, times in PLACES.items()
    }


def test_the_package_takes_its_version_from_the_code() -> None:
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" not in pyproject["project"]
    assert pyproject["project"]["dynamic"] == ["version"]
    assert pyproject["tool"]["setuptools"]["dynamic"] == {"version": {"attr": "app.VERSION"}}


def test_the_changelog_begins_with_this_version() -> None:
    """As a release that has its day, or as the one that the unreleased changes will become."""
    _, _, changes = (ROOT / "CHANGELOG.md").read_text().partition("\n## ")
    released = re.match(r"\[(?P<version>[^\]]+)\] - \d{4}-\d\d-\d\d\n", changes)
    coming = re.match(r"\[Unreleased\]\n\nTo become (?P<version>[\d.]+\d)[,.]", changes)
    heading = released or coming
    assert heading is not None, changes[:80]
    assert heading["version"] == VERSION


def test_the_version_is_three_numbers() -> None:
    assert re.fullmatch(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)", VERSION)


def test_the_api_describes_itself_by_this_version(redis_server: str) -> None:
    assert create_app(Settings(redis_url=redis_server)).openapi()["info"]["version"] == VERSION


def test_the_command_line_says_it_without_an_installation(tmp_path: Path) -> None:
    """Run from a checkout there is no metadata of a package to ask."""
    isolated = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import app.cli; app.cli.main()"
    done = subprocess.run(
        [sys.executable, "-c", isolated, "--version"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout == f"flux-controlnet-server {VERSION}\n"
