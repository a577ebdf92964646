"""The built-in calls."""

from __future__ import annotations

import pytest

from tools.migrationcheck.calls import built_in
from tools.migrationcheck.exchanges import Auth

pytestmark = pytest.mark.tools


def test_names_are_unique_and_preprocess_is_optional() -> None:
    names = [call.name for call in built_in(preprocess=True)]
    assert len(set(names)) == len(names)
    assert set(names) - {call.name for call in built_in(preprocess=False)} == {"preprocess"}


def test_both_protocols_and_both_refusals_are_called() -> None:
    calls = list(built_in(preprocess=False))
    assert {call.path for call in calls} > {"/v1/flux-controlnet", "/v2/flux-controlnet"}
    assert {call.auth for call in calls} == set(Auth)
