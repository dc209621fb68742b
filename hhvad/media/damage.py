"""A damaged video: its undamaged frames, and how many frames are lost between them.

Behind a picture that was hit, others are decoded from it until the next key frame. So the damaged
stretch reaches from the first picture that was hit to the next undamaged key frame.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from fractions import Fraction
from itertools import takewhile
from math import inf
from typing import Any, NamedTuple

import numpy as np

KEPT_CLOCK = 3600  # seconds: over a longer step of the clock nothing was recorded, not lost
# Codecs of whose packets each, but for single fields, holds one picture that is shown.
_ONE_PICTURE = ("h264", "hevc")


class Skipped(NamedTuple):
    """Packets that are left out between two frames, and their first and last presentation time."""

    packets: int
    first: int | None
    last: int | None

    def with_packet(self, pts: int | None) -> Skipped:
        """The same and one packet more."""
        known = [stamp for stamp in (self.first, self.last, pts) if stamp is not None]
        return Skipped(self.packets + 1, min(known, default=None), max(known, default=None))


NONE = Skipped(0, None, None)


def undamaged(container: Any, stream: Any, losses: Sequence[int]) -> Iterator[Any]:
    """The undamaged frames (PyAV's) of an open file in order, and a Skipped wherever some are lost.

    losses: the bytes of the file at which its container misses packets, ascending. What the decoder
    reports itself counts as damage, too. One thread decodes, so that the same frames come again.
    Raises PyAV's error where the file cannot be read on.
    """
    stream.codec_context.thread_count = 1
    run: _Run | None = None  # the file may start behind its first key frame
    skipped, clock = NONE, None
    for packet, is_hit in _with_losses(container.demux(stream), losses):
        if not packet.size:
            continue
        if run and packet.dts is not None and clock is not None and packet.dts < clock:
            yield from run.rest()  # another recording is appended here
            run = None
        clock = clock if packet.dts is None else packet.dts
        if run is None and packet.is_keyframe and not is_hit:
            if skipped.packets:
                yield skipped
            run, skipped = _Run(stream.codec_context, packet.pts or 0), NONE
        if run and is_hit:
            yield from run.rest(packet.pts)
            run = None
        elif run:
            frames, is_whole = run.feed(packet)
            yield from frames
            run = run if is_whole else None
        if run is None:
            skipped = skipped.with_packet(packet.pts)
    if run:
        yield from run.rest()
        for stamp in run.due:
            skipped = skipped.with_packet(stamp)
    if skipped.packets:
        yield skipped


class _Run:
    """A decoder from an undamaged key frame, shown at `start`, to the next damage."""

    def __init__(self, context: Any, start: int) -> None:
        self._context = context
        self._start = start
        self.due: set[int] = set()  # the times of packets whose frames are still to come

    def feed(self, packet: Any) -> tuple[list[Any], bool]:
        """The undamaged frames that a packet brings forth, and whether all is well so far."""
        import av

        if packet.pts is not None and packet.pts >= self._start:
            self.due.add(packet.pts)
        try:
            frames = packet.decode()
        except av.FFmpegError:
            return self.rest(packet.pts), False
        shown = self._shown(frames)
        whole = list(takewhile(self._is_whole, shown))
        if len(whole) < len(shown):
            self.rest()
        return whole, len(whole) == len(shown)

    def rest(self, end: int | None = None) -> list[Any]:
        """What the decoder still holds and is shown before `end`; it is empty then."""
        import av

        frames: list[Any] = []
        with suppress(av.FFmpegError):
            frames = self._shown(self._context.decode(None))
        self._context.flush_buffers()
        whole = takewhile(self._is_whole, frames)
        return [frame for frame in whole if end is None or frame.pts < end]

    def _shown(self, frames: Iterable[Any]) -> list[Any]:
        """Without the frames before `start`, which need pictures from before the key frame."""
        return [one for one in frames if one.pts is None or one.pts >= self._start]

    def _is_whole(self, frame: Any) -> bool:
        if frame.is_corrupt or frame.pts is None:  # filled in from its neighbours, or a rest
            return False
        earlier = {due for due in self.due if due <= frame.pts}
        self.due -= earlier
        if self._context.name not in _ONE_PICTURE or frame.interlaced_frame:
            return True
        return earlier <= {frame.pts}  # else the decoder gave up a picture without a word


def _with_losses(packets: Iterable[Any], losses: Sequence[int]) -> Iterator[tuple[Any, bool]]:
    """Each packet, and whether data is missing between its start and that of the next picture."""
    held: list[Any] = []  # of one start

    def is_hit(end: float) -> bool:
        at = bisect_left(losses, held[0].pos or 0)
        return at < len(losses) and losses[at] <= end

    for packet in packets:
        if held and (not losses or (packet.pos or 0) > (held[0].pos or 0)):
            hit = is_hit(packet.pos or 0)
            yield from ((one, hit) for one in held)
            held.clear()
        held.append(packet)
    hit = bool(held) and is_hit(inf)
    yield from ((one, hit) for one in held)


class Filled(NamedTuple):
    """Presentation times of all frames, lost ones too, and the ranges [start, end) of those."""

    stamps: list[int]
    damaged: list[tuple[int, int]]


def fill(found: Iterable[int | Skipped], unit: Fraction, rate: Fraction) -> Filled:
    """Put lost frames, at the usual distance, where packets were left out.

    found: presentation times of undamaged frames, in units of `unit` seconds, in order, and what
    was left out between them. rate: frames a second where they do not tell it.
    """
    parts: list[list[int]] = [[]]
    left_out: list[Skipped] = []  # behind each part
    for one in found:
        if isinstance(one, Skipped) and left_out and not parts[-1]:
            left_out[-1] = _joined(left_out[-1], one)
        elif isinstance(one, Skipped):
            left_out.append(one)
            parts.append([])
        else:
            parts[-1].append(one)
    steps = [step for part in parts for step in np.diff(part).tolist() if step > 0]
    step = float(np.median(steps)) if steps else float(1 / rate / unit)
    stamps = list(parts[0])
    damaged: list[tuple[int, int]] = []
    for gap, after in zip(left_out, parts[1:], strict=True):
        lost = _lost(stamps[-1:], gap, after[:1], step, int(KEPT_CLOCK / unit))
        if lost:
            damaged.append((len(stamps), len(stamps) + len(lost)))
        stamps += [*lost, *after]
    return Filled(stamps, damaged)


def _joined(one: Skipped, other: Skipped) -> Skipped:
    known = [stamp for stamp in (*one[1:], *other[1:]) if stamp is not None]
    return Skipped(one.packets + other.packets, min(known, default=None), max(known, default=None))


def _lost(
    before: list[int], gap: Skipped, after: list[int], step: float, longest: int
) -> list[int]:
    """The times of the frames that are lost between two others, of which one may be absent."""
    if before and after and 0 < after[0] - before[0] <= longest:
        distance = after[0] - before[0]
        count = round(distance / step) - 1
        return [before[0] + round(distance * k / (count + 1)) for k in range(1, count + 1)]
    count = gap.packets  # the clock stepped back or far on: it does not tell
    if not before and after and gap.first is not None:
        count = round((after[0] - gap.first) / step)
    if before and not after and gap.last is not None:
        count = round((gap.last - before[0]) / step)
    if before:
        return [before[0] + round(step * k) for k in range(1, count + 1)]
    return [after[0] - round(step * k) for k in range(count, 0, -1)] if after else []
