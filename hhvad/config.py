"""The keys of the config and prompts files: one typed source of names, defaults and descriptions.

The JSON schemas in workflow/schemas and the table in config/README.md are written from these models
(`hhvad write-reference`). The keys of a method are in hhvad/methods/KIND/settings.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from hhvad.clock import parts
from hhvad.errors import ArtifactError, ConfigError
from hhvad.files import read_text

ID = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"

Id = Annotated[str, StringConstraints(pattern=ID, max_length=100)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0)]
Text = Annotated[str, StringConstraints(pattern=r"\S")]
Size = Annotated[tuple[Count, Count], Field(description="Height and width.")]


class Section(BaseModel):
    """A part of the config: unknown keys are errors, and nothing changes after it was read."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _null_of_the_command_line(cls, data: Any) -> Any:
        """`snakemake --config key=null` gives the text `null`."""
        if isinstance(data, Mapping):
            return {key: None if value == "null" else value for key, value in data.items()}
        return data


S = TypeVar("S", bound=Section)


class Model(Section):
    """A named checkpoint; each is loaded once per device."""

    path: Annotated[str, Field(min_length=1)] = Field(
        description="Checkpoint folder, Hugging Face hub id, or a tiny model that comes with "
        "hhvad: `demo` (multimodal), `demo-clip` (encoder) or `demo-llm`."
    )
    revision: str | None = Field(
        None,
        description="Commit or tag of a hub id. What is no commit is looked up once per study, and "
        "kept in `results/STUDY/models/NAME.commit`.",
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16", "float8"] = Field(
        "auto",
        description="Number format of the weights; auto is the checkpoint's, but float32 on a CPU "
        "that has no instructions for it and enough memory. The log and the provenance say which "
        "and why. float8 (never chosen by auto; for GPUs from Ada and Hopper on) rounds what "
        "enters matrix products to eight bits: faster, and other features; see "
        "`benchmarks/float8.md`.",
    )
    times: Literal["video", "fixed"] = Field(
        "video",
        description="When frames are shown, as Qwen3-VL reads it in a capture: the video's true "
        "times, from the start of the segment, or two frames per second.",
    )
    outer_marks: bool = Field(
        False,
        description="Whether Qwen3-VL reads the marks of a video around the marks of its frames, "
        "as transformers from 5.12 on writes them.",
    )
    size: Size | None = Field(
        None, description="Height and width of its frames; by default `sampling.size`."
    )
    fit: Literal["stretch", "crop"] = Field(
        "stretch",
        description="How single frames get that size (those of `lavad`, `zero-shot` and `scorer`): "
        "stretched, so that all of the picture is seen, or, as CLIP was trained, its middle at its "
        "own shape.",
    )
    batch_size: Count = Field(
        8,
        description="Texts that are written, or texts and pictures that are turned into vectors, "
        "at once. Part of what is computed: batches of another size round differently.",
    )


class Sampling(Section):
    """Which frames the models see: the same segments for all methods."""

    frames_per_segment: Annotated[int, Field(ge=1, le=256)] = Field(
        16, description="F, the frames that a model sees at once."
    )
    segment_length: Count = Field(48, description="Frames of a segment; segments do not overlap.")
    size: Size = Field(
        (448, 448),
        description="Height and width that frames are resized to; InternVL3 wants 448 x 448.",
    )
    on_damage: Literal["fail", "skip-to-keyframe"] = Field(
        "fail",
        description="What becomes of a damaged video: it fails, or the frames from the damage to "
        "the next key frame get no score and the rest counts (docs/video.md).",
    )
    threads: Count = Field(2, description="CPU threads that decode a video.")
    scratch_mb: Count = Field(
        4096,
        description="MiB of frames that a job keeps on scratch; those of a longer video are "
        "decoded while the model looks at the ones before. Changes nothing else.",
    )
    timeout: Annotated[float, Field(gt=0, le=1e6)] = Field(
        3600, description="Seconds after which decoding one video counts as hung."
    )


