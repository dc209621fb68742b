"""A study: config, prompts and sheet, read, checked and completed once.

The Snakefile and the command line see the same object, so that what `hhvad check-config` accepts
is what runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hhvad import checkpoint, registry, sheet
from hhvad.config import Config, Describe, Model, Prompts, Sampling, parse, read_yaml
from hhvad.errors import ConfigError, ModelError, SheetError
from hhvad.files import digest
from hhvad.localization.locator import shortest_event
from hhvad.masks import Polygons, require_cameras
from hhvad.masks import read as read_masks
from hhvad.methods import GROUP, KINDS
from hhvad.methods.headhunt.settings import HeadHunt
from hhvad.methods.hiprobe.settings import HiProbe
from hhvad.methods.lavad.settings import Caption, Lavad, Wordings
from hhvad.methods.motion.settings import Motion
from hhvad.methods.probe.settings import Probe
from hhvad.methods.scorer.settings import Scorer
from hhvad.methods.settings import Method
from hhvad.methods.vera.settings import Questions, Vera
from hhvad.methods.zero_shot.settings import ZeroShot
from hhvad.records import HeadId, Video
from hhvad.viewer.marks import Mark, decided
from hhvad.viewer.marks import read as read_marks


@dataclass(frozen=True)
class Prompt:
    """A wording as a model is asked it, after a system message."""

    text: str
    system: str = ""


@dataclass(frozen=True)
class Frozen:
    """A finished detector that a method reads instead of calibrating."""

    path: str
    prompt: str
    text: Prompt
    experts: tuple[HeadId, ...]
    cameras: tuple[str, ...] = ()  # those that have a threshold of their own


@dataclass(frozen=True)
class Study:
    """A checked study. Make one with `Study.load` or `Study.read`.

    videos: by id, in the order of the ids, so that the order of the sheet's rows means nothing.
    notes: what a person should know before anything expensive runs, each a sentence.
    """

    name: str
    source: str
    config: Config
    methods: Mapping[str, Method]
    videos: Mapping[str, Video]
    wordings: Mapping[str, Prompts]  # by method
    frozen: Mapping[str, Frozen]  # by method
    questions: Mapping[str, Wordings]  # by method
    guides: Mapping[str, Questions] = field(default_factory=dict)  # by method
    notes: Sequence[str] = field(default=())
    masks: Mapping[str, Polygons] = field(default_factory=dict)  # by camera
    marks: Mapping[str, Sequence[Mark]] = field(default_factory=dict)  # by method that suppresses

    # --- reading ----------------------------------------------------------------------------------

    @classmethod
    def read(cls, path: str | Path) -> Study:
        """The study of a config file. Raises ConfigError, SheetError, ModelError, ArtifactError."""
        return cls.load(read_yaml(path), [path])

    @classmethod
    def load(cls, data: Any, files: Sequence[str | Path]) -> Study:
        """The study of a config that is already read, from `files` and the command line.

        The name of the study follows from the last file. Raises as `read`.
        """
        for file in files:
            read_yaml(file)  # keys that are there twice
        source = str(files[-1]) if files else "config"
        config = parse(Config, data, source)
        name = config.study or (Path(source).stem if files else "study")
        if not sheet.ID.fullmatch(name):
            raise ConfigError(f"{source}: study is {name!r}; give it a name of letters and digits")
        methods = {key: _method(key, entry, source) for key, entry in config.methods.items()}
        videos = sheet.read(config.videos)
        study = cls(
            name=name,
            source=source,
            config=config,
            methods=methods,
            videos={video.video: video for video in sorted(videos, key=lambda one: one.video)},
            wordings={
                key: _prompts(method.prompts)
                for key, method in methods.items()
                if isinstance(method, HeadHunt) and not method.detector
            },
            frozen={
                key: _frozen(method.detector)
                for key, method in methods.items()
                if isinstance(method, HeadHunt) and method.detector
            },
            questions={
                key: parse(Wordings, read_yaml(method.prompts), method.prompts)
                for key, method in methods.items()
                if isinstance(method, Lavad)
            },
            guides={
                key: parse(Questions, read_yaml(method.questions), method.questions)
                for key, method in methods.items()
                if isinstance(method, Vera)
            },
            masks=read_masks(config.masks) if config.masks else {},
            marks={
                key: decided(read_marks(suppress.marks), key)
                for key, method in methods.items()
                if (suppress := method.locator.suppress)
            },
        )
        return replace(study, notes=tuple(study._check()))

    # --- what it says -----------------------------------------------------------------------------

    @property
    def models(self) -> Mapping[str, Model]:
        """The models by name."""
        return self.config.models

    @cached_property
    def asked(self) -> list[str]:
        """The models that some method or a description asks."""
        models = [model for one in self.methods.values() for model in one.asks.values()]
        if self.describe:
            models += [self.describe.model, *filter(None, [self.describe.llm])]
        if self.config.hivau:
            models.append(self.config.hivau.model)
        return list(dict.fromkeys(models))

    @property
    def folders(self) -> dict[str, str]:
        """Where files go: the config's pathvars, completed by the study's name."""
        given = self.config.pathvars.model_dump(exclude_none=True)
        return {"results": f"results/{self.name}", "logs": f"logs/{self.name}", **given}

    @property
    def results(self) -> Path:
        """The folder of artifacts and results."""
        return Path(self.folders["results"])

    def of(self, *kinds: type[Method]) -> list[str]:
        """The methods of these kinds by name."""
        return [name for name, method in self.methods.items() if isinstance(method, kinds)]

    @cached_property
    def budgeted(self) -> list[str]:
        """The methods whose threshold follows from a budget of alarms."""
        return [name for name, method in self.methods.items() if method.locator.kind == "budget"]

    @cached_property
    def alarmed(self) -> list[str]:
        """The methods whose events depend on the camera, or are not just runs above tau."""
        return [
            name
            for name, method in self.methods.items()
            if method.locator.kind == "budget"
            or method.locator.shapes_events
            or (name in self.frozen and self.frozen[name].cameras)
        ]

    def split(self, name: str) -> list[str]:
        """The ids of a split's videos, sorted."""
        return [video.video for video in self.videos.values() if video.split == name]

    @cached_property
    def annotated(self) -> list[str]:
        """The test videos that have a frame annotation."""
        return [name for name in self.split("test") if self.videos[name].events is not None]

    @cached_property
    def labelled(self) -> list[str]:
        """The test videos whose label is known."""
        return [name for name in self.split("test") if self.videos[name].label is not None]

    def annotation(self, names: Sequence[str]) -> str:
        """A digest of what the sheet says of these videos: it changes when an annotation does."""
        rows = [self.videos[name] for name in names]
        return digest([(v.video, v.label, v.category, sheet.format_events(v.events)) for v in rows])

    def mask(self, video: str) -> Polygons:
        """What of a video's picture is hidden from the models."""
        return self.masks.get(self.videos[video].camera, ())

    def marked(self, method: str) -> list[str]:
        """The videos whose marked events can be compared with later ones, sorted.

        Not those of split calibration: their segments need not have been looked at.
        """
        names = {mark.video for mark in self.marks[method]} & set(self.videos)
        return sorted(name for name in names if self.videos[name].split != "calibration")

    def size(self, model: str | None = None) -> tuple[int, int]:
        """Height and width of the frames that a model sees; without one, the study's."""
        own = self.models[model].size if model else None
        return own or self.config.sampling.size

    def size_name(self, model: str | None = None) -> str:
        """That size as it stands in file names."""
        return "x".join(map(str, self.size(model)))

    def fitted_size(self, model: str) -> str:
        """The same of a model's single frames, and that they are cut."""
        return self.size_name(model) + ("-crop" if self.models[model].fit == "crop" else "")

    @cached_property
    def costed(self) -> dict[str, dict[str, Any]]:
        """Of each method its kind, what it needs, and the jobs that make its scores and events."""
        return {
            name: {
                "kind": method.kind,
                "needs": method.needs._asdict(),
                "jobs": [
                    "probe_video",
                    *method.jobs(name, self),
                    f"calibrate_budget/{name}"
                    if name in self.budgeted
                    else f"calibrate_locator/{name}",
                    f"localize_alarms/{name}"
                    if name in self.alarmed
                    else f"localize_events/{name}",
                ],
            }
            for name, method in self.methods.items()
        }

    def seen(self, model: str) -> tuple[int | str, ...]:
        """What the single frames that a model sees depend on: their size, and that they are cut."""
        fit = self.models[model].fit
        return (*self.size(model), *([fit] if fit == "crop" else []))

    @cached_property
    def prompts(self) -> dict[tuple[str, str], Prompt]:
        """The wordings by (model, id), of all methods together."""
        found: dict[tuple[str, str], Prompt] = {}
        for name in self.of(HeadHunt):
            for prompt_id, prompt in self.prompts_of(name).items():
                found[self.headhunt(name).model, prompt_id] = prompt
        return found

    def prompts_of(self, method: str) -> dict[str, Prompt]:
        """The wordings of a HeadHunt by id; of a frozen one, those of its detector."""
        if method in self.frozen:
            frozen = self.frozen[method]
            return {frozen.prompt: frozen.text}
        wordings = self.wordings[method]
        return {key: Prompt(text, wordings.system) for key, text in wordings.prompts.items()}

    def online(self, method: str) -> str:
        """Id of the prompt that a HeadHunt asks of validation and test videos."""
        if method in self.frozen:
            return self.frozen[method].prompt
        return self.wordings[method].online

    def headhunt(self, method: str) -> HeadHunt:
        """The settings of a method of kind headhunt."""
        found = self.methods[method]
        if not isinstance(found, HeadHunt):
            raise KeyError(method)
        return found

    def lavad(self, method: str) -> Lavad:
        """The settings of a method of kind lavad."""
        found = self.methods[method]
        if not isinstance(found, Lavad):
            raise KeyError(method)
        return found

    @cached_property
    def captions(self) -> dict[tuple[str, str], Caption]:
        """What captioners are asked, by (model, id), of all methods together."""
        return {
            (captioner, self.lavad(name).caption.id): self.lavad(name).caption
            for name in self.of(Lavad)
            for captioner in self.lavad(name).captioners
        }

    @property
    def describe(self) -> Describe | None:
        """How events are described; None where they are not."""
        return self.config.describe

    @property
    def described(self) -> str | None:
        """The method whose events are described."""
        return None if self.describe is None else self.describe.method or next(iter(self.methods))

    @cached_property
    def exact_frames(self) -> dict[str, Lavad]:
        """By the name of the frames of exact windows, a method that has them."""
        found = {self.lavad(name).exact_frames: self.lavad(name) for name in self.of(Lavad)}
        return {name: method for name, method in found.items() if name}

    @cached_property
    def multimodal(self) -> list[str]:
        """The models that are shown frames and asked about them."""
        models = [model for model, _ in [*self.prompts, *self.captions]]
        models += [
            method.model
            for method in self.methods.values()
            if isinstance(method, Probe | Vera | HiProbe)
        ]
        told = [one.model for one in (self.describe, self.config.hivau) if one]
        return list(dict.fromkeys([*models, *told]))

    def segment_length(self, method: str) -> int:
        """The frames to which one score of a method applies."""
        settings = self.methods[method]
        if isinstance(settings, Lavad | Scorer | Vera | ZeroShot):
            return settings.stride
        return self.config.sampling.segment_length

    def calibrates(self, model: str, view: str) -> bool:
        """Whether captures of calibration videos in this view make the samples of some method."""
        return any(
            self.headhunt(name).model == model and self.headhunt(name).calibration.view == view
            for name in self.wordings
        )

    def wanted_heads(self, model: str, prompt: str) -> list[HeadId] | None:
        """The heads that captures of segments keep: None for all, or some frozen detectors'."""
        wanted: set[HeadId] = set()
        for name in self.of(HeadHunt):
            method = self.headhunt(name)
            if method.model == model and prompt in self.prompts_of(name):
                if method.heads == "all":
                    return None
                wanted.update(self.frozen[name].experts)
        return sorted(wanted)

    def check_of(self, model: str) -> dict[str, Any]:
        """What a model must be able to do, as arguments of hhvad.mllm.check.check_model."""
        prompts = [prompt for (name, _), prompt in self.prompts.items() if name == model]
        captions = [caption for (name, _), caption in self.captions.items() if name == model]
        for method in self.methods.values():
            if isinstance(method, Probe) and method.model == model:
                prompts += [Prompt(text, method.system) for text in method.questions]
            if isinstance(method, HiProbe) and method.model == model:
                prompts.append(Prompt(method.question, method.system))
        frames = [self.config.sampling.frames_per_segment for _ in prompts]
        for name, guide in self.guides.items():
            method = self.methods[name]
            if isinstance(method, Vera) and method.model == model:
                prompts.append(Prompt(guide.text, guide.system))
                frames.append(method.window.samples)
        if self.describe and self.describe.model == model:
            asked = self.describe.questions.model_dump(exclude={"parts"}).values()
            prompts += [Prompt(text, self.describe.system) for text in asked]
            frames.append(self.describe.focus.frames)
        hivau = self.config.hivau
        if hivau and hivau.model == model:  # its questions are in its own file
            prompts.append(Prompt("Is there an anomaly in the video?", hivau.system))
            frames.append(hivau.frames)
        return {
            "dtype": self.models[model].dtype,
            "device": self.config.compute.device,
            "frames": max(frames + [caption.frames_shown for caption in captions]),
            "size": self.size(model),
            "prompts": [prompt.text for prompt in prompts] + [c.prompt for c in captions],
            "system": max((prompt.system for prompt in prompts), key=len, default=""),
        }

    # --- the checks that no single value can fail -------------------------------------------------

    def _check(self) -> Iterator[str]:
        """Raises the first mistake; yields notes."""
        for name, model in self.models.items():
            try:
                checkpoint.resolve(model.path)
            except Exception as error:
                raise type(error)(f"{self.source}: models.{name}.path: {error}") from None
        self._check_dataset()
        for name in self.methods:
            self._check_method(name)
            if isinstance(self.methods[name], HeadHunt):
                self._check_headhunt(name)
            if isinstance(self.methods[name], Lavad):
                self._check_lavad(name)
            if isinstance(method := self.methods[name], Scorer):
                self._check_head(name, method)
        self._check_describe()
        if self.config.tune and find_spec("peft") is None:
            yield (
                "tune needs peft, which is not installed here: pip install 'hhvad[tune]', unless "
                "jobs run in environments of their own"
            )
        self._check_fit()
        self._check_shared_prompts()
        needing = [name for name in self.wordings if name not in self.frozen]
        needing += self.of(HiProbe)
        if needing:
            self._check_calibration(needing)
        elif self.of(Motion) and not self.split("calibration"):
            raise SheetError(
                f"{self.config.videos}: split calibration has no videos; scores of motion are "
                "scaled on them; add rows"
            )
        for name, method in self.methods.items():
            if isinstance(method, Vera) and method.learn:
                self._check_learning(name)
            if isinstance(method, Vera) and method.position_weight:
                yield (
                    f"methods.{name}.position_weight: scores are higher in the middle of a video "
                    "whatever is seen there; a part of its AUC is where events lie in this data set"
                )
        yield from self._check_validation()
        yield from self._check_cameras()
        yield from self._check_marks()
        yield from self._check_demo()
        yield from self._check_gpu()

    def _check_dataset(self) -> None:
        from hhvad.evaluation import published

        known = ["none", *dict.fromkeys(row.dataset for row in published.TABLE)]
        if self.config.dataset not in known:
            raise ConfigError(
                f"{self.source}: dataset is {self.config.dataset!r}; it must be one of "
                f"{', '.join(known)}"
            )

    def _check_method(self, name: str) -> None:
        method, key = self.methods[name], f"{self.source}: methods.{name}"
        for role, model in method.asks.items():
            if model not in self.models:
                known = ", ".join(self.models) or "none: add a section models"
                raise ConfigError(f"{key}.{role} is {model!r}; it must be one of {known}")
            self._check_role(f"{key}.{role}", model, is_encoder=role == "encoder")
        for grid in ("sigmas", "taus"):
            values = getattr(method.locator, grid)
            if not isinstance(values, str) and values.last < values.first:
                raise ConfigError(
                    f"{key}.locator.{grid}.last is {values.last}, below first {values.first}"
                )

    def _check_role(self, key: str, model: str, *, is_encoder: bool) -> None:
        """Refuse an encoder where a model has to speak, and the reverse.

        A checkpoint that is not here, or whose config.json cannot be read, is left to its jobs.
        """
        path = self.models[model].path
        try:
            kind = checkpoint.kind_of(checkpoint.resolve(path))
        except ModelError:
            return
        if is_encoder and self.models[model].dtype == "float8":
            raise ConfigError(
                f"{key} is {model!r}, of dtype float8, which encoders do not take; use float16"
            )
        if kind is not None and (kind in checkpoint.ENCODERS) != is_encoder:
            known = ", ".join(sorted(checkpoint.ENCODERS))
            wanted = (
                f"it must be an encoder ({known})" if is_encoder else "an encoder says no words"
            )
            raise ConfigError(
                f"{key} is {model!r}, whose checkpoint {path} is of kind {kind!r}; {wanted}"
            )

    def _check_fit(self) -> None:
        """Refuse to cut the segments that a model sees: they are sampled once for all models."""
        segments = {
            f"methods.{name}.{role}": model
            for name in self.of(HeadHunt, Probe, Vera, HiProbe)
            for role, model in self.methods[name].asks.items()
            if role != "encoder"
        }
        if self.describe:
            segments["describe.model"] = self.describe.model
        for key, model in segments.items():
            if self.models[model].fit == "crop":
                raise ConfigError(
                    f"{self.source}: models.{model}.fit is 'crop', but {key} shows it segments, "
                    "which are stretched; give the encoder an entry of its own in models"
                )

    def _check_headhunt(self, name: str) -> None:
        method, key = self.headhunt(name), f"{self.source}: methods.{name}"
        if method.detector:
            self._check_frozen(name)
        elif method.heads == "experts":
            raise ConfigError(
                f"{key}.heads is 'experts', but detector is not set: experts are known only after "
                "all heads of the calibration videos; name a finished detector, or use 'all'"
            )

    def _check_head(self, name: str, method: Scorer) -> None:
        key = f"{self.source}: methods.{name}"
        if method.weights is not None and not Path(method.weights).is_file():
            raise ConfigError(
                f"{key}.weights: {method.weights} is no file; write it from the official .pth with "
                "hhvad convert-scorer"
            )
        labels = {self.videos[video].label for video in self.split("calibration")}
        if method.train and labels != {"normal", "anomaly"}:
            raise SheetError(
                f"{self.config.videos}: {key}.train needs normal and anomalous videos of split "
                "calibration; add rows"
            )

    def _check_lavad(self, name: str) -> None:
        method, key = self.lavad(name), f"{self.source}: methods.{name}"
        known = ", ".join(self.questions[name].ratings)
        if method.rating not in self.questions[name].ratings:
            raise ConfigError(
                f"{key}.rating is {method.rating!r}; {method.prompts} has the ratings {known}"
            )
        for captioner in method.captioners:
            if self.captions[captioner, method.caption.id] != method.caption:
                raise ConfigError(
                    f"{key}.caption: another method asks captioner {captioner} something else "
                    f"under the id {method.caption.id!r}; give one of them another caption.id"
                )

    def _check_frozen(self, name: str) -> None:
        """Refuse a detector that was calibrated with another model or other frames."""
        from hhvad.methods.headhunt.detector import Detector

        method = self.headhunt(name)
        made = Detector.read(str(method.detector))
        key, path = f"{self.source}: methods.{name}", method.detector
        if method.model != made.model:
            raise ConfigError(
                f"{key}.model is {method.model!r}, but detector {path} was made with "
                f"{made.model!r}; name that one, or calibrate again"
            )
        sampling = self.config.sampling
        ours = {
            "frames_per_segment": sampling.frames_per_segment,
            "segment_length": sampling.segment_length,
            "size": list(self.size(method.model)),
        }
        theirs = {what: made.sampling.get(what, value) for what, value in ours.items()}
        if other := {what: value for what, value in theirs.items() if value != ours[what]}:
            wanted = ", ".join(f"{what}: {value}" for what, value in other.items())
            have = ", ".join(str(ours[what]) for what in other)
            raise ConfigError(
                f"{self.source}: detector {path} was made with sampling {{{wanted}}}, "
                f"the config has {have}; set it to that, or calibrate again"
            )
        if Path(checkpoint.resolve(self.models[method.model].path)).is_dir():
            ours_print = checkpoint.stamp(self.models[method.model].path)
            theirs_print = made.provenance.get("fingerprint")
            if theirs_print not in (None, ours_print):
                raise ConfigError(
                    f"{key}.detector: {path} was made with other weights of {made.model!r} "
                    f"(fingerprint {theirs_print}, the checkpoint has {ours_print}); use those "
                    "weights, or calibrate again"
                )

    def _check_describe(self) -> None:
        """Its models and methods are configured, and those of hivau and tune."""
        if hivau := self.config.hivau:
            for field_, value, known in (
                ("model", hivau.model, self.models),
                ("scores", hivau.scores, self.methods),
            ):
                if value is not None and value not in known:
                    raise ConfigError(
                        f"{self.source}: hivau.{field_} is {value!r}; it must be one of "
                        f"{', '.join(known) or 'none'}"
                    )
            self._check_role(f"{self.source}: hivau.model", hivau.model, is_encoder=False)
            for path in (hivau.instructions, *hivau.annotations):
                if not Path(path).is_file():
                    raise ConfigError(f"{self.source}: hivau: there is no file {path}")
        if tune := self.config.tune:
            if tune.model not in self.models:
                raise ConfigError(
                    f"{self.source}: tune.model is {tune.model!r}; it must be one of "
                    f"{', '.join(self.models) or 'none'}"
                )
            self._check_role(f"{self.source}: tune.model", tune.model, is_encoder=False)
            if self.models[tune.model].dtype == "float8":
                raise ConfigError(
                    f"{self.source}: tune.model is {tune.model!r}, of dtype float8, which cannot "
                    "be trained; use bfloat16"
                )
            given = [tune.instructions] if tune.instructions else []
            for path in (*given, *tune.annotations, *tune.lessons):
                if not Path(path).is_file():
                    raise ConfigError(f"{self.source}: tune: there is no file {path}")
            if not self.split("calibration"):
                raise SheetError(
                    f"{self.config.videos}: split calibration has no video; tune learns from its "
                    "videos alone: add rows, or remove the section"
                )
        if self.describe is None:
            return
        settings, key = self.describe, f"{self.source}: describe"
        for name, value, known in (
            ("model", settings.model, self.models),
            ("llm", settings.llm, self.models),
            ("method", settings.method, self.methods),
            ("focus.scores", settings.focus.scores, self.methods),
        ):
            if value is not None and value not in known:
                raise ConfigError(
                    f"{key}.{name} is {value!r}; it must be one of {', '.join(known)}"
                )
        floor = settings.focus.floor
        if floor.kind == "share" and floor.value >= 1:
            raise ConfigError(f"{key}.focus.floor.value is {floor.value}; a share is below 1")

    def _check_shared_prompts(self) -> None:
        """One id is one wording for a model: captures are named by it."""
        seen: dict[tuple[str, str], tuple[str, Prompt]] = {}
        for name in self.of(HeadHunt):
            for prompt_id, prompt in self.prompts_of(name).items():
                key = self.headhunt(name).model, prompt_id
                other, text = seen.setdefault(key, (name, prompt))
                if text != prompt:
                    raise ConfigError(
                        f"{self.source}: methods {other} and {name} ask model {key[0]} different "
                        f"wordings under the prompt id {prompt_id!r}; give one of them another id"
                    )

    def _check_calibration(self, needing: Sequence[str]) -> None:
        calibration = [self.videos[name] for name in self.split("calibration")]
        for label in ("normal", "anomaly"):
            count = sum(video.label == label for video in calibration)
            if count < 2:
                raise SheetError(
                    f"{self.config.videos}: split calibration has {count} videos labelled {label}; "
                    "heads cannot be told apart with fewer than two of each class; add rows"
                )
        unannotated = [video.video for video in calibration if video.events is None]
        for name in needing:
            method = self.methods[name]
            by_segments = (
                isinstance(method, HeadHunt | HiProbe) and method.calibration.view == "segments"
            )
            if unannotated and by_segments:
                raise SheetError(
                    f"{self.config.videos}: video {unannotated[0]}: calibration.view 'segments' of "
                    f"method {name} needs the events of anomalous calibration videos; fill the "
                    "column, or use view 'video'"
                )

    def _check_learning(self, name: str) -> None:
        """Refuse to learn questions where a class has no video."""
        for split in ("calibration", "validation"):
            labels = {self.videos[video].label for video in self.split(split)}
            for label in ("normal", "anomaly"):
                if label not in labels:
                    raise SheetError(
                        f"{self.config.videos}: split {split} has no video labelled {label}; "
                        f"methods.{name}.learn needs normal and anomalous ones; add rows"
                    )

    def _check_validation(self) -> Iterator[str]:
        calibrated = [
            name
            for name, method in self.methods.items()
            if name not in self.frozen and method.locator.kind == "calibrated"
        ]
        if not calibrated:
            return
        validation = [self.videos[name] for name in self.split("validation")]
        unannotated = [video.video for video in validation if video.events is None]
        if unannotated:
            raise SheetError(
                f"{self.config.videos}: video {unannotated[0]}: split validation needs the events "
                "of its anomalous videos; fill the column or move the video to another split"
            )
        if not any(video.events for video in validation):
            for name in calibrated:
                settings = self.methods[name].locator
                fixed, length = settings.fallback, self.segment_length(name)
                shortest = shortest_event(fixed.sigma, fixed.tau, settings.border, settings.causal)
                found = f"{shortest} segments, {shortest * length} frames" if shortest else "none"
                yield (
                    f"{self.config.videos} has no validation events: method {name} smooths with "
                    f"sigma {fixed.sigma} and calls anomalous what exceeds {fixed.tau}, whatever "
                    f"its scores are like; the shortest event that it can find: {found}"
                )

    def _check_cameras(self) -> Iterator[str]:
        """Every camera that is named exists; a budget has footage; who has none is said."""
        cameras = {video.camera for video in self.videos.values()}
        if self.config.masks:
            require_cameras(self.masks, cameras, f"masks: {self.config.masks}")
        reference = {self.videos[name].camera for name in self.split("reference")}
        if reference and not self.budgeted:
            yield (
                f"{self.config.videos}: split reference has {len(self.split('reference'))} videos, "
                "but no method has locator.kind budget: nothing reads them"
            )
        for name, method in self.methods.items():
            key = f"{self.source}: methods.{name}.locator"
            unknown = sorted(set(method.locator.ignore_hours) - cameras)
            if unknown:
                raise ConfigError(
                    f"{key}.ignore_hours names camera {unknown[0]!r}, which no row of "
                    f"{self.config.videos} has; its cameras are {', '.join(sorted(cameras))}"
                )
            budget = name in self.budgeted
            if budget and not reference:
                raise SheetError(
                    f"{self.config.videos}: split reference has no videos, but {key}.kind is "
                    "budget: add rows of ordinary footage, or choose another kind"
                )
            known = reference if budget else set()
            if name in self.frozen and not budget:
                known = set(self.frozen[name].cameras)
            lacking = sorted({self.videos[video].camera for video in self.split("test")} - known)
            if known and lacking:
                yield (
                    f"method {name}: no reference footage of camera {', '.join(lacking)}: it has "
                    "the pooled threshold of the others"
                )

    def _check_marks(self) -> Iterator[str]:
        """Marks need vectors and ordinary footage; those that cannot be used are counted."""
        for name, marks in self.marks.items():
            key = f"{self.source}: methods.{name}.locator.suppress"
            if not isinstance(self.methods[name], HeadHunt):
                raise ConfigError(
                    f"{key}: a method of kind {self.methods[name].kind} has no features of events "
                    "to compare with marks; remove the key (kind headhunt has some)"
                )
            if name in self.frozen and name not in self.budgeted:
                raise ConfigError(
                    f"{key}: a frozen detector needs ordinary footage to compare events by; add "
                    "rows of split reference and locator.kind budget"
                )
            unused = sum(mark.video not in self.marked(name) for mark in marks)
            if unused:
                yield (
                    f"{self.methods[name].locator.suppress.marks}: {unused} of {len(marks)} marks "  # type: ignore[union-attr]
                    f"of method {name} are of videos that are no longer in the sheet, or in split "
                    "calibration: kept in the file, and not used"
                )

    def _check_demo(self) -> Iterator[str]:
        """The demo's models have seen street scenes of ours and nothing else."""
        demo = [name for name in self.asked if self.models[name].path in checkpoint.DEMOS]
        own = [video for video in self.videos.values() if not self.is_demo(video)]
        if demo and own:
            yield (
                f"model {demo[0]} is a tiny model of the demo, which knows procedural street "
                f"scenes alone: what it says of {own[0].video} and {len(own) - 1} more means "
                f"nothing; set models.{demo[0]}.path to a real checkpoint"
            )

    def _check_gpu(self) -> Iterator[str]:
        """A GPU beside a torch that cannot use it is a day lost in silence."""
        if self.asked and self.config.compute.device == "auto" and has_gpu():
            try:
                build = version("torch")
            except PackageNotFoundError:
                return
            if build.endswith("+cpu"):
                yield (
                    f"this machine has a GPU, but torch {build} cannot use it: models run on the "
                    "CPU, many times slower; install a CUDA build of torch, or set compute.device "
                    "to cpu"
                )

    def is_demo(self, video: Video) -> bool:
        """Whether a video is one that rule make_demo_video draws."""
        return video.path == f"{self.folders['resources']}/demo/{video.video}.mp4"


