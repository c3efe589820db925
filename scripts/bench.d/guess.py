"""Tries wrong stream keys from one address, and meanwhile publishes with a right one from another, for scripts/bench.

usage: guess.py RTMP_PORT KEY ATTEMPTS

Prints one JSON object: the seconds that the attempts took, how each was answered, and the milliseconds from connecting to
the server's word that publishing may start for who has the key: alone, and while the other one guesses.
"""

import collections
import json
import os
import socket
import statistics
import struct
import sys
import threading
import time

PORT, KEY, ATTEMPTS = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
GUESSER, OTHER = "127.0.0.1", "127.0.0.2"
AT_A_TIME = 8
ALONE = 20  # publishes without anybody else
PATIENCE = 10  # s for an answer


def text(value: str) -> bytes:
    return b"\x02" + struct.pack(">H", len(value)) + value.encode()


def number(value: float) -> bytes:
    return b"\x00" + struct.pack(">d", value)


def message(kind: int, stream: int, payload: bytes) -> bytes:
    """In chunks of 128 bytes on chunk stream 3."""
    head = b"\x03" + b"\x00\x00\x00" + len(payload).to_bytes(3, "big") + bytes([kind]) + struct.pack("<I", stream)
    chunks = [payload[at : at + 128] for at in range(0, len(payload), 128)]
    return head + b"\xc3".join(chunks)


CONNECT = text("connect") + number(1) + b"\x03" + b"\x00\x03app" + text("live") + b"\x00\x00\x09"
CREATE = text("createStream") + number(2) + b"\x05"


def publish(source: str, key: str) -> tuple[str, float]:
    """How the server answers somebody who wants to publish, and after how many milliseconds."""
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", PORT), timeout=PATIENCE, source_address=(source, 0)) as peer:
        # What is waited for is the server, not this end's own thrift.
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer.sendall(b"\x03" + bytes(8) + os.urandom(1528))
        got = b""
        while len(got) < 1 + 2 * 1536:
            more = peer.recv(65536)
            if not more:
                return "closed in the handshake", 0
            got += more
        wanted = text("publish") + number(3) + b"\x05" + text(key) + text("live")
        peer.sendall(got[1:1537] + message(20, 0, CONNECT) + message(20, 0, CREATE) + message(20, 1, wanted))
        said = got[3073:]
        while True:
            for code in (b"NetStream.Publish.Start", b"NetStream.Publish.", b"NetConnection.Connect.Rejected"):
                if code in said:
                    answer = "let in" if code.endswith(b"Start") else "refused"
                    return answer, (time.monotonic() - began) * 1000
            more = peer.recv(65536)
            if not more:
                return "closed", (time.monotonic() - began) * 1000
            said += more


def main() -> None:
    name = f"right-{os.getpid()}"
    honest = lambda turn: publish(OTHER, f"{name}-{turn}?key={KEY}")  # noqa: E731
    alone = [honest(turn) for turn in range(ALONE)]
    answers, left, lock = collections.Counter(), iter(range(ATTEMPTS)), threading.Lock()

    def guess() -> None:
        while True:
            with lock:
                turn = next(left, None)
            if turn is None:
                return
            try:
                answer, _ = publish(GUESSER, f"show?key=wrong-{turn}")
            except OSError as error:
                answer = type(error).__name__
            with lock:
                answers[answer] += 1

    guessers = [threading.Thread(target=guess, daemon=True) for _ in range(AT_A_TIME)]
    began = time.monotonic()
    for guesser in guessers:
        guesser.start()
    beside = []
    while any(guesser.is_alive() for guesser in guessers):
        beside.append(honest(ALONE + len(beside)))
        time.sleep(0.05)
    seconds = time.monotonic() - began
    times = lambda all: [took for answer, took in all if answer == "let in"]  # noqa: E731
    print(json.dumps({
        "seconds": seconds,
        "answers": answers,
        "alone_ms": statistics.median(times(alone)),
        "beside_ms": statistics.median(times(beside)),
        "beside_worst_ms": max(times(beside)),
        "others_refused": sum(answer != "let in" for answer, _ in alone + beside),
    }))  # fmt: skip


main()