class Compute(Section):
    """How models run; nothing here changes what is computed."""

    device: Annotated[
        str, StringConstraints(pattern=r"^(auto|cpu|cuda(:[0-9]+)?(,cuda:[0-9]+)*)$")
    ] = Field("auto", description="auto, cpu, cuda:0, or several as cuda:0,cuda:1.")
    batch_size: Literal["auto"] | Count = Field(
        "auto",
        description="Segments per forward pass of a capture; auto finds it from free memory.",
    )
    threads: Count = Field(2, description="CPU threads of the model.")
    resident: bool = Field(
        True, description="Keep the model loaded between jobs; false loads it in every job."
    )
    segment_seconds: Annotated[float, Field(gt=0)] = Field(
        2,
        description="Seconds that a segment takes at most; the time that a job asks a cluster for "
        "follows from it.",
    )
    idle_timeout: Annotated[float, Field(gt=0)] = Field(
        60, description="Seconds after which an idle resident model ends."
    )


class Floor(Section):
    """What is added to every score before frames are chosen by it."""

    kind: Literal["share", "absolute"] = Field(
        "share",
        description="share of the mass of all scores, or absolute per dense frame (the paper's).",
    )
    value: Annotated[float, Field(ge=0)] = Field(
        0.2, description="Below 1 for a share; the paper's absolute floor is 0.1."
    )


class Focus(Section):
    """Which frames a description looks at: more of them where scores are high."""

    scores: Id | None = Field(
        None,
        description="The method whose scores choose the frames; by default the one whose events "
        "are described.",
    )
    frames: Annotated[int, Field(ge=1, le=256)] = Field(
        12, description="N, the frames of each clip, each event and the whole video."
    )
    floor: Floor = Floor()
    distinct: bool = Field(True, description="No frame twice; false is the paper's.")


class Questions(Section):
    """What is asked of a clip, and the three questions to an event and a video."""

    clip: Text = Field(
        "Describe in one sentence what happens in these frames.",
        description="Asked of each clip.",
    )
    judgement: Text = Field(
        "Does anything abnormal happen in this video? Answer yes or no.",
        description="Asked of each event and video: whether anything is wrong, yes or no. The "
        "model is not told what the detector found.",
    )
    description: Text = Field(
        "Describe what happens in this video: who does what, and where.",
        description="Asked of each event and video.",
    )
    analysis: Text = Field(
        "Explain what in this video is abnormal, or why everything in it is ordinary.",
        description="Asked of each event and video.",
    )
    parts: Text = Field(
        "What was seen in its parts, in order of time:",
        description="Stands before the texts of the lower level, behind the question.",
    )


class Describe(Section):
    """Sentences beside events: clips, events and whole test videos, described by a model."""

    model: Id = Field(description="Name in `models` of the multimodal model that looks.")
    llm: Id | None = Field(
        None,
        description="Name in `models` of who reads, where `hierarchy` is texts; by default the "
        "text part of `model`.",
    )
    method: Id | None = Field(
        None, description="The method whose events are described; by default the first."
    )
    hierarchy: Literal["joint", "frames", "texts"] = Field(
        "joint",
        description="What events and videos are described from: their frames and the texts of the "
        "level below, their frames alone, or those texts alone.",
    )
    clip_seconds: Annotated[float, Field(gt=0)] = Field(5.0, description="The longest clip.")
    margin_seconds: Annotated[float, Field(ge=0)] = Field(
        2.0, description="What is shown before and after an event."
    )
    merge_seconds: Annotated[float, Field(ge=0)] = Field(
        1.0, description="Events nearer than this are described as one."
    )
    focus: Focus = Focus()
    system: str = Field("", description="System message before every question.")
    questions: Questions = Questions()
    max_tokens: Count = Field(128, description="Tokens of the longest answer.")


class Hivau(Section):
    """HIVAU-70k's questions about the test videos, answered by a model and compared."""

    instructions: Text = Field(description="Its instruction file, JSONL.")
    annotations: Annotated[tuple[Text, ...], Field(min_length=1)] = Field(
        description="Its raw annotation files, JSON, which say where events and clips are."
    )
    model: Id = Field(description="Name in `models` of the multimodal model that answers.")
    scores: Id | None = Field(
        None,
        description="The method by whose scores frames are chosen; by default they are evenly "
        "spaced.",
    )
    frames: Annotated[int, Field(ge=1, le=256)] = Field(
        12, description="Frames of each range that the model sees."
    )
    system: str = Field("", description="System message before every question.")
    max_tokens: Count = Field(256, description="Tokens of the longest answer.")


