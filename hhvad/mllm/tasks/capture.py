"""Task `capture`: frames and a prompt to head features.

A request names its prompt and its siblings, the run's other prompts for the same video. Those not
yet computed run on the one visual prefix, and their features are kept until their own requests
come. Importing this costs nothing heavy: a job makes its request here.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from hhvad.errors import ArtifactError, HHVADError
from hhvad.mllm.tasks import check_can, made_by
from hhvad.records import HeadId
from hhvad.resident.wire import Message, Report

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

KEPT_BYTES = 512 * 2**20  # features of siblings that wait for their requests

Key = tuple[Any, ...]

_SAMPLING = ("frames_per_segment", "segment_length", "size", "resize")
_NEEDED = ("video", "view", *_SAMPLING, "fps", "n_frames", "decoder")


class CaptureEngine(Protocol):
    """What the task needs of `hhvad.mllm.engine.Engine`."""

    @property
    def info(self) -> Any:
        """architecture, layers, heads, head_dim, dtype, device, fingerprint."""

    def text(
        self,
        prompt: str,
        n_frames: int,
        size: tuple[int, int] | None = None,
        system: str = "",
        told: Any = None,
    ) -> str:
        """The exact text that the model reads."""

    def capture(
        self,
        frames: Any,
        prompts: Sequence[str],
        *,
        system: str = "",
        heads: Sequence[HeadId] | None = None,
        batch_size: int | Literal["auto"] = "auto",
        seconds: NDArray[np.float64] | None = None,
        outer_marks: bool = False,
        progress: Callable[[int, int], None] | None = None,
        states: bool = False,
    ) -> list[NDArray[np.float32]]:
        """Head features a prompt: [S, L, H, D], or [S, n, D] of `heads`; see the engine."""


@dataclass(frozen=True)
class Request:
    """What to compute and where to write it; heads are (layer, head) pairs, None for all."""

    frames: str
    out: str
    prompt: str
    prompt_id: str
    system: str
    siblings: tuple[str, ...]
    heads: tuple[tuple[int, int], ...] | None
    batch_size: int | Literal["auto"]
    model_name: str
    revision: str | None
    probe: str | None = None  # of the video: its true times are told; else two frames per second
    outer_marks: bool = False
    rest: Mapping[str, Any] | None = None  # hhvad.media.frames.Rest
    states: bool = False  # every layer's hidden states, in place of heads


@dataclass(frozen=True)
class Job:
    """A request and what its frames file says of itself."""

    request: Request
    heads: tuple[HeadId, ...] | None
    provenance: dict[str, Any]
    segments: NDArray[np.int64]  # [S, 2]
    shape: tuple[int, ...]  # of the frames, [S, F, H, W, 3]
    identity: Key  # of the frames file's content
    seconds: NDArray[np.float64] | None  # [S, F], of each frame from its segment's start

    def key(self, prompt: str) -> Key:
        """What the features of this job under `prompt` depend on, for one loaded model."""
        asked = self.request
        return (
            *self.identity, self.heads, asked.states, asked.batch_size, asked.system,
            asked.outer_marks, prompt,
        )  # fmt: skip


def _seconds(
    request: Request, indices: Any, segments: Any, provenance: dict[str, Any]
) -> NDArray[np.float64] | None:
    """When each frame [S, F] is shown, from the start of its segment, by the video's probe."""
    if request.probe is None:
        return None

    from hhvad.artifacts import probe

    info = probe.read(request.probe)
    if indices is None or info.frames != provenance["n_frames"]:
        raise ArtifactError(
            f"{request.frames}: its frames are not those of {request.probe}; delete it and rerun"
        )
    return info.times.in_segments(indices, segments)


