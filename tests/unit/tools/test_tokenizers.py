"""The demo's tokenizers are the same in every build."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.tools


def test_two_builds_number_their_words_alike() -> None:
    """In processes of their own: the order of a hash is another in each."""
    program = (
        "from tools.demotraining.tokenizers import clip_tokenizer, t5_tokenizer\n"
        "for tokenizer in (clip_tokenizer(), t5_tokenizer()):\n"
        "    print(sorted(tokenizer.get_vocab().items()))\n"
    )
    command = [sys.executable, "-c", program]
    builds = {
        subprocess.run(command, check=True, capture_output=True, text=True).stdout for _ in range(2)
    }
    assert len(builds) == 1
