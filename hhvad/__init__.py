"""hhvad: tuning-free video anomaly detection from the attention heads of a frozen MLLM.

The public API, each name imported when it is first used (docs/python.md):

    Study         config, prompts and sheet, checked
    Detector      a finished detector: score and localize arrays
    Locator       smoothing and threshold: from scores to events
    read_scores   the scored segments of a video's file
    read_probe    what a video file is, and when its frames are
    evaluate      metrics, intervals and baselines of scored videos
    HHVADError    whatever a user can put right
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_API = {
    "Detector": "hhvad.methods.headhunt.detector:Detector",
    "HHVADError": "hhvad.errors:HHVADError",
    "Locator": "hhvad.localization.locator:Locator",
    "Study": "hhvad.study:Study",
    "evaluate": "hhvad.evaluation.evaluate:evaluate",
    "read_probe": "hhvad.artifacts.probe:read",
    "read_scores": "hhvad.artifacts.scores:read",
}
__all__ = [
    "Detector",
    "HHVADError",
    "Locator",
    "Study",
    "__version__",
    "evaluate",
    "read_probe",
    "read_scores",
]

if TYPE_CHECKING:
    from hhvad.artifacts.probe import read as read_probe
    from hhvad.artifacts.scores import read as read_scores
    from hhvad.errors import HHVADError
    from hhvad.evaluation.evaluate import evaluate
    from hhvad.localization.locator import Locator
    from hhvad.methods.headhunt.detector import Detector
    from hhvad.study import Study


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _API:
        raise AttributeError(f"module 'hhvad' has no attribute {name!r}")
    module, attribute = _API[name].split(":")
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted(__all__)
