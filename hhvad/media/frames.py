"""The frames of a frames file, and those that it leaves out: a long video's are decoded as needed.

A frames file of many segments would fill a disk (an hour takes 18 GB at 448 x 448): it keeps those
of the first segments (`hhvad sample-frames --keep-mb`), and whoever has read these decodes the rest
in order, a little ahead of what it looks at. What is seen is the same.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hhvad.errors import ArtifactError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Picked = NDArray[np.uint8]


@dataclass(frozen=True)
class Rest:
    """Where the segments come from that a frames file leaves out.

    path: the video; probe: the file that tells what it is; timeout: seconds after which a decoder
    that gives nothing counts as hung.
    """

    path: str
    probe: str
    threads: int
    timeout: float


@contextmanager
def open_frames(path: str, rest: Rest | Mapping[str, Any] | None) -> Iterator[Any]:
    """The frames uint8 [S, F, H, W, 3] of a frames file: sliced by segment, in order.

    A slice may start again where the one before the last did, not further back. Raises
    ArtifactError where the file leaves frames out and `rest` is None, and for damaged files;
    VideoError where the rest does not decode, or is of another video.
    """
    from hhvad.artifacts.hdf5 import open_artifact

    failure = None
    with open_artifact(path, "frames") as (file, provenance):
        kept = file["frames"]
        # Of all segments there are frames' numbers, whichever frames are kept.
        segments = len(file.get("indices", kept))
        with closing(_decoded(rest, provenance, len(kept), path)) as coming:
            try:
                yield kept if len(kept) == segments else InOrder(kept, coming, segments)
            except (RuntimeError, KeyError) as error:  # the reader's, not of a damaged file
                failure = error
    if failure is not None:
        raise failure


def _decoded(
    rest: Rest | Mapping[str, Any] | None, provenance: Mapping[str, Any], first: int, path: str
) -> Generator[Picked]:
    """The frames of each segment from `first` on, as the file's provenance says."""
    from hhvad.artifacts import probe
    from hhvad.media.probe import stream_segments

    if rest is None:
        raise ArtifactError(f"{path}: keeps {first} segments alone; the others need the video")
    if not isinstance(rest, Rest):
        rest = Rest(**rest)
    info = probe.read(rest.probe)
    if provenance["source"] != {"bytes": info.bytes, "fingerprint": info.fingerprint}:
        raise ArtifactError(f"{path}: is not of the video of {rest.probe}; delete it and rerun")
    yield from stream_segments(
        rest.path,
        info,
        view=provenance["view"],
        frames_per_segment=provenance["frames_per_segment"],
        segment_length=provenance["segment_length"],
        size=provenance["size"],
        threads=rest.threads,
        timeout=rest.timeout,
        mask=provenance.get("mask", ()),
        fit=provenance.get("fit", "stretch"),
        first=first,
        patient=True,
    )


class InOrder:
    """The first segments of an array, the others of an iterator, sliced like one array [S, ...]."""

    def __init__(self, kept: Any, coming: Iterator[Picked], segments: int) -> None:
        self.kept = kept
        self.coming = coming
        self.shape = (segments, *kept.shape[1:])
        self.ndim = len(self.shape)
        self.dtype = kept.dtype
        self._held: deque[Picked] = deque()  # what came, from segment _first on
        self._first = len(kept)
        self._start = 0  # of the slice before

    def __len__(self) -> int:
        return int(self.shape[0])

    def __iter__(self) -> Iterator[Picked]:
        for number in range(len(self)):
            yield self[number : number + 1][0]

    def __getitem__(self, wanted: slice) -> Picked:
        import numpy as np

        start, stop, _ = wanted.indices(len(self))
        found = [self.kept[start:stop]] if start < len(self.kept) else []
        while self._first + len(self._held) < stop:
            self._held.append(next(self.coming))
        if stop == len(self):
            for _ in self.coming:  # decodes to the end: only then are the frames known to be right
                raise AssertionError("a segment that nobody asked for")
        while self._held and self._first < min(self._start, start):
            self._held.popleft()
            self._first += 1
        self._start = start
        beyond = max(start, len(self.kept))
        if beyond < self._first:
            raise AssertionError(f"segment {beyond} is asked for again, {self._first} is held")
        held = [self._held[number - self._first] for number in range(beyond, stop)]
        blocks = [*found, *([np.stack(held)] if held else [])]
        return np.asarray(blocks[0] if len(blocks) == 1 else np.concatenate(blocks))


class Changed:
    """Frames of which each slice is changed when it is read, sliced like an array of `shape`."""

    def __init__(
        self, source: Any, shape: tuple[int, ...], change: Callable[[Picked], Picked]
    ) -> None:
        self.source = source
        self.shape = shape
        self.ndim = len(shape)
        self.dtype = source.dtype
        self.change = change

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, wanted: slice) -> Picked:
        return self.change(self.source[wanted])
