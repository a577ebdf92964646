"""Metadata of trainers: trigger words and base model."""

from __future__ import annotations

import json

import pytest

from models.loras.lora_metadata import base_model_of, trigger_words_of


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({}, ()),
        ({"modelspec.trigger_phrase": "in the style of ink, bold"}, ("in the style of ink, bold",)),
        ({"instance_prompt": "a photo of sks dog"}, ("a photo of sks dog",)),
        ({"trigger_words": "ink, wash,ink, "}, ("ink", "wash")),
        ({"ss_trigger_words": '["ink", "wash", 3]'}, ("ink", "wash")),
        ({"trigger_phrase": "a\n b\x00\u202ec"}, ("a bc",)),
        ({"trigger_phrase": "x" * 300}, ("x" * 200,)),
        (
            {"ss_tag_frequency": json.dumps({"10_a": {"b": 1, "ink": 7}, "1_c": {"wash": 2}})},
            ("ink", "wash"),
        ),
        ({"ss_tag_frequency": '{"a": {"ink": 2}}', "trigger_phrase": "pen"}, ("pen",)),
        ({"ss_tag_frequency": '{"a": 1, "b": {"c": "d"}}'}, ()),
        ({"ss_tag_frequency": "[" * 100_000}, ()),
        ({"ss_tag_frequency": "null"}, ()),
    ],
)
def test_trigger_words(metadata: dict[str, str], words: tuple[str, ...]) -> None:
    assert trigger_words_of(metadata) == words


def test_words_are_bounded() -> None:
    many = json.dumps({str(i): {f"tag {i}": 1} for i in range(9)})
    assert len(trigger_words_of({"ss_tag_frequency": many})) == 5
    assert len(trigger_words_of({"trigger_words": ",".join(map(str, range(99)))})) == 20


def test_the_base_model_is_the_first_that_is_said() -> None:
    assert base_model_of({}) == ""
    assert base_model_of({"ss_base_model_version": "flux1", "base_model": "x"}) == "flux1"
    said = {"ss_sd_model_name": "flux1-dev.sft", "modelspec.architecture": "flux-1-dev/lora"}
    assert base_model_of(said) == "flux-1-dev/lora"
    assert base_model_of({"modelspec.architecture": " ", "base_model": "x"}) == "x"
