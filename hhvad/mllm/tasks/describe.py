"""Task `describe`: questions about sets of frames, or about texts alone, to answers.

Each question is computed by itself, so that an answer depends on nothing else that is asked: one
that was kept from an earlier run is the same as one that is computed anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hhvad.errors import ArtifactError
from hhvad.mllm.tasks import check_can
from hhvad.resident.wire import Message, Report

if TYPE_CHECKING:
    from hhvad.mllm.head import Answer


@dataclass(frozen=True)
class Request:
    """questions: {row, segment, prompt} each; segment counts sets of frames, None is texts alone.

    row is the answer's row without the answer, as it goes into `out`; a row that has an answer is
    written as it is, with no question to it.
    """

    frames: str | None
    out: str
    schema: str  # of `out`
    rows: list[dict[str, Any]]
    questions: list[dict[str, Any]]
    provenance: dict[str, Any]
    system: str
    max_tokens: int


class Describe:
    """The task; it keeps nothing."""

    def read(self, message: Message) -> Request:
        """Check a request and the header of its frames file. Raises ArtifactError."""
        from hhvad.artifacts.hdf5 import open_artifact

        request = Request(**message)
        if request.frames is None:
            return request
        with open_artifact(request.frames, "frames") as (file, _):
            there = len(file["frames"])
        for question in request.questions:
            if question["segment"] is not None and question["segment"] >= there:
                raise ArtifactError(
                    f"{request.frames}: has {there} sets of frames, {question['segment']} is "
                    "asked about; delete it and rerun"
                )
        return request

    def knows(self, about: str) -> bool:
        """Nothing is kept."""
        return False

    def kept(self, model: Any, request: Request, report: Report) -> list[Answer] | None:
        """Nothing is kept."""
        return None

    def compute(self, model: Any, request: Request, report: Report) -> list[Answer]:
        """An answer a question."""
        from hhvad.artifacts.hdf5 import open_artifact

        answers: list[Answer] = []
        for question in request.questions:
            segment, text = question["segment"], question["prompt"]
            if segment is None:
                check_can(model, "complete")
                said = [{"role": "user", "content": text}]
                if request.system:
                    said.insert(0, {"role": "system", "content": request.system})
                answers += model.complete([said], max_tokens=request.max_tokens, batch_size=1)
            else:
                check_can(model, "generate")
                with open_artifact(str(request.frames), "frames") as (file, _):
                    frames = file["frames"][segment : segment + 1]
                answers += model.generate(
                    frames,
                    as_characters(text, model.tokenizer),
                    system=request.system,
                    max_tokens=request.max_tokens,
                    batch_size=1,
                )
            report({"event": "progress", "done": len(answers), "total": len(request.questions)})
        return answers

    def write(self, model: Any, request: Request, result: list[Answer]) -> Message:
        """Write the rows, the new answers filled in."""
        from hhvad.artifacts import texts

        answers = iter(result)
        rows = []
        for row in request.rows:
            if "answer" not in row:
                answer = next(answers)
                row = row | {"answer": answer.text, "tokens": answer.tokens, "cut": answer.cut}
            rows.append({name: row[name] for name in sorted(row)})
        texts.write(request.out, request.schema, rows, request.provenance)
        return {"segments": len(result)}


def as_characters(text: str, tokenizer: Any) -> str:
    """A prompt in which no special token is one: a space behind its first character.

    The texts of the level below are a model's: whatever they hold, they are data.
    """
    for token in sorted(tokenizer.get_added_vocab(), key=len, reverse=True):
        if len(token) > 1:
            text = text.replace(token, f"{token[0]} {token[1:]}")
    return text
