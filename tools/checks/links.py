"""Finds broken links in the Markdown files: to a missing file or to a missing heading.

Uses no network: links to other hosts are ignored.

Usage: python -m tools.checks.links [FOLDER]
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

from markdown_it import MarkdownIt

_MARKDOWN = MarkdownIt("commonmark").enable("table")
_HTML_TARGET = re.compile(r"""\b(?:href|src)=["']([^"']+)""")
_HTML_ANCHOR = re.compile(r"""\b(?:id|name)=["']([^"']+)""")
_UNDEFINED = re.compile(r"\[[^\[\]]+\]\[[^\[\]]*\]")


@dataclass(frozen=True, slots=True)
class Page:
    """A page. links: (line, target), in order. anchors: its valid fragments."""

    links: tuple[tuple[int, str], ...]
    anchors: frozenset[str]


@cache
def read(path: Path) -> Page:
    links: list[tuple[int, str]] = []
    anchors: list[str] = []
    times: Counter[str] = Counter()
    line, in_heading = 0, False
    for token in _MARKDOWN.parse(path.read_text()):
        line = token.map[0] + 1 if token.map else line
        if token.type == "html_block":
            links += [(line, target) for target in _HTML_TARGET.findall(token.content)]
            anchors += _HTML_ANCHOR.findall(token.content)
        for part in token.children or ():
            if part.type in ("link_open", "image"):
                links.append((line, str(part.attrs.get("href") or part.attrs.get("src"))))
            elif part.type == "html_inline":
                links += [(line, target) for target in _HTML_TARGET.findall(part.content)]
                anchors += _HTML_ANCHOR.findall(part.content)
            elif part.type == "text":
                # A reference without a definition is text, not a link.
                links += [(line, text) for text in _UNDEFINED.findall(part.content)]
        if in_heading:
            words = (part.content for part in token.children or () if part.type != "html_inline")
            anchor = anchor_of("".join(words))
            anchors.append(f"{anchor}-{times[anchor]}" if times[anchor] else anchor)
            times[anchor] += 1
        in_heading = token.type == "heading_open"
    return Page(tuple(links), frozenset(anchors))


def anchor_of(heading: str) -> str:
    """The anchor that GitHub derives from a heading's text."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def fault(page: Path, target: str, root: Path) -> str | None:
    """Why a link on this page is broken; None when it is valid."""
    if _UNDEFINED.fullmatch(target):
        return "the reference is not defined"
    url = urlsplit(target)
    if url.scheme or url.netloc:
        return None
    if url.path.startswith("/"):
        return "the path must be relative"
    path = (page.parent / unquote(url.path)).resolve() if url.path else page
    if not path.is_relative_to(root) or not path.exists():
        return "there is no such file"
    if url.fragment and (path.suffix != ".md" or unquote(url.fragment) not in read(path).anchors):
        return "there is no such heading"
    return None


def faults(root: Path, pages: list[Path]) -> Iterator[str]:
    for page in pages:
        for line, target in read(page).links:
            reason = fault(page, target, root)
            if reason is not None:
                yield f"{page.relative_to(root)}:{line}: {target}: {reason}"


def main(root: Path) -> int:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.md"]
    listed = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout
    pages = [root / name for name in listed.split("\0") if name and (root / name).exists()]
    found = list(faults(root, pages))
    print(
        "\n".join([*found, f"{len(pages)} pages, {sum(len(read(p).links) for p in pages)} links"])
    )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()))
