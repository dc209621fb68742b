"""Task `embed`: frames or texts to unit vectors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from hhvad.errors import ArtifactError
from hhvad.mllm.tasks import check_can, made_by
from hhvad.resident.wire import Message, Report

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Request:
    """What to embed: a file of frames, or the texts in one field of a JSONL file.

    class is frames, too: a multimodal model's class vectors, which are not of unit length.
    """

    kind: Literal["frames", "class", "texts"]
    source: str
    field: str  # of the texts' rows; empty for frames
    out: str
    batch_size: int
    model_name: str
    revision: str | None
    rest: Mapping[str, Any] | None = None  # hhvad.media.frames.Rest


@dataclass(frozen=True)
class Job:
    """A request and what its source says of itself; texts are empty for frames."""

    request: Request
    provenance: dict[str, Any]
    texts: list[str]


class Embed:
    """The task; it keeps nothing."""

    def read(self, message: Message) -> Job:
        """Check a request and its source. Raises ArtifactError."""
        from hhvad.artifacts import texts
        from hhvad.artifacts.hdf5 import open_artifact

        request = Request(**message)
        if request.kind != "texts":
            with open_artifact(request.source, "frames") as (_, provenance):
                return Job(request, provenance, [])
        file = texts.read(request.source)
        found = [row.get(request.field) for row in file.rows]
        if not found or not all(isinstance(text, str) for text in found):
            raise ArtifactError(f"{file.path}: not every row has a text in {request.field!r}")
        return Job(request, file.provenance, [str(text) for text in found])

    def knows(self, about: str) -> bool:
        """Nothing is kept."""
        return False

    def kept(self, model: Any, job: Job, report: Report) -> dict[str, NDArray[Any]] | None:
        """Nothing is kept."""
        return None

    def compute(self, model: Any, job: Job, report: Report) -> dict[str, NDArray[Any]]:
        """The arrays of the file: vectors, and of what each of them is.

        frames: vectors float32 [G, D], indices int64 [G], each frame of the video once. texts:
        vectors [U, D] of the unique texts in order of appearance, cut bool [U] (longer than the
        encoder reads), unique int64 [N] (which of them a row holds), first int64 [U] (the row in
        which it comes first).
        """
        import numpy as np

        from hhvad.artifacts import hdf5
        from hhvad.media.frames import Changed, open_frames

        check_can(model, f"embed_{job.request.kind}")
        size = job.request.batch_size

        def progress(done: int, total: int) -> None:
            report({"event": "progress", "done": done, "total": total})

        if job.request.kind != "texts":
            given = hdf5.read(job.request.source, "frames", ("indices",))["indices"]
            indices, places = np.unique(given.ravel(), return_index=True)
            embed = getattr(model, f"embed_{job.request.kind}")
            with open_frames(job.request.source, job.request.rest) as kept:
                frames: Any
                if given.shape == (len(indices), 1) and (given[:, 0] == indices).all():
                    frames = Changed(kept, (len(kept), *kept.shape[2:]), lambda some: some[:, 0])
                else:  # windows, which overlap: their frames are all in the file
                    frames = kept[:].reshape(-1, *kept.shape[2:])[places]
                vectors = embed(frames, batch_size=size, progress=progress)
            return {"vectors": vectors, "indices": indices.astype(np.int64)}
        known = {text: place for place, text in enumerate(dict.fromkeys(job.texts))}
        vectors, cut = model.embed_texts(list(known), batch_size=size, progress=progress)
        return {
            "vectors": vectors,
            "cut": cut,
            "unique": np.array([known[text] for text in job.texts], np.int64),
            "first": np.array([job.texts.index(text) for text in known], np.int64),
        }

    def write(self, model: Any, job: Job, result: dict[str, NDArray[np.float32]]) -> Message:
        """Write the vectors with all that they were made from."""
        from hhvad.artifacts import hdf5

        asked, info = job.request, model.info
        provenance = {
            "made_from": job.provenance,
            "video": job.provenance.get("video"),
            "kind": asked.kind,
            "field": asked.field,
            "model": asked.model_name,
            "revision": asked.revision,
            **made_by(info),
            "batch_size": asked.batch_size,
        }
        hdf5.write(asked.out, "vectors", result, provenance)
        return {"segments": len(result["vectors"])}
