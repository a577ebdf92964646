"""Runs the full differential test of the picture decoder (tests/support/differential).

Files of every kind, made by encoders other than Pillow, are compared with the encoded pixels or
with libvips. `--seed N` encodes another picture of another size. Ends with the figures of
docs/security.md; exit code 1 when an accepted file has wrong pixels.
"""

from __future__ import annotations

import argparse
import faulthandler
import sys
import time

from tests.support.differential.catalogue import all_cases
from tests.support.differential.comparison import compare
from tests.support.differential.report import report


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/fuzz decode", description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    faulthandler.enable()  # a decoder that crashes should say where
    start = time.monotonic()
    verdicts = [compare(case) for case in all_cases(arguments.seed)]
    print(report(verdicts))
    print(f"{time.monotonic() - start:.0f} s")
    sys.exit(any(verdict.wrong for verdict in verdicts))


if __name__ == "__main__":
    main()
