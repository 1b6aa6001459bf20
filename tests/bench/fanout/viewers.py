"""viewers.c where there is no C compiler: the same arguments, commands and answers, at many times its cost. Delays are not measured."""

import json
import os
import select
import socket
import sys
import time
from typing import Final

IN_FLIGHT: Final = 64
LIVE: Final = b'{"type":"snapshot"'


class Viewer:
    __slots__ = ("came", "left", "live", "open", "socket")

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setblocking(False)
        self.came = b""  # the beginning of an answer, or of a frame
        self.left = 0  # bytes of the frame's payload that have not come
        self.open = self.live = False


class Crowd:
    def __init__(self, port: str, path: str, subprotocol: str, deflate: str, say: str) -> None:
        self._port = int(port)
        head = [f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", "Upgrade: websocket", "Connection: Upgrade"]
        head += ["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13"]
        head += [f"Sec-WebSocket-Protocol: {subprotocol}"] * bool(subprotocol)
        head += ["Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"] * (deflate == "1")
        self._request = "\r\n".join([*head, "", ""]).encode()
        self._say = say.encode()
        self._poll = select.epoll()
        self._viewers: dict[int, Viewer] = {}
        self._wanted, self._begun, self._pace, self._paced = 0, 0, 0.0, (0.0, 0)
        self.count = dict.fromkeys(("open", "live", "closed", "refused", "frames", "bytes"), 0)

    def run(self) -> None:
        """Until its stdin ends."""
        orders = sys.stdin.fileno()
        self._poll.register(orders, select.EPOLLIN)
        while True:
            self._open_more()
            for fd, _ in self._poll.poll(0.002 if self._begun < self._wanted else 1.0):
                if fd == orders:
                    if not (lines := os.read(orders, 65_536)):
                        return
                    for line in lines.decode().splitlines():  # whoever writes them flushes whole ones
                        self._obey(line)
                else:
                    self._take(fd, self._viewers[fd])

    def _obey(self, line: str) -> None:
        match line.split():
            case ["open", count, per_second]:
                self._wanted += int(count)
                self._pace, self._paced = float(per_second), (time.monotonic(), self._begun)
            case ["clear"]:
                self.count["frames"] = self.count["bytes"] = 0
            case _:
                delays: dict[str, dict[str, int]] = {name: {} for name in ("since_now", "since_commit", "until_live")}
                print(json.dumps({"at": time.monotonic(), **self.count, **delays}), flush=True)

    def _open_more(self) -> None:
        since, before = self._paced
        while self._begun < self._wanted:
            in_flight = self._begun - sum(self.count[name] for name in ("open", "closed", "refused"))
            if in_flight >= IN_FLIGHT or (self._pace and self._begun - before >= (time.monotonic() - since) * self._pace):
                return
            viewer = Viewer(self._port)
            viewer.socket.sendall(self._request)
            self._viewers[viewer.socket.fileno()] = viewer
            self._poll.register(viewer.socket.fileno(), select.EPOLLIN)
            self._begun += 1

    def _take(self, fd: int, viewer: Viewer) -> None:
        try:
            data = viewer.socket.recv(1 << 18)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        if not data:
            self._end(fd, viewer)
        elif viewer.open:
            self._read(viewer, viewer.came + data)
        elif not self._open(viewer, viewer.came + data):
            self._end(fd, viewer)

    def _open(self, viewer: Viewer, data: bytes) -> bool:
        """False: it was refused."""
        head, found, rest = data.partition(b"\r\n\r\n")
        viewer.came = rest if found else data
        if not found:
            return True
        viewer.open = head.startswith(b"HTTP/1.1 101 ")
        self.count["open"] += viewer.open
        if viewer.open:
            if self._say:
                self._answer(viewer, 1, self._say)
            self._read(viewer, viewer.came)
        return viewer.open

    def _read(self, viewer: Viewer, data: bytes) -> None:
        at = 0
        while at < len(data):
            if viewer.left:
                taken = min(viewer.left, len(data) - at)
                viewer.left -= taken
                at += taken
                self.count["frames"] += not viewer.left
                continue
            size = data[at + 1] & 127 if at + 1 < len(data) else 0
            start = at + {126: 4, 127: 10}.get(size, 2)
            if start > len(data):
                break
            length = int.from_bytes(data[at + 2 : start], "big") if size > 125 else size
            if data[at] & 8:  # a control frame
                if start + length > len(data):
                    break
                if data[at] & 15 == 9:
                    self._answer(viewer, 10, data[start : start + length])
                at = start + length
                continue
            if not viewer.live and (data[at] & 0x40 or not self._say or data.startswith(LIVE, start)):
                viewer.live = True
                self.count["live"] += 1
            self.count["bytes"] += length
            viewer.left, at = length, start
        viewer.came = data[at:]

    def _answer(self, viewer: Viewer, opcode: int, payload: bytes) -> None:
        """A frame that is masked with zeros, which leaves the payload as it is."""
        size = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2, "big")
        viewer.socket.sendall(bytes([0x80 | opcode]) + size + bytes(4) + payload)

    def _end(self, fd: int, viewer: Viewer) -> None:
        self._poll.unregister(fd)
        del self._viewers[fd]
        viewer.socket.close()
        self.count["closed" if viewer.open else "refused"] += 1
        self.count["open"] -= viewer.open
        self.count["live"] -= viewer.live


if __name__ == "__main__":
    Crowd(*sys.argv[1:]).run()
