"""MPEG transport streams: packets that were lost on the way to the file.

Each packet of a stream carries a counter from 0 to 15 (ISO 13818-1, 2.4.3.3). libav looks at it,
but forgets most of what it saw when it cuts the data into pictures.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

SIZES = {188: 0, 192: 4, 204: 0}  # bytes of a packet in a file, and where in it its own start is
_SYNC = 0x47
_AT_ONCE = 1 << 16  # packets


def losses(path: str | Path, stream: int) -> list[int]:
    """Where in the file, in bytes, packets of a stream are missing or marked as damaged.

    stream: its id (PID). Files whose packets are of no known size have no such places.
    """
    found: list[int] = []
    with Path(path).open("rb") as file:
        last = -1
        for start, packets in _packets(file):
            mine = np.flatnonzero((packets[:, 1] & 0x1F) * 256 + packets[:, 2] == stream)
            if not len(mine):
                continue
            head = packets[mine].astype(np.int64)
            counter = head[:, 3] & 15
            has_payload = head[:, 3] & 0x10 > 0
            # What a stream says itself of its counter's jumps.
            announced = (head[:, 3] & 0x20 > 0) & (head[:, 4] > 0) & (head[:, 5] & 0x80 > 0)
            before = np.append(last, counter[:-1])
            # A packet may come twice; one without a payload does not count.
            fits = (counter == before) | ((counter == (before + 1) % 16) & has_payload)
            bad = ~(fits | announced | (before < 0)) | (head[:, 1] & 0x80 > 0)
            found += (start[mine[bad]]).tolist()
            last = int(counter[-1])
    return found


def _packets(file: BinaryIO) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Where packets start, in bytes [N], and the first six bytes of each [N, 6], piece by piece."""
    head = file.read(5 * max(SIZES))
    for size, offset in SIZES.items():
        if len(head) >= 5 * size and set(head[offset : 5 * size : size]) == {_SYNC}:
            break
    else:
        return
    file.seek(0)
    at = 0
    while block := file.read(size * _AT_ONCE):
        rows = np.frombuffer(block, np.uint8)[: len(block) // size * size].reshape(-1, size)
        inside = rows[:, offset : offset + 6].astype(np.int64)
        where = at + size * np.arange(len(rows), dtype=np.int64)
        in_step = inside[:, 0] == _SYNC
        yield where[in_step], inside[in_step]
        at += len(block)
