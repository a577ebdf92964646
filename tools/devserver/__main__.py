"""`scripts/dev`: the whole server with a stub of the model, restarted when its code changes.

Usage: python -m tools.devserver [--port P] [--data-dir D] [--seconds S]
Redis keeps running over a change; requests that a worker had in hand are taken up again. Ready
within seconds, since no model is loaded: a picture is one colour and takes S seconds.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import time
from pathlib import Path

from app.core.settings import Settings, load_settings
from app.core.system.private_files import mask_others
from app.core.telemetry import logs
from app.standalone.children import stop
from app.standalone.supervisor import Supervisor, UpOptions
from tools.devserver.sources import Sources

log = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parents[2]
_LOOK_S = 0.5
_LEAVE_S = 2.0
"""How long a process has for requests in hand when its code has changed."""


class DevSupervisor(Supervisor):
    """The supervisor of `scripts/up` with another gpu worker and one cpu worker."""

    def __init__(self, options: UpOptions, settings: Settings, picture_s: float) -> None:
        super().__init__(options, settings)
        serving = {child.name: child for child in self._serving}  # one of each name
        stub = [sys.executable, "-m", "tools.chaos.stub_worker", str(picture_s)]
        serving["gpu worker"].command = stub
        self._serving = list(serving.values())
        self._sources = Sources([ROOT / name for name in ("app", "models", "worker")])
        self._look_at = 0.0

    def _restart_dead(self) -> None:
        if time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + _LOOK_S
            if changed := self._sources.changed():
                log.info("%s changed: restarting", changed[0].relative_to(ROOT))
                self._restart_serving()
        super()._restart_dead()

    def _restart_serving(self) -> None:
        stop(self._serving, signal.SIGTERM, _LEAVE_S)
        stop(self._serving, signal.SIGKILL, _LEAVE_S)
        for child in self._serving:
            child.restart_at = 0.0
            child.start()


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/dev")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--data-dir", type=Path, default=ROOT / "data" / "dev")
    parser.add_argument("--seconds", type=float, default=1.0, help="of a picture")
    arguments = parser.parse_args()
    os.environ.setdefault("GRACE_S", str(_LEAVE_S))  # for the children
    settings = load_settings(data_dir=arguments.data_dir)
    logs.install("dev", settings.log_level, settings.log_format)
    mask_others()
    options = UpOptions(arguments.host, arguments.port, None, show_key=True)
    return DevSupervisor(options, settings, arguments.seconds).run()


if __name__ == "__main__":
    sys.exit(main())
