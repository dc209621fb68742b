"""Task `answer`: how likely given answers to given questions about each segment's frames are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hhvad.errors import ArtifactError
from hhvad.mllm.tasks import check_can, made_by
from hhvad.resident.wire import Message, Report

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_GIVEN = ("video", "view", "fps", "n_frames", "decoder")
_SAMPLING = ("frames_per_segment", "segment_length", "size", "resize")


@dataclass(frozen=True)
class Request:
    """What to ask of every segment, which answers to weigh, and where to write the result."""

    frames: str
    out: str
    prompts: tuple[str, ...]
    answers: tuple[str, ...]
    system: str
    batch_size: int
    model_name: str
    revision: str | None
    rest: Mapping[str, Any] | None = None  # hhvad.media.frames.Rest


@dataclass(frozen=True)
class Job:
    """A request and what its frames file says of itself."""

    request: Request
    provenance: dict[str, Any]
    segments: NDArray[np.int64]  # [S, 2]


class Answer:
    """The task; it keeps nothing."""

    def read(self, message: Message) -> Job:
        """Check a request and the header of its frames file. Raises ArtifactError."""
        from hhvad.artifacts.hdf5 import open_artifact

        request = Request(**message)
        with open_artifact(Path(request.frames), "frames") as (file, provenance):
            absent = [name for name in ("frames", "segments") if name not in file]
            absent += [name for name in (*_GIVEN, *_SAMPLING) if name not in provenance]
            if absent:
                raise ArtifactError(
                    f"{request.frames}: {absent[0]!r} is absent; delete the file and rerun"
                )
            return Job(request, provenance, file["segments"][()])

    def knows(self, about: str) -> bool:
        """Nothing is kept."""
        return False

    def kept(self, engine: Any, job: Job, report: Report) -> NDArray[np.float64] | None:
        """Nothing is kept."""
        return None

    def compute(self, engine: Any, job: Job, report: Report) -> NDArray[np.float64]:
        """Log-probabilities [S, P, A]."""
        from hhvad.media.frames import open_frames

        check_can(engine, "weigh")
        asked = job.request
        with open_frames(asked.frames, asked.rest) as frames:
            found: NDArray[np.float64] = engine.weigh(
                frames,
                asked.prompts,
                asked.answers,
                system=asked.system,
                batch_size=asked.batch_size,
                progress=lambda done, total: report(
                    {"event": "progress", "done": done, "total": total}
                ),
            )
        return found

    def write(self, engine: Any, job: Job, result: NDArray[np.float64]) -> Message:
        """Write the log-probabilities with all that they were made from."""
        from hhvad.artifacts import hdf5

        given, asked = job.provenance, job.request
        provenance = {
            **{name: given[name] for name in _GIVEN},
            "sampling": {name: given[name] for name in _SAMPLING},
            "model": asked.model_name,
            "revision": asked.revision,
            **made_by(engine.info),
            "prompts": list(asked.prompts),
            "answers": list(asked.answers),
            "system": asked.system,
            "batch_size": asked.batch_size,
        }
        arrays = {"logprobs": result, "segments": job.segments}
        hdf5.write(asked.out, "logprobs", arrays, provenance)
        return {"segments": len(result)}
