"""The process of one camera: `python -m hhvad.live.record.child`, started by recorder.py.

It reads one line of JSON from its standard input, the job, and writes a line of JSON for each
thing that its parent should know: {"event": "open" | "alive" | "file" | "note" | "end", ...}. The
address, which may hold a password, comes this way and not by argument. It ends by itself when its
camera does, or when standard input says "stop" or closes: then it finishes the file that it writes.
"""

from __future__ import annotations

import errno
import json
import os
import sys
import threading
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from hhvad.clock import start_in_name, utc
from hhvad.errors import ConfigError, HHVADError, VideoError
from hhvad.live.record.cutter import Changed, Clock, Cutter, rescue
from hhvad.live.record.source import Source
from hhvad.live.watch.folder import NAMES, Folder
from hhvad.live.watch.journal import Journal

_ALIVE = 0.5  # seconds between two signs of life
_DONE = ".recorded.jsonl"  # files of a folder that are taken
_WAITING = 5.0  # seconds for the process before to end
_STOPPING = 10.0  # seconds for finishing the open file
_MEDIA = {  # what an address may make FFmpeg open: never a file of this machine
    True: "tcp,udp,tls,rtp,rtsp,rtsps,http,https,httpproxy,crypto",
    False: "file",
}


def main() -> None:
    """Do the job on standard input; never returns."""
    job = json.loads(sys.stdin.readline())
    stop = threading.Event()
    threading.Thread(target=_listen, args=(stop,), daemon=True).start()
    source = Source(job["camera"], job["address"])
    try:
        message = Child(source, Path(job["folder"]), job, stop).run()
    except (HHVADError, Changed, OSError) as error:
        message = source.hidden(_words(error))
    _say(event="end", message=message)
    sys.stdout.flush()
    os._exit(0)  # libraries may hang in their destructors


def _listen(stop: threading.Event) -> None:
    """Wait for the parent's word or its end."""
    os.read(0, 16)
    stop.set()
    time.sleep(_STOPPING)
    os._exit(1)  # it hangs in a read; what is written so far is rescued by the next run


def _say(**message: Any) -> None:
    print(json.dumps(message), flush=True)


def _words(error: Exception) -> str:
    """What went wrong, on one line."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split()) or type(error).__name__


def _journal(folder: Path) -> Journal:
    """The files that are taken, in a journal that one recorder may have at a time.

    Raises ConfigError where another keeps it for seconds.
    """
    end = time.monotonic() + _WAITING
    while True:
        try:
            return Journal(folder / _DONE)
        except ConfigError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


class Child:
    """One camera, until it ends."""

    def __init__(
        self, source: Source, folder: Path, job: dict[str, Any], stop: threading.Event
    ) -> None:
        self.source, self.folder, self.stop = source, folder, stop
        self.seconds, self.timeout = float(job["seconds"]), float(job["timeout"])
        self._alive = 0.0
        self.journal = _journal(folder)

    def run(self) -> str:
        """Record; why it ended. Raises VideoError, Changed, OSError."""
        kept, dropped = rescue(self.folder, self.source.camera)
        for path in kept:
            _say(event="note", message=f"finished {path.name}, which an earlier run left open")
            self._finished(path)
        for path in dropped:
            _say(event="note", message=f"deleted {path.name}: it held no frame")
        if not self.source.is_live:
            place = Path(self.source.address)
            return self._folder(place) if place.is_dir() else self._file(place)
        return self._live()

    def _finished(self, path: Path) -> None:
        _say(event="file", name=path.name, bytes=path.stat().st_size)

    def _sign(self) -> None:
        """Tell the parent that pictures come."""
        now = time.monotonic()
        if now - self._alive >= _ALIVE:
            self._alive = now
            _say(event="alive")

    def _live(self) -> str:
        options = {"protocol_whitelist": _MEDIA[True], "rw_timeout": str(int(self.timeout * 1e6))}
        if self.source.address.startswith("rtsp"):
            options |= {"rtsp_transport": "tcp", "timeout": str(int(self.timeout * 1e6))}
        return self._copy(self.source.address, options, Clock())

    def _copy(self, address: str, options: dict[str, str], clock: Clock) -> str:
        """Copy all packets of an address; why it ended."""
        import av

        cutter = None
        try:
            with av.open(address, options=options, timeout=self.timeout) as container:
                if not container.streams.video:
                    raise VideoError("it has no pictures")
                stream = container.streams.video[0]
                context = stream.codec_context
                # Parts of a multipart answer have no times.
                by_arrival = container.format.name == "mpjpeg"
                cutter = Cutter(
                    self.folder,
                    self.source.camera,
                    stream,
                    self.seconds,
                    clock,
                    self._finished,
                    by_arrival=by_arrival,
                )
                kind = f"{context.name} {context.width}x{context.height}"
                _say(event="open", kind=kind)
                for packet in container.demux(stream):
                    if self.stop.is_set():
                        break
                    cutter.take(packet, time.time())
                    self._sign()
            cutter.close()
        except OSError as error:
            if cutter is not None and _is_full(error):
                cutter.drop()
                raise
            if cutter is not None:
                cutter.close()
            raise VideoError(_words(error)) from None
        except (VideoError, Changed):
            if cutter is not None:
                cutter.close()
            raise
        except av.error.FFmpegError as error:
            if cutter is not None:
                cutter.close()
            late = isinstance(error, av.error.ExitError)
            message = f"no answer for {self.timeout:g} s" if late else error.strerror
            raise VideoError(message or _words(error)) from None
        return "stopped" if self.stop.is_set() else "it ended"

    def _file(self, path: Path) -> str:
        """Copy a file, whose name or content says when it was recorded."""
        options = {"protocol_whitelist": _MEDIA[False]}
        return self._copy(f"file:{path.absolute()}", options, Clock(_zero(path)))

    def _folder(self, place: Path) -> str:
        """Copy the files of a folder, and those that come into it."""
        taken = {(one["name"], one["bytes"], one["changed"]) for one in self.journal.lines}
        folder = Folder(place)
        while not self.stop.is_set():
            for clip in folder.new():
                with suppress(FileNotFoundError):
                    status = clip.path.stat()
                    key = clip.name, status.st_size, status.st_mtime_ns
                    if key in taken or self.stop.is_set():
                        continue
                    try:
                        self._file(clip.path)
                    except VideoError as error:
                        _say(event="note", message=f"{clip.name}: {error}")
                    if not self.stop.is_set():
                        names = ("name", "bytes", "changed")
                        self.journal.append(dict(zip(names, key, strict=True)))
                        taken.add(key)
            self._sign()
            self.stop.wait(1.0)
        return "stopped"


def _is_full(error: OSError) -> bool:
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def _zero(path: Path) -> float:
    """When media time 0 of a file was, seconds since 1970: by name, content, or its last change."""
    import av

    told = start_in_name(path.name, NAMES)
    try:
        with av.open(f"file:{path.absolute()}") as file:
            stream = file.streams.video[0]
            first = float((stream.start_time or 0) * stream.time_base)
            length = float(file.duration or 0) / av.time_base
            created = file.metadata.get("creation_time")
    except (av.error.FFmpegError, IndexError, TypeError) as error:
        raise VideoError(f"is not a video that can be read ({_words(error)})") from None
    if told is None and created:
        with suppress(ValueError):
            told = utc(datetime.fromisoformat(created))
    start = datetime.fromisoformat(told).timestamp() if told else path.stat().st_mtime - length
    return start - first


if __name__ == "__main__":
    main()
