from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tools.checks.links import main, read

pytestmark = pytest.mark.tools

OTHER = """# The other page
## What it says
## What it says
## `POST /v2/x`: a call, (with) *words*_here
<a id="by-hand"></a>
## Größe
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "other page.md").write_text(OTHER)
    (tmp_path / "picture.png").write_bytes(b"")
    return tmp_path


@pytest.mark.parametrize(
    "text",
    [
        "[file](docs/other%20page.md)",
        "[file](<docs/other page.md>)",
        "[folder](docs)",
        "![picture](picture.png)",
        "[![picture](picture.png)](docs)",
        "[heading](docs/other%20page.md#what-it-says)",
        "[its second](docs/other%20page.md#what-it-says-1)",
        "[punctuation](docs/other%20page.md#post-v2x-a-call-with-words_here)",
        "[anchor](docs/other%20page.md#by-hand)",
        "[letter](docs/other%20page.md#größe)",
        "# Own heading\n\n[it](#own-heading)",
        "[reference][one]\n\n[one]: docs",
        "[another host](https://example.org/nowhere) <someone@example.org>",
        "`[code](nowhere.md)` and `row[0][1]`",
        "```\n[code](nowhere.md)\n```",
        '<img src="picture.png">',
    ],
)
def test_a_link_that_leads_somewhere_is_accepted(root: Path, text: str) -> None:
    (root / "README.md").write_text(text)
    assert main(root) == 0


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[file](nowhere.md)", "nowhere.md: there is no such file"),
        ("[case](Picture.png)", "Picture.png: there is no such file"),
        ("![picture](nowhere.png)", "nowhere.png: there is no such file"),
        ("[![picture](nowhere.png)](docs)", "nowhere.png: there is no such file"),
        ("[outside](../)", "../: there is no such file"),
        ("[absolute](/docs)", "/docs: the path must be relative"),
        ("[heading](docs/other%20page.md#nothing)", "#nothing: there is no such heading"),
        ("[third](docs/other%20page.md#what-it-says-2)", "there is no such heading"),
        ("[own](#nothing)", "#nothing: there is no such heading"),
        ("[line](picture.png#L3)", "#L3: there is no such heading"),
        ("[reference][one]\n\n[one]: nowhere.md", "nowhere.md: there is no such file"),
        ("[reference][nowhere]", "[reference][nowhere]: the reference is not defined"),
        ("| a |\n|---|\n| [cell](nowhere.md) |", "nowhere.md: there is no such file"),
        ("> - *[deep](nowhere.md)*", "nowhere.md: there is no such file"),
        ('<a href="nowhere.md">html</a>', "nowhere.md: there is no such file"),
        ('<p>\n<img src="nowhere.png">\n</p>', "nowhere.png: there is no such file"),
    ],
)
def test_a_link_that_leads_nowhere_is_a_fault(
    root: Path, text: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "README.md").write_text(f"A page.\n\n{text}\n")
    assert main(root) == 1
    [fault, summary] = capsys.readouterr().out.splitlines()
    assert fault.startswith("README.md:")
    assert fault.endswith(reason)
    assert summary.startswith("2 pages, ")


def test_a_fault_names_the_line_of_its_paragraph(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "docs" / "page.md").write_text("# One\n\ntwo\n\n- [three](../nowhere)\n")
    assert main(root) == 1
    assert capsys.readouterr().out.startswith("docs/page.md:5: ../nowhere: ")


def test_pages_that_git_ignores_are_not_read(root: Path) -> None:
    (root / ".gitignore").write_text("/ignored/\n")
    (root / "ignored").mkdir()
    (root / "ignored" / "page.md").write_text("[file](nowhere.md)")
    assert main(root) == 0


def test_headings_of_a_page_are_its_anchors(root: Path) -> None:
    assert read(root / "docs" / "other page.md").anchors == {
        "the-other-page",
        "what-it-says",
        "what-it-says-1",
        "post-v2x-a-call-with-words_here",
        "by-hand",
        "größe",
    }
