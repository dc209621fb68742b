"""Task `generate`: frames and a prompt to a text a segment, greedily."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hhvad.errors import ArtifactError
from hhvad.mllm.tasks import check_can, made_by
from hhvad.resident.wire import Message, Report

if TYPE_CHECKING:
    from hhvad.mllm.head import Answer

_GIVEN = ("video", "view", "fps", "n_frames", "decoder")
_SAMPLING = ("frames_per_segment", "segment_length", "size", "resize")


@dataclass(frozen=True)
class Request:
    """What to ask of every segment and where to write the answers."""

    frames: str
    out: str
    prompt: str
    prompt_id: str
    system: str
    shown: int  # how many times each frame is shown
    keep: str  # of the answer: all, or what is behind a verdict (after-colon)
    max_tokens: int
    batch_size: int
    model_name: str
    revision: str | None
    rest: Mapping[str, Any] | None = None  # hhvad.media.frames.Rest


@dataclass(frozen=True)
class Job:
    """A request and what its frames file says of itself."""

    request: Request
    provenance: dict[str, Any]
    segments: list[list[int]]  # start and end of each
    shape: tuple[int, ...]  # of the frames, [S, F, H, W, 3]


class Generate:
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
            segments = file["segments"][()].tolist()
            shape = (len(segments), *file["frames"].shape[1:])
            return Job(request, provenance, segments, shape)

    def knows(self, about: str) -> bool:
        """Nothing is kept."""
        return False

    def kept(self, engine: Any, job: Job, report: Report) -> list[Answer] | None:
        """Nothing is kept."""
        return None

    def compute(self, engine: Any, job: Job, report: Report) -> list[Answer]:
        """An answer a segment."""
        import numpy as np

        from hhvad.media.frames import Changed, open_frames

        check_can(engine, "generate")
        asked = job.request
        with open_frames(asked.frames, asked.rest) as frames:
            segments, count, *size = frames.shape
            shape = (segments, count * asked.shown, *size)
            answers: list[Answer] = engine.generate(
                Changed(frames, shape, lambda some: np.repeat(some, asked.shown, axis=1)),
                asked.prompt,
                system=asked.system,
                max_tokens=asked.max_tokens,
                batch_size=asked.batch_size,
                progress=lambda done, total: report(
                    {"event": "progress", "done": done, "total": total}
                ),
            )
        return answers

    def write(self, engine: Any, job: Job, result: list[Answer]) -> Message:
        """Write the answers with all that they were made from."""
        from hhvad.artifacts import texts

        given, info, asked = job.provenance, engine.info, job.request
        _, frames, height, width, _ = job.shape
        shown = frames * asked.shown
        provenance = {
            **{name: given[name] for name in _GIVEN},
            "sampling": {name: given[name] for name in _SAMPLING},
            **({"mask": given["mask"]} if "mask" in given else {}),
            "model": asked.model_name,
            "revision": asked.revision,
            **made_by(info),
            "prompt": asked.prompt_id,
            "prompt_text": asked.prompt,
            "system": asked.system,
            "text": engine.text(asked.prompt, shown, (height, width), asked.system),
            "shown": asked.shown,
            "keep": asked.keep,
            "max_tokens": asked.max_tokens,
            "batch_size": asked.batch_size,
        }
        if asked.keep == "after-colon":
            result = [replace(answer, text=without_verdict(answer.text)) for answer in result]
        rows = [
            {"segment": number, "start": start, "end": end, **asdict(answer)}
            for number, ((start, end), answer) in enumerate(zip(job.segments, result, strict=True))
        ]
        texts.write(asked.out, "texts", rows, provenance)
        return {"segments": len(rows)}


def without_verdict(text: str) -> str:
    """What stands behind the first colon of an answer; all of it where there is none."""
    return text.partition(": ")[2] or text
