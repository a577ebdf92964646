"""Trigger words and base model from the metadata of a LoRA file. Torch-free.

The metadata are free texts of the trainer: modelspec fields, kohya's ss_* fields, ai-toolkit's.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

_PHRASES = ("modelspec.trigger_phrase", "trigger_phrase", "instance_prompt")
_WORD_LISTS = ("trigger_words", "ss_trigger_words")
_BASE_MODELS = (
    "modelspec.architecture",
    "ss_base_model_version",
    "ss_sd_model_name",
    "base_model",
)
_WORDS_MAX = 20
_FREQUENT_TAGS_MAX = 5
_CHARACTERS_MAX = 200


def trigger_words_of(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """Words and phrases for the prompt, without repetition; empty if the metadata name none.

    Without a field for them: the most frequent caption tag of each of kohya's data sets.
    """
    words = [metadata.get(field, "") for field in _PHRASES]
    for field in _WORD_LISTS:
        words += _list_of(metadata.get(field, ""))
    return _tidy(words)[:_WORDS_MAX] or _frequent_tags(metadata.get("ss_tag_frequency", ""))


def base_model_of(metadata: Mapping[str, str]) -> str:
    """The model that the LoRA was trained for, as the trainer spells it; "" if not said."""
    return next(iter(_tidy(metadata.get(field, "") for field in _BASE_MODELS)), "")


def _list_of(text: str) -> list[str]:
    """Of a JSON list, or of words between commas."""
    parsed = _json(text)
    if isinstance(parsed, list):
        return [word for word in parsed if isinstance(word, str)]
    return text.split(",")


def _frequent_tags(text: str) -> tuple[str, ...]:
    """text: JSON, {data set: {tag: how often}}."""
    parsed = _json(text)
    if not isinstance(parsed, dict):
        return ()
    tags = []
    for frequencies in parsed.values():
        if isinstance(frequencies, dict):
            counts = {tag: count for tag, count in frequencies.items() if isinstance(count, int)}
            tags += sorted(counts, key=lambda tag: -counts[tag])[:1]
    return _tidy(tags)[:_FREQUENT_TAGS_MAX]


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _tidy(texts: Iterable[str]) -> tuple[str, ...]:
    """On one line each, bounded, without empty ones and repetitions."""
    lines = ("".join(filter(str.isprintable, " ".join(text.split()))) for text in texts)
    return tuple(dict.fromkeys(line[:_CHARACTERS_MAX] for line in lines if line))
