"""Follows the list of streams as operators' pages do, for scripts/bench, and says what it takes of the server.

usage: listen.py PID ADMIN_PORT TOKEN LISTENERS SECONDS

Prints one JSON object: the process's CPU and that of the listener's own thread, in % of a core; how much of it the look at
all streams takes, which is made once a second whoever listens; and bytes and messages a second for each listener.
"""

import json
import os
import pathlib
import socket
import sys
import threading
import time
import urllib.request

PID, PORT, TOKEN, LISTENERS, SECONDS = (
    int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4]), float(sys.argv[5]),
)  # fmt: skip
SETTLE = 2.5  # s: the first message has all streams, and is not what goes on
TICK = os.sysconf("SC_CLK_TCK")


def ticks(stat: str) -> int:
    fields = stat.rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def cpu() -> float:
    return ticks(pathlib.Path(f"/proc/{PID}/stat").read_text()) / TICK


def thread_cpu() -> float:
    threads = pathlib.Path(f"/proc/{PID}/task").iterdir()
    ours = [thread for thread in threads if (thread / "comm").read_text().startswith("admin")]
    return sum(ticks((thread / "stat").read_text()) for thread in ours) / TICK


def looked() -> float:
    """Seconds that all looks have taken so far."""
    with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    name = "headwater_admin_look_seconds_sum "
    return next(float(line.removeprefix(name)) for line in lines if line.startswith(name))


class Listener(threading.Thread):
    def __init__(self):
        super().__init__(daemon=True)
        self.bytes = self.messages = 0
        self.socket = socket.create_connection(("127.0.0.1", PORT), timeout=10)
        head = f"GET /api/v1/live HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
        self.socket.sendall(head.encode())

    def run(self):
        while True:
            got = self.socket.recv(1 << 18)
            if not got:
                sys.exit("the server closed a listener")
            self.bytes += len(got)
            self.messages += got.count(b"event: rows")


def main() -> None:
    listeners = [Listener() for _ in range(LISTENERS)]
    for listener in listeners:
        listener.start()
    time.sleep(SETTLE)
    before = (time.monotonic(), cpu(), thread_cpu(), looked(), [(one.bytes, one.messages) for one in listeners])
    time.sleep(SECONDS)
    after = (time.monotonic(), cpu(), thread_cpu(), looked())
    passed = after[0] - before[0]
    percent = lambda at: round((after[at] - before[at]) / passed * 100, 3)  # noqa: E731
    each = lambda now, then: round((now - then) / passed, 1)  # noqa: E731
    print(json.dumps({
        "cpu_percent": percent(1),
        "thread_percent": percent(2),
        "look_percent": percent(3),
        "bytes_per_second": [each(one.bytes, then[0]) for one, then in zip(listeners, before[4])],
        "messages_per_second": [each(one.messages, then[1]) for one, then in zip(listeners, before[4])],
    }))  # fmt: skip


main()
