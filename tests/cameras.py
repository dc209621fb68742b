"""Cameras for tests: a real RTSP server, and HTTP ones that misbehave as they are told."""

from __future__ import annotations

import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import numpy as np
from PIL import Image

FPS = 25


def pictures(count: int, size: tuple[int, int], seed: int = 0) -> Iterator[np.ndarray]:
    """Pictures that all differ: noise that moves to the right, and down when it is round."""
    width, height = size
    noise = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    base = noise.repeat(8, axis=0).repeat(8, axis=1)
    for number in range(count):
        yield np.roll(base, (number // width, 3 * number), axis=(0, 1))


def write_video(
    path: Path, count: int, size: tuple[int, int] = (160, 120), gop: int = 10, seed: int = 0
) -> Path:
    """A video of H.264 with a key frame every `gop` frames."""
    form = "mpegts" if path.suffix == ".ts" else None
    with av.open(str(path), "w", format=form) as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.options = {"g": str(gop), "keyint_min": str(gop), "bf": "0", "sc_threshold": "0"}
        for picture in pictures(count, size, seed):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode())
    return path


def frames_of(path: Path) -> list[bytes]:
    """The decoded pictures of a file, as bytes; raises where one does not decode."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="gray").tobytes() for frame in container.decode(video=0)]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RtspServer:
    """`rtsp-server` of aio-rtsp-toolkit on a folder of videos, each played again and again."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = shutil.which("rtsp-server", path=f"{Path(sys.executable).parent}:/usr/bin")
        if command is None:
            raise FileNotFoundError("rtsp-server")
        control = free_port()
        words = [command, "-d", ".", "-H", "127.0.0.1", "-p", str(self.port), "-cp", str(control)]
        self.process = subprocess.Popen(
            words, cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_until(self._answers, 20)

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 0.2).close()
        except OSError:
            return False
        return True

    def url(self, name: str, login: str = "") -> str:
        return f"rtsp://{login}127.0.0.1:{self.port}/{name}"

    def signal(self, number: int) -> None:
        if self.process is not None:
            os.kill(self.process.pid, number)

    def stop(self) -> None:
        if self.process is not None:
            self.signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()
            self.process = None


@contextmanager
def http_camera(serve: Callable[[BaseHTTPRequestHandler, int], None]) -> Iterator[str]:
    """An HTTP camera: `serve` answers each request, of which it gets the number."""
    lock, count = threading.Lock(), iter(range(10**6))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with lock:
                number = next(count)
            try:
                serve(self, number)
            except OSError:
                self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/live"
    finally:
        server.shutdown()
        server.server_close()


def send_jpegs(
    handler: BaseHTTPRequestHandler, size: tuple[int, int], count: int, wait: float = 0.04
) -> None:
    """An MJPEG stream, a part per picture."""
    if not getattr(handler, "has_begun", False):
        handler.send_response(200)
        handler.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        handler.end_headers()
        handler.has_begun = True  # type: ignore[attr-defined]
    for picture in pictures(count, size):
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "JPEG", quality=80)
        data = buffer.getvalue()
        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
        handler.wfile.write(head.encode() + data + b"\r\n")
        handler.wfile.flush()
        time.sleep(wait)


def wait_until(holds: Callable[[], object], seconds: float) -> None:
    """Wait until something holds; AssertionError after so many seconds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def now() -> datetime:
    return datetime.now(UTC)
