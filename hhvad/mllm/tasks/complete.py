"""Task `complete`: chat messages to text, greedily or sampled, or to one of given answers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hhvad.errors import ArtifactError
from hhvad.mllm.tasks import check_can, made_by
from hhvad.resident.wire import Message, Report

if TYPE_CHECKING:
    from hhvad.mllm.head import Answer
    from hhvad.mllm.sample import Sampling


@dataclass(frozen=True)
class Request:
    """A file of requests ({id, messages} a line, schema `requests`) and where the answers go.

    choices: the model weighs these answers instead of writing one.
    """

    requests: str
    out: str
    max_tokens: int
    temperature: float  # 0: the likeliest token, always
    top_p: float
    seed: int
    choices: tuple[str, ...]
    batch_size: int
    model_name: str
    revision: str | None


@dataclass(frozen=True)
class Job:
    """A request and the content of its file."""

    request: Request
    rows: list[dict[str, Any]]
    provenance: dict[str, Any]


class Complete:
    """The task; it keeps nothing."""

    def read(self, message: Message) -> Job:
        """Check a request and its file. Raises ArtifactError."""
        from hhvad.artifacts import texts

        request = Request(**message)
        file = texts.read(request.requests, "requests")
        for number, row in enumerate(file.rows, start=2):
            try:
                is_good = bool(row["messages"]) and "id" in row
                is_good &= all(isinstance(m["role"] + m["content"], str) for m in row["messages"])
            except (KeyError, TypeError):
                is_good = False
            if not is_good:
                raise ArtifactError(
                    f"{file.path}: line {number} is no request: give id, and messages with role "
                    "and content"
                )
        return Job(request, file.rows, file.provenance)

    def knows(self, about: str) -> bool:
        """Nothing is kept."""
        return False

    def kept(self, model: Any, job: Job, report: Report) -> list[dict[str, Any]] | None:
        """Nothing is kept."""
        return None

    def compute(self, model: Any, job: Job, report: Report) -> list[dict[str, Any]]:
        """Per request its answer, tokens, and whether the limit cut it.

        With choices, the answer is the likeliest, and `logprobs` are those of each choice.
        """
        asked = job.request
        conversations = [row["messages"] for row in job.rows]

        def progress(done: int, total: int) -> None:
            report({"event": "progress", "done": done, "total": total})

        if asked.choices:
            check_can(model, "choose")
            found = model.choose(
                conversations, asked.choices, batch_size=asked.batch_size, progress=progress
            )
            return [
                {"answer": asked.choices[row.argmax()], "tokens": 0, "cut": False}
                | {"logprobs": row.tolist()}
                for row in found
            ]
        check_can(model, "complete")
        answers: list[Answer] = model.complete(
            conversations,
            max_tokens=asked.max_tokens,
            sampling=_sampling(job),
            batch_size=asked.batch_size,
            progress=progress,
        )
        return [{"answer": one.text, "tokens": one.tokens, "cut": one.cut} for one in answers]

    def write(self, model: Any, job: Job, result: list[dict[str, Any]]) -> Message:
        """Write the answers with all that they were made from."""
        from hhvad.artifacts import texts
        from hhvad.files import digest

        asked, info = job.request, model.info
        how: dict[str, Any] = {
            "max_tokens": asked.max_tokens,
            "temperature": asked.temperature,
            "top_p": asked.top_p,
            "seed": asked.seed,
        }
        provenance = {
            "requests": digest([job.provenance, job.rows]),
            "made_from": job.provenance,
            "model": asked.model_name,
            "revision": asked.revision,
            **made_by(info),
            **({"choices": list(asked.choices)} if asked.choices else how),
            "batch_size": asked.batch_size,
        }
        rows = [{"id": row["id"], **said} for row, said in zip(job.rows, result, strict=True)]
        texts.write(Path(asked.out), "answers", rows, provenance)
        return {"segments": len(rows)}


def _sampling(job: Job) -> Sampling | None:
    """Seeds that follow from the seed, the video and the request, and from nothing else."""
    from hhvad.files import digest
    from hhvad.mllm.sample import Sampling

    asked = job.request
    if asked.temperature == 0:
        return None
    video = job.provenance.get("video")
    named = [digest([asked.seed, video, row["id"], row["messages"]]) for row in job.rows]
    return Sampling(asked.temperature, asked.top_p, [int(name[:15], 16) for name in named])
