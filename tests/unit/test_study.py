"""Config, prompts and sheet as one study: defaults, and mistakes by their name."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path

import jsonschema
import pytest
import yaml

from hhvad import config as settings
from hhvad import reference
from hhvad.checkpoint import ENCODERS
from hhvad.errors import ConfigError, HHVADError, SheetError
from hhvad.files import write_tsv
from hhvad.methods.lavad.settings import Lavad
from hhvad.methods.zero_shot.settings import ZeroShot
from hhvad.sheet import COLUMNS
from hhvad.study import Prompt, Study, sheet_path
from hhvad.workflow import one_of

ROOT = Path(__file__).resolve().parents[2]
SMALLEST = {
    "videos": "v.tsv",
    "models": {"m": {"path": "demo"}},
    "methods": {"hunt": {"kind": "headhunt", "model": "m", "prompts": "p.yaml"}},
}
ROWS = [
    (f"{label}-{i}", "x.mp4", "calibration", label, "", "")
    for label in ("normal", "anomaly")
    for i in range(2)
]
VALIDATION = ("v", "x.mp4", "validation", "anomaly", "", "0-10")
PROMPTS = {"online": "a", "prompts": {"a": "What?", "b": "Why?"}}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(rows=[*ROWS, VALIDATION], prompts=PROMPTS)
    return tmp_path


def write(rows=None, prompts=None, path="p.yaml"):
    if rows is not None:
        write_tsv("v.tsv", COLUMNS, rows)
    if prompts is not None:
        Path(path).write_text(yaml.safe_dump(prompts))


def load(**changes) -> Study:
    """The smallest study with keys changed: `sampling__size=...`, `methods__hunt__heads=...`."""
    data = copy.deepcopy(SMALLEST)
    for key, value in changes.items():
        section = data
        *path, last = key.split("__")
        for part in path:
            section = section.setdefault(part, {})
        section[last] = value
    Path("my.yaml").write_text(yaml.safe_dump(data, sort_keys=False))
    return Study.read("my.yaml")


def at(value, key: str):
    for part in key.split("."):
        value = getattr(value, part)
    return value


def test_defaults_are_the_papers(folder):
    study = load()
    for key, value in {
        "sampling.frames_per_segment": 16,
        "sampling.segment_length": 48,
        "sampling.size": (448, 448),
        "metrics.interval": "half-open",
        "metrics.bootstrap": 1000,
    }.items():
        assert at(study.config, key) == value, key
    for key, value in {
        "saliency.metrics": ("lda", "kl", "mmd", "nmi"),
        "experts.count": 5,
        "experts.penalty": 0.5,
        "scorer.kind": "logistic",
        "scorer.seed": 42,
        "locator.sigmas.last": 3.0,
        "locator.taus": "exact",
    }.items():
        assert at(study.methods["hunt"], key) == value, key


def test_the_study_has_the_name_of_its_file_and_folders_of_its_own(folder):
    study = load()
    assert study.name == "my"
    assert study.folders["results"] == "results/my"
    assert study.folders["logs"] == "logs/my"
    assert load(study="other").folders["results"] == "results/other"
    assert load(pathvars__results="here").folders["results"] == "here"


def test_the_order_of_rows_means_nothing(folder):
    before = load()
    write(rows=[VALIDATION, *reversed(ROWS)])
    after = load()
    assert list(before.videos) == list(after.videos)
    assert before.split("calibration") == after.split("calibration")
    assert before.annotation(list(before.videos)) == after.annotation(list(after.videos))


def test_the_old_form_is_refused_with_the_new_one(folder):
    with pytest.raises(ConfigError, match=r"my.yaml: `model:`.*models: .*methods: ") as caught:
        load(model={"name": "x", "path": "demo"})
    assert "\n" not in str(caught.value)


def test_words_of_a_command_line_become_the_keys_types(folder):
    study = load(
        methods__hunt__experts={"count": "7", "penalty": "0.25"},
        compute={"resident": "false", "threads": "3"},
        methods__hunt__detector="null",
    )
    assert study.headhunt("hunt").experts.count == 7
    assert study.headhunt("hunt").detector is None
    assert study.config.compute.resident is False


@pytest.mark.parametrize(
    ("key", "value", "parts"),
    [
        ("nonsense", 1, ["'nonsense' is unknown", "sampling"]),
        ("start_pattern", "cam_%H", ["start_pattern", "%Y"]),
        ("sampling__frame", 8, ["'sampling.frame' is unknown", "frames_per_segment"]),
        ("sampling__frames_per_segment", 0, ["sampling.frames_per_segment", "0"]),
        ("sampling__frames_per_segment", "many", ["sampling.frames_per_segment", "many"]),
        ("sampling__size", [448], ["sampling.size"]),
        ("models__m__dtype", "int8", ["models.m.dtype is 'int8'", "bfloat16"]),
        ("models__m__fit", "crop", ["models.m.fit is 'crop'", "methods.hunt.model", "segments"]),
        ("models__m__path", "no/such/folder", ["models.m.path", "no/such/folder"]),
        ("methods__hunt__saliency", {"metrics": ["lda", "lda"]}, ["saliency.metrics"]),
        (
            "methods__hunt__saliency",
            {"metrics": ["magic"]},
            ["saliency.metrics: 'magic' is unknown", "nmi"],
        ),
        ("methods__hunt__scorer", {"kind": "forest"}, ["scorer.kind", "'forest'", "logistic"]),
        ("methods__hunt__experts", {"count": 0}, ["methods.hunt.experts.count"]),
        ("methods__hunt__expert", {"count": 0}, ["'methods.hunt.expert' is unknown"]),
        ("methods__hunt__kind", "magic", ["methods.hunt.kind", "magic", "headhunt, motion"]),
        ("methods__hunt__model", "n", ["methods.hunt.model is 'n'", "one of m"]),
        ("methods__hunt__heads", "experts", ["heads is 'experts'", "detector"]),
        ("methods__hunt__locator", {"fixed": {"sigma": 1, "tau": 1.5}}, ["tau", "1.5"]),
        ("methods__hunt__locator", {"border": "reflect"}, ["locator.border is 'reflect'"]),
        ("methods__hunt__locator", {"sigmas": {"first": 1, "last": 2}}, ["sigmas.count"]),
        (
            "methods__hunt__locator",
            {"taus": {"first": 0.9, "last": 0.1, "count": 3}},
            ["locator.taus.last is 0.1, below first 0.9"],
        ),
        ("methods", {}, ["there is no method"]),
        ("metrics__interval", "open", ["metrics.interval is 'open'"]),
        ("compute__batch_size", 0, ["compute.batch_size"]),
        ("compute__device", "gpu", ["compute.device"]),
        ("dataset", "shanghai", ["dataset is 'shanghai'", "ucf-crime"]),
    ],
)
def test_a_bad_value_is_refused_by_name(folder, key, value, parts):
    with pytest.raises(HHVADError) as caught:
        load(**{key: value})
    message = str(caught.value)
    assert message.startswith("my.yaml")
    for part in parts:
        assert part in message


def test_a_missing_key_is_named(folder):
    Path("c.yaml").write_text("videos: v.tsv\n")
    with pytest.raises(ConfigError, match="'methods' is required; add it"):
        Study.read("c.yaml")


@pytest.mark.parametrize(("name", "read"), [("off", "False"), ("7", "7")])
def test_a_name_that_yaml_reads_as_something_else(folder, name, read):
    Path("c.yaml").write_text(f"videos: v.tsv\nmethods:\n  {name}: {{kind: motion}}\n")
    with pytest.raises(ConfigError, match=f"is {read}, as YAML reads it.*put it into quotes"):
        Study.read("c.yaml")


@pytest.mark.parametrize("text", ["a: 1\na: 2\n", "a: [\n", "a:\n  b: 1\n  b: 2\n"])
def test_broken_yaml_and_repeated_keys(tmp_path, text):
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(ConfigError, match="not YAML"):
        settings.read_yaml(tmp_path / "c.yaml")


def test_yaml_makes_no_objects(tmp_path):
    (tmp_path / "c.yaml").write_text("a: !!python/object/apply:os.getcwd []\n")
    with pytest.raises(ConfigError, match="not YAML"):
        settings.read_yaml(tmp_path / "c.yaml")


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ({"online": "a", "prompts": {"a": "x"}}, "prompts has 1 entries, needs at least 2"),
        ({**PROMPTS, "online": "c"}, "online is 'c'; it must be one of a, b"),
        ({"online": "a", "prompts": {"a": "x", "b": "x"}}, r"prompts\.b repeats"),
        ({"online": "a", "prompts": {"a": "x", "b": " "}}, r"prompts\.b"),
    ],
)
def test_bad_prompts(folder, prompts, message):
    write(prompts=prompts)
    with pytest.raises(ConfigError, match=message):
        load()


def test_without_validation_events_the_fixed_values_are_announced(folder):
    assert not any("validation" in note for note in load().notes)
    write(rows=ROWS)
    (note,) = [note for note in load().notes if "validation" in note]
    assert "sigma 0.5" in note
    assert "1 segments, 48 frames" in note
    (note,) = [n for n in load(methods__hunt__locator={"fixed": "paper"}).notes if "sigma" in n]
    assert "3 segments, 144 frames" in note


def test_the_demos_model_on_other_videos_is_announced(folder):
    (note,) = [note for note in load().notes if "tiny model" in note]
    assert "means nothing" in note


def test_a_split_without_one_of_its_classes(folder):
    write(rows=[row for row in ROWS if row[3] == "normal"])
    with pytest.raises(SheetError, match="calibration has 0 videos labelled anomaly"):
        load()


def test_validation_needs_events(folder):
    write(rows=[*ROWS, (*VALIDATION[:5], "")])
    with pytest.raises(SheetError, match="video v: split validation needs the events"):
        load()


def test_motion_needs_calibration_videos_but_no_labels_of_both_classes(folder):
    motion = {"m": {"kind": "motion"}}
    write(rows=[ROWS[0], VALIDATION])
    assert load(methods=motion).methods["m"].kind == "motion"
    write(rows=[VALIDATION])
    with pytest.raises(SheetError, match="scores of motion"):
        load(methods=motion)


def test_several_headhunts_share_prompts_of_one_wording(folder):
    two = {**SMALLEST["methods"], "other": {**SMALLEST["methods"]["hunt"], "prompts": "q.yaml"}}
    write(prompts={"online": "b", "prompts": {"b": "Why?", "c": "How?"}}, path="q.yaml")
    study = load(methods=two)
    assert study.online("other") == "b"
    assert study.prompts["m", "b"] == Prompt("Why?")
    assert {prompt for _, prompt in study.prompts} == {"a", "b", "c"}
    write(prompts={"online": "b", "prompts": {"b": "Why not?", "c": "How?"}}, path="q.yaml")
    with pytest.raises(ConfigError, match=r"hunt and other ask model m different wordings.*'b'"):
        load(methods=two)


LAVAD = {"kind": "lavad", "captioner": "m", "llm": "m", "encoder": "e"}
QUESTIONS = {"summarise": "Sum up.", "format": "In [].", "ratings": {"rate-any": "How bad?"}}


def lavads(**methods: dict) -> Study:
    """A study of these methods with an MLLM `m`, an encoder `e` and the wordings in l.yaml."""
    Path("l.yaml").write_text(yaml.safe_dump(QUESTIONS))
    write(rows=[VALIDATION])
    named = {name: {**LAVAD, "prompts": "l.yaml", **keys} for name, keys in methods.items()}
    models = {"m": {"path": "demo"}, "e": {"path": "demo-clip"}}
    return load(methods=named, models=models)


def test_lavad_needs_no_calibration_videos(folder):
    study = lavads(a={})
    assert study.asked == ["m", "e"]
    assert study.captions == {("m", "caption"): study.lavad("a").caption}
    assert study.questions["a"].ratings["rate-any"] == "How bad?"
    assert study.segment_length("a") == 16
    assert study.multimodal == ["m"]
    checked = study.check_of("m")
    assert (checked["frames"], checked["system"]) == (1, "")
    assert checked["prompts"] == ["Describe this picture in one sentence."]
    assert study.lavad("a").neighbours.share == 0.15


@pytest.mark.parametrize(
    ("role", "model", "message"),
    [
        (
            "encoder",
            "m",
            r"a.encoder is 'm', .* 'internvl'; it must be an encoder .clip,",
        ),
        (
            "llm",
            "e",
            r"a.llm is 'e', .* demo-clip is of kind 'clip'; an encoder says",
        ),
        ("captioner", "e", r"a.captioner is 'e'"),
    ],
)
def test_a_model_that_cannot_do_what_a_method_asks(folder, role, model, message):
    with pytest.raises(ConfigError, match=message):
        lavads(a={role: model})


def test_the_kinds_of_encoders_are_those_that_can_be_loaded():
    from hhvad.mllm.encoders.encoder import ENCODERS as LOADED

    assert set(LOADED) == ENCODERS


def test_the_official_preset(folder):
    hunt = {"kind": "headhunt", "model": "m", "preset": "official", "prompts": "p.yaml"}
    found = load(methods__official=hunt).headhunt("official")
    assert found.calibration.view == "video-but-last"
    assert found.scorer.share == 0.6
    locator = found.locator
    assert (locator.border, locator.passes, locator.tail) == ("zero", 2, "drop")
    assert not locator.calibrate
    assert (locator.fallback.sigma, locator.fallback.tau) == (1.5, 0.65)
    paper = load().headhunt("hunt")
    assert (paper.calibration.view, paper.scorer.share) == ("video", 1.0)
    assert (paper.locator.passes, paper.locator.tail, paper.locator.calibrate) == (1, "keep", True)
    # What the entry says stays.
    hunt["locator"] = {"passes": 1}
    changed = load(methods__official=hunt).headhunt("official").locator
    assert (changed.passes, changed.border) == (1, "zero")


def test_the_official_wordings_have_an_id_of_their_own(folder):
    shipped = ROOT / "config/prompts-official.yaml"
    hunt = {"kind": "headhunt", "model": "m", "preset": "official", "prompts": str(shipped)}
    study = load(methods__official=hunt)
    assert study.online("official") == "coarse"
    assert set(study.prompts_of("official")) == {"coarse", "detailed"}
    del hunt["prompts"]
    with pytest.raises(ConfigError, match=r"config/prompts-official\.yaml"):
        load(methods__official=hunt)  # the default, relative to the working directory


def test_a_preset_gives_defaults_that_keys_change(folder):
    found = lavads(a={"preset": "demo", "window": {"samples": 3}}).lavad("a")
    assert (found.window.seconds, found.window.samples) == (4, 3)
    assert (found.caption.frames_shown, found.caption.keep) == (8, "after-colon")


def test_the_papers_preset(folder):
    paper = lavads(a={"preset": "paper", "fps": 30}).lavad("a")
    assert paper.caption.prompt == ""
    assert (paper.window.seconds, paper.window.samples, paper.window.vector) == (10, 10, "ends")
    assert paper.exact_frames == "windows16-10s-10-30fps"
    assert (paper.neighbours.among, paper.neighbours.count) == ("summaries", 10)
    assert paper.neighbours.temperature == 1
    assert (paper.answers.temperature, paper.answers.top_p) == (0.6, 0.9)
    assert lavads(a={}).lavad("a").exact_frames is None


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"encoder": "x"}, ["methods.a.encoder is 'x'", "m, e"]),
        ({"captioner": ["m", "x"]}, ["methods.a.captioner.1 is 'x'", "m, e"]),
        ({"captioner": []}, ["methods.a.captioner"]),
        ({"rating": "rate-ucf"}, ["methods.a.rating is 'rate-ucf'", "rate-any"]),
        ({"prompts": "p.yaml"}, ["p.yaml", "'online' is unknown", "summarise"]),
        ({"preset": "official"}, ["methods.a.preset", "native", "paper"]),
        ({"answers": {"top_p": 0}}, ["methods.a.answers.top_p"]),
        ({"window": {"seconds": 0}}, ["methods.a.window.seconds"]),
    ],
)
def test_mistakes_in_a_lavad_are_named(folder, change: dict, parts: list[str]):
    with pytest.raises(ConfigError) as caught:
        lavads(a=change)
    assert all(part in str(caught.value) for part in parts), caught.value


def test_captions_of_one_id_are_of_one_wording(folder):
    other = {"prompt": "What is this?"}
    with pytest.raises(ConfigError, match=r"methods\.[ab]\.caption: .* the id 'caption'"):
        lavads(a={}, b={"caption": other})
    study = lavads(a={}, b={"caption": {**other, "id": "other"}}, c={"stride": 8})
    assert set(study.captions) == {("m", "caption"), ("m", "other")}


def test_the_sheet_that_a_config_names(folder):
    load()
    assert sheet_path("my.yaml") == Path("v.tsv")
    Path("bad.yaml").write_text("a: 1\n")
    with pytest.raises(ConfigError, match="videos"):
        sheet_path("bad.yaml")


def test_the_shipped_files_are_valid(monkeypatch):
    monkeypatch.chdir(ROOT)
    study = Study.read("config/config.yaml")
    assert study.name == "demo"
    schema = reference.config_schema()
    assert Study.read("config/methods.yaml").of(Lavad, ZeroShot) == ["lavad", "zero-shot"]
    for name in ("config", "methods", "ucf-crime", "xd-violence"):
        data = settings.read_yaml(f"config/{name}.yaml")
        settings.parse(settings.Config, data, name)
        jsonschema.validate(data, schema)


def test_schemas_and_documentation_are_those_of_the_code():
    stale = reference.stale(ROOT, fix=False)
    assert not stale, "hhvad write-reference --root . writes them"


def test_a_pattern_of_names_matches_these_and_no_others():
    import re

    names = ["a", "ab", "abc", "b.c", "b#c", "video-001", "video-002", "video-01"]
    pattern = re.compile(one_of(names))
    assert all(pattern.fullmatch(name) for name in names)
    others = ["", "abcd", "bxc", "video-00", "video-003", "c"]
    assert not any(pattern.fullmatch(name) for name in others)
    assert not re.compile(one_of([])).fullmatch("")


def test_a_gpu_that_this_torch_cannot_use_is_announced(folder, monkeypatch):
    monkeypatch.setattr("hhvad.study.has_gpu", lambda: True)
    monkeypatch.setattr("hhvad.study.version", lambda name: "2.13.0+cpu")
    (note,) = [note for note in load().notes if "GPU" in note]
    assert "compute.device" in note
    assert not [n for n in load(compute={"device": "cpu"}).notes if "GPU" in n]
    monkeypatch.setattr("hhvad.study.version", lambda name: "2.13.0")
    assert not [note for note in load().notes if "GPU" in note]


def write_marks(*rows: tuple) -> dict[str, str]:
    columns = ("video", "method", "start_frame", "end_frame", "mark")
    write_tsv("marks.tsv", columns, rows)
    return {"marks": "marks.tsv"}


def test_marks_of_videos_that_are_gone_are_counted(folder):
    marks = [("v", "hunt", 0, 9, "false"), ("gone", "hunt", 0, 9, "true")]
    study = load(methods__hunt__locator__suppress=write_marks(*marks, ("v", "hunt", 0, 9, "")))
    assert study.marked("hunt") == ["v"]
    assert len(study.marks["hunt"]) == 2
    assert study.alarmed == ["hunt"]
    assert any("1 of 2 marks of method hunt are of videos" in note for note in study.notes)


def test_bad_marks_are_named(folder):
    marks = write_marks(("v", "hunt", 0, 9, "maybe"))
    with pytest.raises(HHVADError, match=r"marks.tsv: line 2: mark is 'maybe'"):
        load(methods__hunt__locator__suppress=marks)
    with pytest.raises(HHVADError, match=r"absent\.tsv"):
        load(methods__hunt__locator__suppress={"marks": "absent.tsv"})
    motion = {"kind": "motion", "locator": {"suppress": write_marks()}}
    with pytest.raises(ConfigError, match="kind motion has no features of events"):
        load(methods__motion=motion)


def test_masks_are_those_of_a_videos_camera(folder):
    Path("masks.yaml").write_text("default: [[[0, 0], [1, 0], [0, 1]]]")
    assert load(masks="masks.yaml").mask("v") == (((0.0, 0.0), (1.0, 0.0), (0.0, 1.0)),)
    assert load().mask("v") == ()
    Path("masks.yaml").write_text("door: []")
    with pytest.raises(ConfigError, match=r"masks: masks.yaml has camera 'door'"):
        load(masks="masks.yaml")


def test_a_missing_peft_is_said_before_any_job(tmp_path, monkeypatch):
    monkeypatch.setattr("hhvad.study.find_spec", lambda name: None)
    shutil.copytree(Path(__file__).parents[2] / "config", tmp_path / "config")
    monkeypatch.chdir(tmp_path)
    config = yaml.safe_load(Path("config/config.yaml").read_text())
    Path("lessons.tsv").touch()
    config["tune"] = {"model": "demo", "lessons": ["lessons.tsv"]}
    Path("config/config.yaml").write_text(yaml.safe_dump(config))
    assert any(
        "pip install 'hhvad[tune]'" in note for note in Study.read("config/config.yaml").notes
    )
