"""A plain HTTP server on the loopback that misbehaves on demand."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread


class Folder:
    """What a server serves, and which of its answers are bad ones."""

    def __init__(self, root: Path) -> None:
        self.root, self.lock = root, Lock()
        self.asked: Counter[str] = Counter()
        self.faults: list[tuple[str, int | str, int]] = []

    def break_(self, pattern: str, fault: int | str, times: int = 1_000_000) -> None:
        """Answer the first requests for matching paths with a status, or "cut" the connection."""
        self.faults.append((pattern, fault, times))

    def fault(self, path: str) -> int | str | None:
        """Count a request, and return what is to go wrong with it."""
        with self.lock:
            self.asked[path] += 1
            for pattern, fault, times in self.faults:
                if re.search(pattern, path) and self.asked[path] <= times:
                    return fault
        return None


@contextmanager
def http_server(folder: Folder, ranges: bool = True) -> Iterator[str]:
    """Serve a folder, with or without answers to requests for ranges of bytes."""

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, body: bool) -> None:
            path = self.path.partition("?")[0].lstrip("/")
            fault = folder.fault(path)
            file = folder.root / path
            if isinstance(fault, int):
                self.send_error(fault)
            elif not file.is_file():
                self.send_error(404)
            else:
                self.send_file(file.read_bytes(), body, fault == "cut")

        def send_file(self, data: bytes, body: bool, cut: bool) -> None:
            asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
            part = _part(asked, data) if asked and ranges else data
            self.send_response(206 if part is not data else 200)
            self.send_header("Content-Length", str(len(part)))
            self.send_header("ETag", f'"{hash(data)}"')
            self.end_headers()
            if body:
                self.wfile.write(part[: len(part) // 2] if cut else part)
            if cut:
                self.wfile.flush()
                self.connection.close()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _part(asked: re.Match[str], data: bytes) -> bytes:
    first, last = asked.groups()
    if not first:
        return bytes(bytearray(data[-int(last) :]))
    return bytes(bytearray(data[int(first) : int(last) + 1 if last else None]))