class Tune(Section):
    """An adapter (LoRA) that a model learns from answers about calibration videos."""

    model: Id = Field(description="Name in `models` of the multimodal model that is tuned.")
    instructions: Text | None = Field(
        None, description="HIVAU-70k's instruction file of the training videos, JSONL."
    )
    annotations: tuple[Text, ...] = Field(
        (), description="The raw annotation files, JSON, that say where its events and clips are."
    )
    lessons: tuple[Text, ...] = Field(
        (), description="Further questions and answers, TSV with the columns of `list-hivau`."
    )
    frames: Annotated[int, Field(ge=1, le=256)] = Field(
        12, description="Frames of each range that the model sees, evenly spaced."
    )
    system: str = Field("", description="System message before every question.")
    rank: Count = Field(64, description="Rank of the adapter's matrices.")
    alpha: Annotated[float, Field(gt=0)] = Field(
        128, description="The adapter's weight is `alpha / rank`."
    )
    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.05, description="Share of the adapter's inputs that a step leaves out."
    )
    rate: Annotated[float, Field(gt=0)] = Field(4e-5, description="Highest learning rate.")
    warmup: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.03, description="Share of the steps in which the rate rises; it then falls as a cosine."
    )
    decay: Annotated[float, Field(ge=0)] = Field(0.01, description="Weight decay of AdamW.")
    batch: Count = Field(512, description="Questions a step.")
    epochs: Count = Field(1, description="How often each question is asked.")
    seed: Seed = Field(0, description="Of the adapter's start, the order and the dropout.")

    @model_validator(mode="after")
    def _has_lessons(self) -> Self:
        if not self.instructions and not self.lessons:
            raise ValueError("it needs `instructions` or `lessons` to learn from")
        if bool(self.instructions) != bool(self.annotations):
            raise ValueError("`instructions` and `annotations` belong together: give both")
        return self


class Metrics(Section):
    """How scores are compared with annotations."""

    interval: Literal["half-open", "inclusive"] = Field(
        "half-open",
        description="Whether an annotated end frame is itself anomalous (inclusive) or not.",
    )
    bootstrap: Annotated[int, Field(ge=0)] = Field(
        1000,
        description="Resamples of the test videos, for the 95 % intervals of metrics that have no "
        "jackknife interval; 0 for none.",
    )
    seed: Seed = Field(0, description="Seed of the resamples.")


class Pathvars(Section):
    """Where files go. What is not set follows from the study's name."""

    results: str | None = Field(
        None, description="Folder of all artifacts and results; by default `results/STUDY`."
    )
    resources: str = Field("resources", description="Folder of the generated demo videos.")
    logs: str | None = Field(None, description="Folder of the jobs' logs; by default `logs/STUDY`.")
    scratch: str = Field(
        "<results>/scratch",
        description="Folder of the segments' frames, which are deleted when they were captured; "
        "may be a node's own disk where sampling and capture share a group.",
    )
    benchmarks: str = Field("<logs>/benchmarks", description="Folder of the jobs' time and memory.")


class Demo(Section):
    """The demo's procedural videos."""

    seed: Seed = Field(0, description="Seed of the demo videos.")


