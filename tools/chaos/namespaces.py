"""Network namespaces as hosts: the api runs in one and the workers in the others, on a bridge.

Cutting a host off takes its link down. Needs root and iproute2.
"""

from __future__ import annotations

import os
import shutil
import subprocess

from tests.support.servers import free_port
from tools.chaos.network import Network, Place


class NamespaceHosts(Network):
    def __init__(self, redis_url: str, hosts: int) -> None:
        """Raises SystemExit with one line where namespaces must not be made."""
        super().__init__(redis_url)
        # In a documentation network, with a random part so that concurrent runs rarely collide.
        self._subnet = f"198.18.{os.getpid() % 250}"
        self.outside = f"{self._subnet}.1"
        self._name = f"chaos{os.getpid() % 100_000}"
        port = free_port()
        url = f"redis://{self.outside}:{port}"
        self.redis_options = ("--port", str(port), "--bind", "0.0.0.0", "--protected-mode", "no")
        if shutil.which("ip") is None:
            raise SystemExit("chaos: --hosts needs the command ip (iproute2)")
        try:
            self._ip("link", "add", self._name, "type", "bridge")
            self._ip("addr", "add", f"{self._subnet}.1/24", "dev", self._name)
            self._ip("link", "set", self._name, "up")
            self.api, *self.hosts = (self._host(number, url) for number in range(hosts + 1))
        except subprocess.CalledProcessError as error:
            self.close()
            message = error.stderr.strip().partition("\n")[0]
            raise SystemExit(f"chaos: --hosts needs root and namespaces: {message}") from None

    def cut(self, host: int) -> None:
        self._ip("link", "set", f"{self._name}-{host + 1}", "down")

    def mend(self, host: int) -> None:
        self._ip("link", "set", f"{self._name}-{host + 1}", "up")

    def close(self) -> None:
        for place in (self.api, *self.hosts):
            if place.prefix:
                self._ip("netns", "delete", place.prefix[-1], check=False)
        self._ip("link", "delete", self._name, check=False)

    def _host(self, number: int, redis_url: str) -> Place:
        """Number 0 is the api's."""
        name, address = f"{self._name}-{number}", f"{self._subnet}.{number + 2}"
        self._ip("netns", "add", name)
        self._ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
        self._ip("link", "set", name, "master", self._name, "up")
        self._ip("-n", name, "addr", "add", f"{address}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            self._ip("-n", name, "link", "set", device, "up")
        return Place(redis_url, ("ip", "netns", "exec", name), address)

    def _ip(self, *arguments: str, check: bool = True) -> None:
        subprocess.run(["ip", *arguments], check=check, capture_output=True, text=True)
