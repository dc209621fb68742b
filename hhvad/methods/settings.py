"""What every method's entry in the config has, and the table of kinds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from pydantic import Field, model_validator

from hhvad.config import Section
from hhvad.errors import ConfigError
from hhvad.localization.alarms import parse_hours

if TYPE_CHECKING:
    from hhvad.study import Study

DAY = 86400

Seconds = Annotated[float, Field(ge=0)]


class Grid(Section):
    """Values at equal distance."""

    first: Annotated[float, Field(gt=0)] = Field(description="The smallest value.")
    last: Annotated[float, Field(gt=0)] = Field(description="The largest value.")
    count: Annotated[int, Field(ge=1)] = Field(description="How many values.")

    def words(self) -> list[float]:
        """First, last and count, as flags take them."""
        return [self.first, self.last, self.count]


class Fixed(Section):
    """Smoothing and threshold as given."""

    sigma: Annotated[float, Field(gt=0)] = Field(description="Smoothing in segments.")
    tau: Annotated[float, Field(ge=0, le=1)] = Field(description="Threshold.")


class Suppress(Section):
    """Which marks suppress events, and how alike they must be."""

    marks: str = Field(description="The TSV of marks that the page exports.")
    similarity: Annotated[float, Field(gt=0, le=1)] = Field(
        0.93, description="The least cosine of an event and one that was marked false."
    )


PAPER_TAUS = Grid(first=0.1, last=0.9, count=81)

NAMED = {"lone-segment": Fixed(sigma=0.5, tau=0.5), "paper": Fixed(sigma=1.5, tau=0.65)}


class Locator(Section):
    """From scores to events: smoothing, threshold, and which runs above it are shown."""

    kind: Literal["calibrated", "budget"] = Field(
        "calibrated",
        description="Where the threshold comes from: validation events (the paper; `fixed` without "
        "them), or the alarms that a person can look at, on the videos of split `reference` "
        "(docs/alarms.md).",
    )
    border: Literal["renormalise", "zero"] = Field(
        "renormalise",
        description="Smoothing at the ends of a video; zero is the official code's.",
    )
    fixed: Literal["lone-segment", "paper"] | Fixed = Field(
        "lone-segment",
        description="Smoothing and threshold where no validation events calibrate them: "
        "`lone-segment` (sigma 0.5, tau 0.5) finds one certain segment alone; `paper` (1.5, 0.65) "
        "finds no event below three segments; or {sigma: ..., tau: ...}.",
    )
    sigmas: Grid = Field(Grid(first=0.5, last=3.0, count=11), description="Grid of sigma.")
    taus: Literal["exact", "paper"] | Grid = Field(
        "exact",
        description="The thresholds that are tried: exact, between every two neighbouring smoothed "
        "scores, whatever their scale; paper (0.1 to 0.9, 81 values), or {first: ..., last: ..., "
        "count: ...}.",
    )

    calibrate: bool = Field(
        True,
        description="Whether validation events decide smoothing and threshold; `fixed` does "
        "otherwise, as in the official code.",
    )
    passes: Annotated[int, Field(ge=1)] = Field(
        1,
        description="How often scores are smoothed before they are compared with annotations; "
        "events always come from one pass. The official evaluator smooths twice.",
    )
    tail: Literal["keep", "drop"] = Field(
        "keep",
        description="drop: a last segment that is shorter than the others is neither smoothed nor "
        "part of an event nor measured, as in the official code.",
    )
    causal: bool = Field(
        False,
        description="Scores are smoothed by their past alone, as on a live camera; the threshold "
        "is calibrated for it (docs/live.md).",
    )
    alarms_per_day: Annotated[float, Field(gt=0)] | None = Field(
        None, description="The budget of kind budget: alarms a day and camera."
    )
    window: Annotated[float, Field(gt=0)] = Field(
        3600,
        description="Seconds of footage; of the alarms of kind budget in one window, one counts.",
    )
    drop_top: Annotated[int, Field(ge=0)] = Field(
        0,
        description="How many of a camera's largest maxima kind budget leaves out, since they may "
        "be events.",
    )
    pool: Literal["camera", "all", "shrink"] = Field(
        "shrink",
        description="Whose windows make a camera's threshold: its own, those of all cameras, or "
        "those of all until its own are enough.",
    )
    by: Literal["hour-of-day"] | None = Field(
        None, description="hour-of-day: kind budget has a threshold per hour (UTC)."
    )
    merge_gap: Seconds = Field(0, description="Events that are nearer, in seconds, become one.")
    min_duration: Seconds = Field(0, description="Shorter events, in seconds, are dropped.")
    pad: Seconds = Field(0, description="Seconds by which events are prolonged on both sides.")
    low: float | None = Field(
        None, description="An event starts above tau and lasts while the score is above low."
    )
    ignore_hours: dict[str, tuple[str, ...]] = Field(
        {},
        description="Per camera, hours (UTC) as 22-6 or 22:30-06:00: events that lie in them are "
        "kept, marked as ignored and not counted.",
    )

    suppress: Suppress | None = Field(
        None,
        description="Events that look like one that was marked false are kept, shown as suppressed "
        "and not counted: {marks: FILE, similarity: 0.93}. Kind headhunt only (docs/alarms.md).",
    )

    @model_validator(mode="after")
    def _budget_is_whole(self) -> Locator:
        budget = self.kind == "budget"
        if budget and self.alarms_per_day is None:
            raise ValueError("kind is budget, but alarms_per_day is not set; give alarms a day")
        if not budget and self.alarms_per_day is not None:
            raise ValueError(
                f"alarms_per_day is {self.alarms_per_day:g}, but kind is {self.kind!r}, which has "
                "no budget; set kind: budget"
            )
        if budget and (self.alarms_per_day or 0) * self.window >= DAY:
            raise ValueError(
                f"alarms_per_day is {self.alarms_per_day:g}, but windows of {self.window:g} s "
                f"allow fewer than {DAY / self.window:g} a day; lower it, or shorten window"
            )
        for camera, hours in self.ignore_hours.items():
            try:
                parse_hours(hours, f"ignore_hours.{camera}")
            except ConfigError as error:
                raise ValueError(str(error)) from None
        return self

    @property
    def shapes_events(self) -> bool:
        """Whether what is shown is more than runs above one threshold."""
        return bool(
            self.merge_gap
            or self.min_duration
            or self.pad
            or self.low is not None
            or self.ignore_hours
            or self.suppress
        )

    @property
    def fallback(self) -> Fixed:
        """Smoothing and threshold where nothing calibrates them."""
        return NAMED[self.fixed] if isinstance(self.fixed, str) else self.fixed

    @property
    def thresholds(self) -> list[float] | Literal["exact"]:
        """The grid of tau, as a flag takes it."""
        if self.taus == "exact":
            return "exact"
        return (PAPER_TAUS if self.taus == "paper" else self.taus).words()


class Needs(NamedTuple):
    """What a method needs before it scores a video, each in a few words; "" for nothing."""

    labels: str = ""
    training: str = ""
    wordings: str = ""


class Method(Section):
    """The part of a method's entry that all kinds share."""

    kind: str = Field(description="Which method this is; decides the other keys.")
    locator: Locator = Locator()

    @property
    def asks(self) -> dict[str, str]:
        """The names of the models that it asks, by the key that holds each."""
        return {}

    @property
    def needs(self) -> Needs:
        """What it needs besides a threshold, for the comparison of methods."""
        return Needs()

    def jobs(self, name: str, study: Study) -> list[str]:
        """The jobs that make the scores of method `name`: their benchmarks, without the suffix.

        Folders that have a file for each video, or single files; docs/compare.md adds them up.
        """
        return []


def vector_jobs(study: Study, encoder: str, stride: int, windows: str | None = None) -> list[str]:
    """The jobs that turn frames into vectors: those of a grid, or of exact windows."""
    size = study.fitted_size(encoder)
    if windows:
        return [
            f"sample_windows/{windows}/vectors.{encoder}/{size}",
            f"embed_windows/{encoder}/{windows}",
        ]
    return [
        f"sample_grid/{stride}/vectors.{encoder}/{size}",
        f"embed_frames/{encoder}/grid{stride}",
    ]


def take_preset(data: Any, presets: Mapping[str, Mapping[str, Any]]) -> Any:
    """A method's entry, completed by the defaults of the preset that its key `preset` names.

    Whatever the entry itself says stays, also inside of a section. Without the key, the first
    preset. What is no entry, or names an unknown preset, is left to the check of types.
    """
    if not isinstance(data, Mapping):
        return data
    name = data.get("preset", next(iter(presets)))
    full = dict(data)
    for key, value in presets.get(name, {}).items() if isinstance(name, str) else ():
        given = full.get(key, {} if isinstance(value, Mapping) else value)
        both = isinstance(value, Mapping) and isinstance(given, Mapping)
        full[key] = {**value, **given} if both else given
    return full
