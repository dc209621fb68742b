"""What a model process can be asked: one file a task, named here by a string.

A task reads its request, computes and writes its own artifact (`hhvad.resident.server.Task`). A
package outside this one offers its tasks as entry points of the group `hhvad.tasks`.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from hhvad.errors import ConfigError, ModelError

if TYPE_CHECKING:
    from hhvad.resident.server import Task

TASKS = {
    "answer": "hhvad.mllm.tasks.answer:Answer",
    "capture": "hhvad.mllm.tasks.capture:Capture",
    "complete": "hhvad.mllm.tasks.complete:Complete",
    "describe": "hhvad.mllm.tasks.describe:Describe",
    "embed": "hhvad.mllm.tasks.embed:Embed",
    "generate": "hhvad.mllm.tasks.generate:Generate",
}


def find(name: str) -> Task[Any, Any]:
    """A new instance of the task of this name; ConfigError lists the known ones."""
    known = TASKS | {e.name: e.value for e in entry_points(group="hhvad.tasks")}
    if name not in known:
        raise ConfigError(f"task {name!r} is unknown; known are {', '.join(sorted(known))}")
    module, _, member = known[name].partition(":")
    task: Task[Any, Any] = getattr(import_module(module), member)()
    return task


def made_by(info: Any) -> dict[str, Any]:
    """What the provenance of an artifact says of the loaded model that computed it."""
    names = ("commit", "fingerprint", "architecture", "dtype", "torch", "transformers")
    reason = {"dtype_reason": info.dtype_reason} if info.dtype_reason else {}
    return {name: getattr(info, name) for name in names} | reason


def check_can(model: Any, verb: str) -> None:
    """ModelError where a model of this kind cannot do what a task needs."""
    if not hasattr(model, verb):
        what = verb.replace("_", " ")
        raise ModelError(f"{model}: this kind of model cannot {what}; name another one")
