"""The keys of a `kind: headhunt` method. The defaults are the paper's values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from hhvad import registry
from hhvad.config import Count, Id, Section, Seed
from hhvad.methods.headhunt.saliency import GROUP as METRICS_GROUP
from hhvad.methods.headhunt.saliency import METRICS
from hhvad.methods.headhunt.scorer import GROUP as KINDS_GROUP
from hhvad.methods.headhunt.scorer import KINDS
from hhvad.methods.settings import Method, Needs, take_preset

if TYPE_CHECKING:
    from hhvad.study import Study

# What the authors' code does where it differs from their paper or from what is right.
PRESETS: dict[str, dict[str, Any]] = {
    "paper": {},
    "official": {
        "prompts": "config/prompts-official.yaml",
        "calibration": {"view": "video-but-last"},
        "scorer": {"share": 0.6},
        "locator": {
            "border": "zero", "passes": 2, "tail": "drop", "calibrate": False, "fixed": "paper",
        },
    },
}  # fmt: skip


class Calibration(Section):
    """The samples that heads and scorer learn from."""

    view: Literal["video", "video-but-last", "segments"] = Field(
        "video",
        description="What a calibration sample is: a whole video (the paper), a whole video whose "
        "last frame is never sampled (the official code), or a segment labelled by its video's "
        "events.",
    )


class Saliency(Section):
    """How well a head separates normal from anomalous samples."""

    metrics: Annotated[tuple[str, ...], Field(min_length=1)] = Field(
        ("lda", "kl", "mmd", "nmi"),
        description="Which separability metrics make the saliency: lda, kl, mmd, nmi.",
    )
    shrinkage: Literal["none", "ledoit-wolf"] = Field(
        "none", description="Covariance of LDA; none is the paper's 1e-6 ridge."
    )

    @field_validator("metrics")
    @classmethod
    def _known(cls, metrics: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(metrics)) < len(metrics):
            raise ValueError(f"{list(metrics)} names a metric twice")
        known = registry.names(METRICS, METRICS_GROUP)
        for name in metrics:
            if name not in known:
                raise ValueError(f"{name!r} is unknown; known: {', '.join(known)}")
        return metrics


class Experts(Section):
    """Which heads become experts."""

    count: Count = Field(5, description="K, the number of expert heads.")
    penalty: Annotated[float, Field(ge=0)] = Field(
        0.5, description="lambda, the price of disagreement between prompts."
    )
    bootstrap: Annotated[int, Field(ge=0)] = Field(
        200,
        description="Resamples of the calibration videos that measure how stable the choice is; 0 "
        "for none.",
    )
    seed: Seed = Field(0, description="Seed of the resamples.")


class Sweep(Section):
    """Rows of the optional target `results/STUDY/ablations/METHOD.tsv`."""

    counts: Annotated[tuple[Count, ...], Field(min_length=1)] = Field(
        (1, 3, 5, 7, 10), description="Values of K."
    )
    penalties: Annotated[tuple[Annotated[float, Field(ge=0)], ...], Field(min_length=1)] = Field(
        (0, 0.25, 0.5, 0.75, 1), description="Values of lambda."
    )


class Scorer(Section):
    """The classifier on the experts' features."""

    kind: str = Field("logistic", description="Which classifier: logistic, svm or mlp.")
    seed: Seed = Field(42, description="Seed of the fit, and of the choice of its samples.")
    share: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0,
        description="The share of the calibration samples, stratified by label, on which it is "
        "fitted; the official code takes 0.6 and measures itself on the rest.",
    )

    @field_validator("kind")
    @classmethod
    def _known(cls, kind: str) -> str:
        known = registry.names(KINDS, KINDS_GROUP)
        if kind not in known:
            raise ValueError(f"it is {kind!r}; it must be one of {', '.join(known)}")
        return kind


class HeadHunt(Method):
    """HeadHunt-VAD: heads that agree under every wording, and a scorer on their features."""

    kind: Literal["headhunt"] = Field(description="`headhunt`.")
    preset: Literal["paper", "official"] = Field(
        "paper",
        description="Which defaults the other keys take; official is what the authors' code does "
        "(docs/fidelity.md).",
    )
    model: Id = Field(description="Name of the model, one of `models`.")
    prompts: str = Field(description="The prompts file: the wordings of the question.")
    detector: str | None = Field(
        None,
        description="A finished detector file; no calibration videos, heads or scorer are then "
        "computed.",
    )
    heads: Literal["all", "experts"] = Field(
        "all",
        description="What captures of segments keep; experts needs `detector` and stops the pass "
        "at the deepest one.",
    )
    calibration: Calibration = Calibration()
    saliency: Saliency = Saliency()
    experts: Experts = Experts()
    sweep: Sweep = Sweep()
    scorer: Scorer = Scorer()

    @model_validator(mode="before")
    @classmethod
    def _take_preset(cls, data: Any) -> Any:
        return take_preset(data, PRESETS)

    @property
    def asks(self) -> dict[str, str]:
        """Its one model."""
        return {"model": self.model}

    @property
    def needs(self) -> Needs:
        """Labels and a regression, where no finished detector is read."""
        if self.detector:
            return Needs("", "none: a finished detector", "one question")
        return Needs(
            "of calibration videos", f"a scorer ({self.scorer.kind}) of a few heads", "questions"
        )

    def jobs(self, name: str, study: Study) -> list[str]:
        """Captures under every prompt for the heads, under one for the scores."""
        online = study.online(name)
        size = study.size_name(self.model)
        found = [
            f"sample_segments/{self.model}.{online}/{size}",
            f"capture_heads/{self.model}/segments/{online}",
            f"score_headhunt/{name}",
        ]
        if name in study.frozen:
            return [*found, f"unpack_locator/{name}"]
        view = self.calibration.view
        sampled = {
            "video": "sample_frames",
            "video-but-last": "sample_video_but_last",
            "segments": "sample_calibration_segments",
        }[view]
        captures = [f"capture_heads/{self.model}/{view}/{one}" for one in study.prompts_of(name)]
        fits = [f"{rule}/{name}" for rule in ("identify_heads", "fit_scorer", "pack_detector")]
        found += [f"{sampled}/{size}", *captures, *fits]
        found += [f"score_saliency/{name}/{one}" for one in study.prompts_of(name)]
        return list(dict.fromkeys(found))
