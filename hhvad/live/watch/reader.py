"""A thread per camera: it opens the camera's recordings in turn and decodes segments ahead."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hhvad.errors import HHVADError
from hhvad.live.watch.folder import Clip

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hhvad.artifacts.probe import Probe
    from hhvad.methods.headhunt.detector import Coming

AHEAD = 4  # segments that are decoded and wait for the model

Open = Callable[[Clip], "tuple[Probe, Coming]"]


@dataclass(frozen=True)
class Piece:
    """A segment of a recording, ready for the model; number: its place in the recording."""

    clip: Clip
    info: Probe
    coming: Coming
    number: int
    frames: NDArray[np.uint8]

    @property
    def is_last(self) -> bool:
        """Whether it is the recording's last segment."""
        return self.number == len(self.coming.bounds) - 1


@dataclass(frozen=True)
class Failed:
    """A recording that cannot be judged, or not to its end."""

    clip: Clip
    why: str


@dataclass(frozen=True)
class Dropped:
    """A recording that is left out, since newer ones wait."""

    clip: Clip


class Reader:
    """The recordings of one camera, as pieces.

    open: probes a recording and starts to decode it. begun, skip: the name of a recording of
    which so many segments are judged already. max_behind: when the newest recording that waits
    started so many seconds after the oldest, the oldest is dropped; None drops none. wake: set for
    each new piece.
    """

    def __init__(
        self,
        open: Open,
        *,
        max_behind: float | None,
        wake: threading.Event,
        begun: str = "",
        skip: int = 0,
    ) -> None:
        self._open = open
        self._max_behind = max_behind
        self._wake = wake
        self._begun, self._skip = begun, skip
        self._todo: deque[Clip] = deque()
        self._changed = threading.Condition()
        self._pieces: queue.Queue[Piece | Failed | Dropped | BaseException] = queue.Queue(AHEAD)
        self._stop = False
        self._busy = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def add(self, clip: Clip) -> None:
        """Queue a recording behind the others."""
        with self._changed:
            self._todo.append(clip)
            self._changed.notify()

    def take(self) -> Piece | Failed | Dropped | None:
        """What is ready next, None where nothing is. Raises what the thread died of."""
        try:
            found = self._pieces.get_nowait()
        except queue.Empty:
            return None
        if isinstance(found, BaseException):
            raise found
        return found

    def waiting(self) -> tuple[int, float]:
        """How many recordings wait, and by how many seconds the newest is after the oldest."""
        with self._changed:
            return len(self._todo), self._behind()

    @property
    def idle(self) -> bool:
        """Whether all that was added has been taken."""
        with self._changed:
            return not self._todo and not self._busy and self._pieces.empty()

    def stop(self) -> None:
        """End the thread, and what it decodes."""
        with self._changed:
            self._stop = True
            self._changed.notify()

    def join(self) -> None:
        """Wait a while for the end of the thread; it never outlives the process."""
        self._thread.join(timeout=5)

    def _behind(self) -> float:
        if len(self._todo) < 2:
            return 0.0
        first, last = self._todo[0].started, self._todo[-1].started
        return 0.0 if first is None or last is None else (last - first).total_seconds()

    def _next(self) -> Clip | Dropped | None:
        with self._changed:
            self._busy = False
            while not self._todo and not self._stop:
                self._changed.wait()
            if self._stop:
                return None
            late = self._max_behind is not None and self._behind() > self._max_behind
            self._busy = True
            clip = self._todo.popleft()
            return Dropped(clip) if late else clip

    def _run(self) -> None:
        try:
            while (clip := self._next()) is not None:
                if isinstance(clip, Dropped):
                    self._put(clip)
                    continue
                try:
                    for piece in self._read(clip):
                        if not self._put(piece):
                            return
                except HHVADError as error:
                    self._put(Failed(clip, " ".join(str(error).split())))
        except BaseException as error:
            self._put(error)

    def _read(self, clip: Clip) -> Iterator[Piece]:
        """A recording's pieces; the last one only when all of it has decoded without a fault."""
        info, coming = self._open(clip)
        skip = self._skip if clip.name == self._begun else 0
        held: Piece | None = None
        for number, frames in enumerate(coming.frames):
            if number < skip:
                continue
            if held is not None:
                yield held
            held = Piece(clip, info, coming, number, frames)
        if held is not None:
            yield held

    def _put(self, piece: Piece | Failed | Dropped | BaseException) -> bool:
        """Hand a piece over as soon as there is room; whether it was wanted."""
        while not self._stop:
            try:
                self._pieces.put(piece, timeout=0.2)
            except queue.Full:
                continue
            self._wake.set()
            return True
        return False
