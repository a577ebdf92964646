"""The command scripts/test_images: base, builds, inspection, trial, report.

Owns the order and the folder; the other modules of this package do the work.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from tools.imagerig.inspection import findings
from tools.imagerig.machine import require
from tools.imagerig.store import Store
from tools.imagerig.trial import Trial

_ROOT = Path(__file__).resolve().parents[2]
_LARGEST_API_MB = 300


def main() -> int:
    """0 when everything is as it should be; otherwise one line a fault, or SystemExit with it."""
    options = _options()
    targets = ["api"] if options.only_api else ["api", "worker"]
    with ExitStack() as stack:
        if options.work_dir is None:
            place = stack.enter_context(tempfile.TemporaryDirectory(prefix="flux-images-"))
            options.work_dir = Path(place)
        folder: Path = options.work_dir.resolve()
        folder.mkdir(parents=True, exist_ok=True)
        require(targets, folder)
        store = Store(folder, options.mirror, options.pip_conf, options.ca)
        _say(f"buildah with the storage driver {store.driver}, in {folder}")
        store.make_base()
        faults, images = [], {}
        for target in targets:
            begun = time.monotonic()
            image = store.build(target, _ROOT)
            description = store.inspect(image)
            root = stack.enter_context(store.mounted(image))
            faults += findings(root, target, description)
            images[target] = root, description["config"]
            _say(f"image {target}: {store.size(image)}, built in {time.monotonic() - begun:.0f} s")
        if _megabytes(store.size("localhost/flux-api")) >= _LARGEST_API_MB:
            faults.append(f"image api: not below {_LARGEST_API_MB} MB")
        for fault in faults:
            _say(f"FAULT {fault}")
        if not faults:
            _say("inspected: no secret, weights, compiler or test file; only volumes are writable")
        Trial(folder / "trial", images, _say).run()
    _say("test_images: ok" if not faults else f"test_images: {len(faults)} faults")
    return 1 if faults else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/test_images", description=__doc__)
    parser.add_argument("--only-api", action="store_true", help="two minutes instead of twenty")
    parser.add_argument(
        "--work-dir", type=Path, help="for images and data; kept, so that the next run is faster"
    )
    parser.add_argument("--mirror", help="Debian mirror for debootstrap")
    parser.add_argument("--pip-conf", type=Path, help="pip.conf of the build, a build secret")
    parser.add_argument("--ca", type=Path, help="certificates for pip, a build secret: cert =")
    return parser.parse_args()


def _megabytes(size: str) -> float:
    number, unit = size.split()
    return float(number) * {"KB": 1e-3, "MB": 1, "GB": 1e3}[unit]


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
