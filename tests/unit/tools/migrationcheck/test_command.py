"""The command: exit codes, keys, and comparisons without a server or picture libraries."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.servers import ROOT, free_port
from tools.migrationcheck.__main__ import main
from tools.migrationcheck.recording import SHIPPED

pytestmark = pytest.mark.tools

WITHOUT_PICTURE_LIBRARIES = """
import runpy, sys
for name in ("PIL", "numpy", "cv2", "httpx", "httpcore", "scipy", "torch"):
    sys.modules[name] = None
runpy.run_module("tools.migrationcheck", run_name="__main__")
"""


def changed_copy(folder: Path) -> Path:
    """The shipped recording of the server, with a header less and another status."""
    folder.mkdir()
    for file in (SHIPPED / "server").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    lines = [json.loads(line) for line in (folder / "recording.jsonl").read_text().splitlines()]
    for line in lines[1:]:
        line["response"]["headers"].pop("x-seed-value", None)
        if line["call"] == "unknown-request":
            line["response"]["status"] = 410
    (folder / "recording.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return folder


def test_a_recording_equals_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "server", "--against", "server"]) == 0
    assert capsys.readouterr().out.endswith("16 calls, 0 differences\n")


def test_another_recording_has_its_differences_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = changed_copy(tmp_path / "other")
    assert main(["compare", "server", "--against", str(other)]) == 1
    lines = capsys.readouterr().out.splitlines()
    named = [line.split(maxsplit=3)[1:] for line in lines if line.startswith("DIFFERENT")]
    assert ["unknown-request", "response", "status   404 is now 410"] in named
    assert ["v1-jpeg", "response", "headers  x-seed-value is missing"] in named


def test_calls_that_the_other_recording_lacks_are_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["compare", "server", "--against", "published"]) == 1
    assert "there is no such response" in capsys.readouterr().out


def test_it_runs_without_picture_libraries() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            WITHOUT_PICTURE_LIBRARIES,
            "compare",
            "server",
            "--against",
            "server",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "not measured here: cv2 is not installed" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["compare", "nowhere", "--against", "server"], "nowhere has no recording.jsonl"),
        (["compare", "server", "--url", "http://127.0.0.1:1"], "the variable API_KEY"),
        (["record", "made", "--url", "http://127.0.0.1:1"], "the variable SEGMIND_API_KEY"),
        (["compare", "server", "--url", "http://a", "--key-file", "none"], "none"),
    ],
)
def test_what_cannot_run_is_exit_code_2_and_one_line(
    arguments: list[str],
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    for variable in ("API_KEY", "SEGMIND_API_KEY"):
        monkeypatch.delenv(variable, raising=False)
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert reason in line


def test_a_server_that_is_not_there_is_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("API_KEY", "a")
    assert main(["compare", "published", "--url", f"http://127.0.0.1:{free_port()}/v1"]) == 2
    assert "cannot be reached" in capsys.readouterr().err
