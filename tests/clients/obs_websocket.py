"""A client for obs-websocket 5, just large enough to ask OBS how its stream is doing.

Requests and replies are JSON in unfragmented text frames (RFC 6455), over loopback, without a password.
"""

import base64
import json
import os
import socket
import struct

HELLO, IDENTIFY, IDENTIFIED, REQUEST, RESPONSE = 0, 1, 2, 6, 7
TEXT, CLOSE = 1, 8


class ObsWebSocket:
    def __init__(self, port, timeout=10):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        self.received = b""
        self._upgrade(port)
        self._message(HELLO)
        self._send({"op": IDENTIFY, "d": {"rpcVersion": 1, "eventSubscriptions": 0}})
        self._message(IDENTIFIED)

    def request(self, kind, **data):
        """The reply's data; raises RuntimeError with OBS's comment if OBS refuses."""
        self._send({"op": REQUEST, "d": {"requestType": kind, "requestId": kind, "requestData": data}})
        reply = self._message(RESPONSE)
        if not reply["requestStatus"]["result"]:
            raise RuntimeError(f"{kind}: {reply['requestStatus'].get('comment', 'refused')}")
        return reply.get("responseData", {})

    def close(self):
        self.socket.close()

    def _upgrade(self, port):
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
            f"Sec-WebSocket-Protocol: obswebsocket.json\r\n\r\n".encode()
        )
        while b"\r\n\r\n" not in self.received:
            self._receive()
        head, self.received = self.received.split(b"\r\n\r\n", 1)
        if b" 101 " not in head.split(b"\r\n")[0]:
            raise ConnectionError(f"obs-websocket answered {head[:80]!r}")

    def _message(self, op):
        """The data of the next message with this op code; others are skipped."""
        while True:
            message = json.loads(self._frame())
            if message["op"] == op:
                return message["d"]

    def _frame(self):
        kind, length = self._take(2)
        length &= 0x7F
        if length == 126:
            (length,) = struct.unpack(">H", self._take(2))
        elif length == 127:
            (length,) = struct.unpack(">Q", self._take(8))
        payload = self._take(length)
        if kind & 0x0F == CLOSE:
            raise ConnectionError("obs-websocket closed the connection")
        return payload

    def _send(self, message):
        # A client's frames are masked; a mask of zeroes is a mask.
        payload = json.dumps(message).encode()
        size = len(payload)
        length = bytes([0x80 | size]) if size < 126 else bytes([0x80 | 126]) + struct.pack(">H", size)
        self.socket.sendall(bytes([0x80 | TEXT]) + length + bytes(4) + payload)

    def _take(self, count):
        while len(self.received) < count:
            self._receive()
        taken, self.received = self.received[:count], self.received[count:]
        return taken

    def _receive(self):
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionError("obs-websocket closed the connection")
        self.received += data