class Config(Section):
    """Every key of the config file but those of the methods, which depend on their kind."""

    study: Id | None = Field(
        None,
        description="Name of the study: its results are in `results/STUDY`. By default the name of "
        "the config file without its suffix.",
    )
    videos: str = Field(description="The sample sheet, tab-separated, one row per video.")
    start_pattern: str | None = Field(
        None,
        description="How a video's file name tells when its recording started, as in "
        "`cam1_%Y%m%d-%H%M%S`; UTC unless `%z` is in it (docs/video.md). By default, and for names "
        "that do not fit, the file's creation time, where it has one.",
    )
    models: dict[Id, Model] = Field(
        {}, description="Named checkpoints; methods refer to them by name."
    )
    methods: dict[Id, dict[str, Any]] = Field(
        description="Named ways from a video to its scores; all are run. The first is the one that "
        "is shown first."
    )
    dataset: str = Field("none", description="Whose published numbers to print beside the result.")
    describe: Describe | None = Field(
        None, description="Describes events in sentences; by default nothing is described."
    )
    hivau: Hivau | None = Field(
        None, description="Answers HIVAU-70k's questions; by default none (docs/describe.md)."
    )
    tune: Tune | None = Field(
        None, description="Tunes a model, for the target `tune` alone; by default none is."
    )
    masks: str | None = Field(
        None,
        description="YAML file of what is hidden from all models: per camera, a list of polygons "
        "of [x, y], from 0 to 1 of the upright picture (docs/alarms.md).",
    )
    sampling: Sampling = Sampling()
    compute: Compute = Compute()
    metrics: Metrics = Metrics()
    pathvars: Pathvars = Pathvars()
    demo: Demo = Demo()

    @model_validator(mode="before")
    @classmethod
    def _old_form(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and "model" in data:
            raise ValueError(
                "`model:` is the form of an older hhvad; write `models: {NAME: {path: ..., dtype: "
                "...}}` and `methods: {headhunt: {kind: headhunt, model: NAME, prompts: FILE}}` "
                "instead (config/README.md)"
            )
        return data

    @field_validator("start_pattern")
    @classmethod
    def _pattern(cls, pattern: str | None) -> str | None:
        if pattern is not None:
            try:
                parts(pattern)
            except ConfigError as error:
                raise ValueError(str(error)) from error
        return pattern

    @field_validator("methods")
    @classmethod
    def _some_method(cls, methods: dict[str, Any]) -> dict[str, Any]:
        if not methods:
            raise ValueError("there is no method; name at least one")
        return methods


class Prompts(Section):
    """A prompts file: wordings of one question, and which one is asked online."""

    online: Id = Field(description="Id of the prompt that validation and test videos are asked.")
    system: str = Field("", description="System message before every prompt; empty for none.")
    prompts: dict[Id, Text] = Field(description="Id and text of at least two prompts.")


def read_yaml(path: str | Path) -> Any:
    """Read a YAML file; ConfigError where it is absent, not YAML, or names a key twice."""
    try:
        return _UniqueKeys(read_text(path)).get_single_data()
    except ArtifactError as error:
        raise ConfigError(str(error)) from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not YAML: {error}") from error


class _UniqueKeys(yaml.SafeLoader):
    """YAML lets the last of two equal keys win in silence; we refuse both."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for index, key in enumerate(keys):
            if key in keys[:index]:
                raise yaml.YAMLError(
                    f"key {key!r} is there twice (line {node.start_mark.line + 1})"
                )
        return super().construct_mapping(node, deep)


def parse(section: type[S], data: Any, source: str, prefix: Sequence[str] = ()) -> S:
    """`data` as a section, defaults filled in.

    Raises ConfigError that names `source`, the key (below `prefix`), its value and what is allowed.
    """
    if data is None:
        raise ConfigError(f"{source}: the file is empty")
    try:
        return section.model_validate(data)
    except ValidationError as error:
        first = min(error.errors(), key=lambda one: (one["type"] != "extra_forbidden",))
        raise ConfigError(_explain(section, first, source, prefix)) from None


def _explain(
    section: type[Section], error: ErrorDetails, source: str, prefix: Sequence[str]
) -> str:
    """One line for the first mistake."""
    path = list(_keys(section, error["loc"]))
    key = ".".join(map(str, (*prefix, *path)))
    name = f"{source}: {key}" if key else source
    value = error["input"]
    shown = repr(value) if len(repr(value)) < 80 else f"{repr(value)[:77]}..."
    context = error.get("ctx", {})
    if error["type"] == "extra_forbidden":
        known = ", ".join(_known(section, path[:-1]))
        return f"{source}: key {key!r} is unknown; known here: {known}"
    if error["type"] == "missing":
        return f"{source}: key {key!r} is required; add it"
    if error["type"] == "value_error":
        return f"{name}: {context.get('error', error['msg'])}"
    if error["type"] == "literal_error":
        return f"{name} is {shown}; it must be {context['expected']}"
    if error["type"] == "string_type" and isinstance(value, bool | int | float):
        return f"{name} is {shown}, as YAML reads it (`off` is False): put it into quotes"
    return f"{name} is {shown}: {error['msg'][0].lower()}{error['msg'][1:]}"


def _keys(section: type[Section], location: tuple[int | str, ...]) -> Iterator[int | str]:
    """The location of an error without the names that pydantic adds for unions and keys."""
    for part in location:
        if isinstance(part, str) and (part == "[key]" or "[" in part or part == "constrained-str"):
            continue
        if part in ("int", "float", "str", "tuple", "literal"):
            continue
        yield part


def _known(section: type[Section], path: Sequence[int | str]) -> list[str]:
    """The keys of the (sub-)section at `path`."""
    found: Any = section
    for part in path:
        fields = getattr(found, "model_fields", {})
        if part in fields:
            annotation = fields[part].annotation
            arguments = [
                one
                for one in (annotation, *getattr(annotation, "__args__", ()))
                if isinstance(one, type) and issubclass(one, Section)
            ]
            found = arguments[0] if arguments else found
    return list(getattr(found, "model_fields", ()))
