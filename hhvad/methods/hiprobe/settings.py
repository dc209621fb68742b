"""The keys of a `kind: hiprobe` method."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from hhvad.config import Id, Section, Text
from hhvad.methods.headhunt.settings import Scorer
from hhvad.methods.settings import Method, Needs

if TYPE_CHECKING:
    from hhvad.study import Study


class Calibration(Section):
    """The samples that layer and scorer learn from."""

    view: Literal["video", "segments"] = Field(
        "video",
        description="What a calibration sample is: a whole video, or a segment labelled by its "
        "video's events.",
    )


class HiProbe(Method):
    """HiProbe-VAD: a classifier on the hidden states of the layer that tells most."""

    kind: Literal["hiprobe"] = Field(description="`hiprobe`.")
    model: Id = Field(description="Name of the multimodal model in `models`.")
    question: Text = Field(
        "Is anything abnormal happening in this video?",
        description="What the model is asked; its states at the end of it are read.",
    )
    system: str = Field("", description="System message before the question; empty for none.")
    calibration: Calibration = Calibration()
    scorer: Scorer = Scorer()

    @property
    def asks(self) -> dict[str, str]:
        """Its model."""
        return {"model": self.model}

    @property
    def needs(self) -> Needs:
        """Labels and a classifier."""
        return Needs(
            "of calibration videos", f"a scorer ({self.scorer.kind}) of one layer", "one question"
        )

    def jobs(self, name: str, study: Study) -> list[str]:
        """States of every layer, of calibration samples and of segments."""
        size, view = study.size_name(self.model), self.calibration.view
        sampled = "sample_frames" if view == "video" else "sample_calibration_segments"
        views = dict.fromkeys((view, "segments"))
        return [
            f"{sampled}/{size}",
            f"sample_segments/states.{name}/{size}",
            *(f"capture_states/{self.model}/{one}/{name}" for one in views),
            *(f"{rule}/{name}" for rule in ("score_layers", "fit_layer", "score_layer")),
        ]
