"""Starts a server once, for scripts/bench: prints the milliseconds until it listens, and its memory in KiB after a rest.

usage: startup.py PORT COMMAND...
"""

import pathlib
import socket
import subprocess
import sys
import time

REST = 1.5
PATIENCE = 10.0


def listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def resident(pid: int) -> int:
    """KiB of a process and its children."""
    children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    status = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    own = next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
    return own + sum(resident(int(child)) for child in children)


def main() -> None:
    port, command = int(sys.argv[1]), sys.argv[2:]
    if listens(port):
        sys.exit(f"port {port} is taken")
    began = time.monotonic()
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not listens(port):
            if server.poll() is not None or time.monotonic() - began > PATIENCE:
                sys.exit(f"{command[0]} does not listen on port {port}")
            time.sleep(0.0005)
        took = time.monotonic() - began
        time.sleep(REST)
        print(f"{took * 1000:.1f} {resident(server.pid)}")
    finally:
        server.terminate()
        try:
            server.wait(timeout=15)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


main()
