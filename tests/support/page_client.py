"""Runs one request with whichever official client is on the path, in a process of its own:
`python page_client.py BASE_URL KEY`, the parameters as JSON on standard input.

Prints JSON: the version of the client, the result of `run`, the type and digest of the file that
`run_sync` gives.
"""

from __future__ import annotations

import hashlib
import json
import sys
from importlib.metadata import version

from segmind import SegmindClient

MODEL = "flux-controlnet"


def main() -> None:
    base_url, key = sys.argv[1:]
    parameters = json.load(sys.stdin)
    client = SegmindClient(api_key=key, base_url=base_url, timeout=120)
    answer = client.run_sync(MODEL, **parameters)
    made = {
        "version": version("segmind"),
        "result": client.run(MODEL, **parameters),
        "content_type": answer.headers["content-type"],
        "sha256": hashlib.sha256(answer.content).hexdigest(),
    }
    json.dump(made, sys.stdout)


if __name__ == "__main__":
    main()
