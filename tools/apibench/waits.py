"""Measures the longest wait for /health/live until standard input ends, in its own process.

Usage: python -m tools.apibench.waits PORT
Prints a line when it has started, and the milliseconds at the end.
"""

from __future__ import annotations

import http.client
import select
import sys
import time

_PAUSE_S = 0.002


def longest_wait_ms(port: int) -> float:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.connect()
    print("polling", flush=True)
    longest = 0.0
    while not select.select([sys.stdin], [], [], _PAUSE_S)[0]:
        began = time.perf_counter()
        connection.request("GET", "/health/live")
        answer = connection.getresponse()
        answer.read()
        longest = max(longest, time.perf_counter() - began)
        assert answer.status == 200
    connection.close()
    return longest * 1000


if __name__ == "__main__":
    print(longest_wait_ms(int(sys.argv[1])))
