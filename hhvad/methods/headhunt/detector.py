"""The detector file: all that is needed to judge a new video with one HeadHunt; what one shares.

A frozen detector (`detector: FILE` of a method) needs no calibration videos: its prompt is asked,
its experts are read, and its scorer and locator judge.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hhvad import masks
from hhvad.artifacts import hdf5
from hhvad.artifacts.hdf5 import Artifact
from hhvad.errors import ArtifactError
from hhvad.localization import locator_file
from hhvad.localization.locator import Locator
from hhvad.masks import Polygons
from hhvad.methods.headhunt.scorer import Scorer
from hhvad.records import Event, HeadId

if TYPE_CHECKING:
    from hhvad.artifacts.probe import Probe

# What features must share with the scorer to be judged by it.
SAME_ONLINE = (
    "model", "revision", "commit", "fingerprint", "dtype", "told", "prompt", "prompt_text",
    "system",
)  # fmt: skip


class Coming(NamedTuple):
    """A video's segments, in frames [T, 2], and their pictures as they are decoded.

    seconds [T, F]: when each picture is shown, from the start of its segment. frames: uint8
    [F, H, W, 3] of each segment in turn; it raises VideoError where the video does not decode.
    """

    bounds: NDArray[np.int64]
    seconds: NDArray[np.float64]
    frames: Iterator[NDArray[np.uint8]]


@dataclass(frozen=True)
class Detector:
    """Experts, scorer and locator of one model and prompt."""

    model: str
    prompt: str
    prompt_text: str
    system: str
    sampling: dict[str, Any]
    experts: tuple[HeadId, ...]
    scorer: Scorer
    locator: Locator
    provenance: dict[str, Any]
    masks: dict[str, Polygons] = field(default_factory=dict)  # what is hidden, by camera

    @classmethod
    def read(cls, path: str | Path) -> Detector:
        """Read a detector file. Raises ArtifactError where it is absent, damaged or another."""
        content = hdf5.read(path, "detector")
        provenance = content.provenance
        needed = ("model", "prompt", "prompt_text", "sampling", "kind", "locator")
        absent = [key for key in needed if key not in provenance]
        if absent:
            raise ArtifactError(f"{path}: provenance lacks {absent[0]!r}; make the detector again")
        locator = locator_file.from_json(provenance["locator"], path)
        return cls(
            model=provenance["model"],
            prompt=provenance["prompt"],
            prompt_text=provenance["prompt_text"],
            system=provenance.get("system", ""),
            sampling=provenance["sampling"],
            experts=tuple(HeadId(*head) for head in content["experts"].tolist()),
            scorer=Scorer.from_arrays(provenance["kind"], content.arrays),
            locator=locator,
            provenance=provenance,
            masks={
                camera: masks.parse(polygons, f"{path}: mask of camera {camera}")
                for camera, polygons in provenance.get("masks", {}).items()
            },
        )

    def stream(
        self, path: str | Path, info: Probe, camera: str | None, *, threads: int, timeout: float
    ) -> Coming:
        """What this detector sees of a video of a camera, whose mask applies.

        Raises DataError where all segments are damaged, VideoError as `stream_segments`.
        """
        from hhvad.media import samplers
        from hhvad.media.probe import stream_segments

        count, length = self.sampling["frames_per_segment"], self.sampling["segment_length"]
        bounds, indices = samplers.plan(info.frames, "segments", count, length, info.damaged)
        frames = stream_segments(
            path,
            info,
            frames_per_segment=count,
            segment_length=length,
            size=self.sampling["size"],
            threads=threads,
            timeout=timeout,
            mask=self.masks.get(camera or "", ()),
        )
        return Coming(bounds, info.times.in_segments(indices, bounds), frames)

    def judge(
        self, engine: Any, frames: NDArray[np.uint8], seconds: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """The scores [S] of segments [S, F, H, W, 3], as `Coming` has them, by a loaded model."""
        features = engine.capture(
            frames,
            [self.prompt_text],
            system=self.system,
            heads=list(self.experts),
            seconds=seconds,
        )
        return self.score(features[0])

    def score(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """The probability of anomaly [T] of each segment, from the experts' features [T, K, D]."""
        return self.scorer.predict_proba(features)

    def localize(
        self,
        scores: NDArray[np.float64],
        segments: NDArray[np.int64],
        *,
        camera: str | None = None,
        hours: NDArray[np.int64] | None = None,
    ) -> list[Event]:
        """The events in a video's scores [T] of segments [T, 2], in frames.

        camera: whose threshold counts, where the detector has one per camera; one that it does not
        know has the pooled threshold, and a UserWarning says so. hours [T]: the hour of the day
        (UTC) of each segment, where they are known.
        """
        budget = self.locator.budget
        if camera is not None and budget is not None and not budget.knows(camera):
            warnings.warn(budget.unknown(camera), stacklevel=2)
        return list(self.locator.events(scores, segments, camera, hours))


def require_same_online(fitted: Artifact, features: Artifact) -> None:
    """Refuse features of another model, prompt or kind of frames than the scorer's.

    Calibration and online frames may differ in their view, but not in number and size.
    """
    hdf5.require_same([fitted, features], SAME_ONLINE)
    theirs = fitted.provenance.get("sampling", {})
    for key, value in features.provenance.get("sampling", {}).items():
        if key != "segment_length" and key in theirs and theirs[key] != value:
            raise ArtifactError(
                f"{features.path}: sampling {key} is {value!r}, but {fitted.path} has "
                f"{theirs[key]!r}: they cannot be used together; delete the older one and rerun"
            )


def summary(path: str | Path) -> list[tuple[str, str]]:
    """A detector as lines of (name, value) for people."""
    from hhvad.localization.locator import causal_delay, shortest_event

    detector = Detector.read(path)
    info, locator = detector.provenance, detector.locator
    shortest = shortest_event(locator.sigma, locator.tau, locator.border, locator.causal)
    found = f"{shortest} segments" if shortest else "none: no event can be found"
    budget = locator.budget
    rows = [
        ("model", detector.model),
        ("revision", str(info.get("revision") or "")),
        ("fingerprint", str(info.get("fingerprint", ""))),
        ("prompt", f"{detector.prompt}: {detector.prompt_text}"),
        ("experts", " ".join(str(head) for head in detector.experts)),
        ("scorer", str(info.get("kind", ""))),
        ("locator", f"sigma {locator.sigma} segments, tau {locator.tau}"),
        ("causal", f"yes, {causal_delay(locator.sigma):.1f} segments late" * locator.causal),
        ("shortest event", found),
        ("calibrated", _origin(locator)),
        *(("camera", f"{name}: {text}") for name, text in (budget.lines() if budget else ())),
        *(
            ("mask", f"{name}: {len(polygons)} polygons")
            for name, polygons in detector.masks.items()
        ),
        ("sampling", ", ".join(f"{key} {value}" for key, value in detector.sampling.items())),
        ("hhvad", str(info.get("hhvad", ""))),
    ]
    return [(name, value) for name, value in rows if value]


def _origin(locator: Locator) -> str:
    """Where the threshold comes from, in words."""
    if locator.budget is not None:
        return locator.how
    return "on validation events" if locator.calibrated else "no: fixed values"