def has_gpu() -> bool:
    """Whether this machine has an NVIDIA GPU; a container has the device files of its own alone."""
    return any(Path("/dev").glob("nvidia[0-9]*"))


def sheet_path(path: str | Path) -> Path:
    """The sample sheet that a config file names; nothing else of the study is read."""
    data = read_yaml(path)
    if not isinstance(data, dict) or not isinstance(data.get("videos"), str):
        raise ConfigError(f"{path}: key 'videos' is required; it names the sample sheet")
    return Path(data["videos"])


def on_damage_of(path: str | Path) -> str:
    """What becomes of damaged videos, as a config file says; nothing else of it is checked."""
    sampling = (read_yaml(path) or {}).get("sampling") or {}
    return parse(Sampling, sampling, str(path), ("sampling",)).on_damage


def _method(name: str, entry: Mapping[str, Any], source: str) -> Method:
    """A method's entry, by its kind."""
    where = f"{source}: methods.{name}"
    if "kind" not in entry:
        known = ", ".join(registry.names(KINDS, GROUP))
        raise ConfigError(f"{where}.kind is required; it is one of {known}")
    try:
        settings = registry.load(KINDS, str(entry["kind"]), GROUP, f"{where}.kind")
    except ConfigError as error:
        raise ConfigError(str(error)) from None
    method: Method = parse(settings, entry, source, ("methods", name))
    return method


def _prompts(path: str) -> Prompts:
    prompts = parse(Prompts, read_yaml(path), path)
    if len(prompts.prompts) < 2:
        raise ConfigError(
            f"{path}: prompts has {len(prompts.prompts)} entries, needs at least 2: heads are "
            "chosen for agreeing across wordings; add another prompt"
        )
    if prompts.online not in prompts.prompts:
        known = ", ".join(prompts.prompts)
        raise ConfigError(f"{path}: online is {prompts.online!r}; it must be one of {known}")
    texts = list(prompts.prompts.values())
    for index, (name, text) in enumerate(prompts.prompts.items()):
        if text in texts[:index]:
            raise ConfigError(f"{path}: prompts.{name} repeats the text of another prompt; reword")
    return prompts


def _frozen(path: str) -> Frozen:
    from hhvad.methods.headhunt.detector import Detector

    made = Detector.read(path)
    text = Prompt(made.prompt_text, made.system)
    budget = made.locator.budget
    return Frozen(path, made.prompt, text, made.experts, tuple(budget.cameras if budget else ()))
