"""`scripts/up` before anything is started."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from app.core.settings import Settings
from app.standalone.supervisor import Supervisor, UpOptions


@pytest.mark.parametrize(
    ("host", "authority"),
    [("127.0.0.1", "127.0.0.1:{}"), ("::1", "[::1]:{}"), ("localhost", "localhost:{}")],
)
def test_a_port_that_is_taken_is_named_as_a_url_has_it(
    tmp_path: Path, host: str, authority: str
) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as taken:
        taken.bind((host, 0))
        taken.listen()
        port = taken.getsockname()[1]
        options = UpOptions(host, port, None)
        with pytest.raises(SystemExit) as stopped:
            Supervisor(options, Settings(data_dir=tmp_path)).run()
    assert stopped.value.code == 78
    assert str(stopped.value) == (
        f"up: cannot listen on {authority.format(port)}: Address already in use"
    )
    assert options.authority == authority.format(port)


@pytest.mark.parametrize(
    ("host", "key", "url"),
    [
        ("127.0.0.1", "SG_abc", "http://127.0.0.1:8000/#key=SG_abc"),
        ("127.0.0.1", "a#b&c %", "http://127.0.0.1:8000/#key=a%23b%26c%20%25"),
        ("127.0.0.1", "", "http://127.0.0.1:8000/"),
        ("0.0.0.0", "SG_abc", "http://127.0.0.1:8000/#key=SG_abc"),
        ("::", "", "http://[::1]:8000/"),
    ],
)
def test_the_address_of_the_page_has_a_key_that_may_be_shown(host: str, key: str, url: str) -> None:
    assert UpOptions(host, 8000, None).page_url(key) == url