class Capture:
    """The task, with what it keeps between requests."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # of all that follows
        self._kept: OrderedDict[Key, NDArray[np.float32]] = OrderedDict()
        self._delivered: set[Key] = set()
        self._texts: dict[Key, str] = {}
        self._told: set[str] = set()

    def read(self, message: Message) -> Job:
        """Check a request and the header of its frames file. Raises ArtifactError."""
        from hhvad.artifacts.hdf5 import open_artifact

        request = Request(**message)
        path = Path(request.frames)
        with open_artifact(path, "frames") as (file, provenance):
            missing = [name for name in ("frames", "segments") if name not in file]
            missing += [name for name in _NEEDED if name not in provenance]
            shape = () if missing else (len(file["segments"]), *file["frames"].shape[1:])
            segments: Any = None if missing else file["segments"][()]
            indices: Any = file["indices"][()] if "indices" in file else None
        if missing:
            raise ArtifactError(f"{path}: {missing[0]!r} is absent; delete the file and rerun")
        if len(shape) != 5 or 0 in shape:
            raise ArtifactError(f"{path}: holds no frames (shape {list(shape)}); sample them again")
        seconds = _seconds(request, indices, segments, provenance)
        found = path.stat()
        identity = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
        heads = request.heads
        return Job(
            request=replace(request, siblings=tuple(dict.fromkeys(request.siblings))),
            heads=None if heads is None else tuple(HeadId(*head) for head in heads),
            provenance=provenance,
            segments=segments,
            shape=shape,
            identity=(
                str(path),
                *identity,
                repr(sorted(provenance.items())),
                None if seconds is None else seconds.tobytes(),
            ),
            seconds=seconds,
        )

    def knows(self, about: str) -> bool:
        """Whether features of this frames file are kept."""
        with self._lock:
            return any(key[0] == about for key in self._kept)

    def kept(self, engine: CaptureEngine, job: Job, report: Report) -> NDArray[np.float32] | None:
        """Features that a sibling's pass has left for this job."""
        with self._lock:
            features = self._kept.pop(job.key(job.request.prompt), None)
        if features is not None:
            self._tell(self._text(engine, job, job.request.prompt), report)
        return features

    def compute(self, engine: CaptureEngine, job: Job, report: Report) -> NDArray[np.float32]:
        """The features of one job; those of its siblings are kept."""
        from hhvad.media.frames import open_frames

        check_can(engine, "capture")
        self._tell(self._text(engine, job, job.request.prompt), report)
        prompts = [job.request.prompt, *self._wanted_siblings(engine, job)]

        def progress(done: int, total: int) -> None:
            report({"event": "progress", "done": done, "total": total})

        with open_frames(job.request.frames, job.request.rest) as frames:
            features, *others = engine.capture(
                frames,
                prompts,
                system=job.request.system,
                heads=job.heads,
                batch_size=job.request.batch_size,
                seconds=job.seconds,
                outer_marks=job.request.outer_marks,
                progress=progress,
                **({"states": True} if job.request.states else {}),
            )
        with self._lock:
            for sibling, other in zip(prompts[1:], others, strict=True):
                self._kept[job.key(sibling)] = other
            while sum(array.nbytes for array in self._kept.values()) > KEPT_BYTES:
                self._kept.popitem(last=False)
        return features

    def write(self, engine: CaptureEngine, job: Job, features: NDArray[np.float32]) -> Message:
        """Write a job's features with all that they were made from."""
        import numpy as np

        from hhvad.artifacts import hdf5 as artifacts

        arrays: dict[str, NDArray[Any]] = {
            "features": features.astype(np.float32, copy=False),
            "segments": job.segments.astype(np.int64, copy=False),
        }
        if job.heads is not None:
            arrays["heads"] = np.array(job.heads, dtype=np.int64).reshape(-1, 2)
        given, info, asked = job.provenance, engine.info, job.request
        provenance = {
            "video": given["video"],
            "model": asked.model_name,
            "revision": asked.revision,
            **made_by(info),
            "prompt": asked.prompt_id,
            "prompt_text": asked.prompt,
            "system": asked.system,
            "text": self._text(engine, job, asked.prompt),
            "view": given["view"],
            "sampling": {name: given[name] for name in _SAMPLING},
            "decoder": given["decoder"],
            "fps": given["fps"],
            "n_frames": given["n_frames"],
            **({"mask": given["mask"]} if "mask" in given else {}),
            **({"states": True} if asked.states else {}),
        }
        if info.tells_time:
            times = "fixed" if job.seconds is None else "video"
            provenance["told"] = {"times": times, "outer_marks": asked.outer_marks}
        artifacts.write(asked.out, "features", arrays, provenance)
        with self._lock:
            self._delivered.add(job.key(asked.prompt))
        return {"segments": job.shape[0]}

    def _tell(self, text: str, report: Report) -> None:
        """Each wording's exact text, once: to the first job that asks it."""
        with self._lock:
            if text in self._told:
                return
            self._told.add(text)
        report({"event": "text", "text": text})

    def _wanted_siblings(self, engine: CaptureEngine, job: Job) -> list[str]:
        """The siblings still to be computed, as many as can be kept."""
        info = engine.info
        heads = info.layers * info.heads if job.heads is None else len(job.heads)
        room = KEPT_BYTES // (4 * job.shape[0] * heads * info.head_dim)
        wanted: list[str] = []
        for prompt in job.request.siblings:
            with self._lock:
                known = job.key(prompt) in self._kept or job.key(prompt) in self._delivered
            if known or prompt == job.request.prompt or len(wanted) == room:
                continue
            try:
                self._text(engine, job, prompt)
            except HHVADError:  # its own job will say so
                continue
            wanted.append(prompt)
        return wanted

    def _text(self, engine: CaptureEngine, job: Job, prompt: str) -> str:
        """The text that the model reads of the first segment; rendered once, by the worker."""
        _, frames, height, width, _ = job.shape
        told = None
        if engine.info.tells_time:
            from hhvad.mllm.backbones import Told

            first = () if job.seconds is None else tuple(job.seconds[0].tolist())
            told = Told(first, job.request.outer_marks)
        asked = (prompt, frames, (height, width), job.request.system, told)
        if asked not in self._texts:
            self._texts[asked] = engine.text(*asked)
        return self._texts[asked]
