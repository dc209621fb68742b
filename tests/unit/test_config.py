"""Config and prompts: defaults, and mistakes by their name."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import yaml

from hhvad import config as settings
from hhvad.errors import ConfigError, SheetError
from hhvad.records import Interval, Video

ROOT = Path(__file__).resolve().parents[2]
SCHEMAS = ROOT / "workflow/schemas"
SCHEMA = settings.read_yaml(SCHEMAS / "config.schema.yaml")
PROMPTS_SCHEMA = settings.read_yaml(SCHEMAS / "prompts.schema.yaml")
SMALLEST = {"videos": "v.tsv", "prompts": "p.yaml", "model": {"name": "m", "path": "demo"}}
VIDEOS = [
    Video(f"{label}-{i}", "x.mp4", "calibration", label, "", ())
    for label in ("normal", "anomaly")
    for i in range(2)
]
PROMPTS = {"online": "a", "prompts": {"a": "What?", "b": "Why?"}}


def keys(schema: dict, prefix: str = "") -> list[str]:
    found = []
    for key, rule in schema.get("properties", {}).items():
        found += keys(rule, f"{prefix}{key}.") if "properties" in rule else [prefix + key]
    return found


def at(data: dict, key: str):
    for part in key.split("."):
        data = data[part]
    return data


def test_defaults_are_the_papers():
    config = settings.validate(SMALLEST, SCHEMA, "config.yaml")
    for key, value in {
        "sampling.frames": 16,
        "sampling.segment_length": 48,
        "sampling.size": [448, 448],
        "saliency.metrics": ["lda", "kl", "mmd", "nmi"],
        "experts.count": 5,
        "experts.penalty": 0.5,
        "scorer.kind": "logistic",
        "scorer.seed": 42,
        "locator.sigma": 1.5,
        "locator.tau": 0.65,
        "locator.sigmas": {"first": 0.5, "last": 3.0, "count": 11},
        "locator.taus": {"first": 0.1, "last": 0.9, "count": 81},
        "metrics.interval": "half-open",
        "metrics.bootstrap": 1000,
    }.items():
        assert at(config, key) == value, key


def test_every_key_has_a_default_a_description_and_a_row_in_the_documentation():
    config = settings.validate(SMALLEST, SCHEMA, "config.yaml")
    documented = (ROOT / "config/README.md").read_text()
    for key in keys(SCHEMA):
        at(config, key)
        assert f"`{key}`" in documented, f"config/README.md does not explain {key}"

    def described(schema: dict, name: str) -> None:
        for key, rule in schema.get("properties", {}).items():
            assert "properties" in rule or rule.get("description"), f"{name}{key}"
            described(rule, f"{name}{key}.")

    described(SCHEMA, "")


def test_the_shipped_files_are_valid():
    for path in sorted((ROOT / "config").glob("*.yaml")):
        data = settings.read_yaml(path)
        schema = PROMPTS_SCHEMA if path.name == "prompts.yaml" else SCHEMA
        settings.validate(data, schema, path.name)


def change(key: str, value: object) -> dict:
    config = copy.deepcopy(SMALLEST)
    section = config
    *path, last = key.split(".")
    for part in path:
        section = section.setdefault(part, {})
    section[last] = value
    return config


@pytest.mark.parametrize(
    ("key", "value", "parts"),
    [
        ("nonsense", 1, ["'nonsense' is unknown", "sampling"]),
        ("sampling.frame", 8, ["'sampling.frame' is unknown", "frames"]),
        ("sampling.frames", 0, ["sampling.frames", "0"]),
        ("sampling.frames", "many", ["sampling.frames", "many"]),
        ("sampling.size", [448], ["sampling.size"]),
        ("model.dtype", "int8", ["model.dtype is 'int8'", "bfloat16"]),
        ("saliency.metrics", ["lda", "lda"], ["saliency.metrics"]),
        ("saliency.metrics", ["magic"], ["saliency.metrics.0 is 'magic'", "nmi"]),
        ("experts.count", 0, ["experts.count"]),
        ("locator.tau", 1.5, ["locator.tau", "1.5"]),
        ("locator.border", "reflect", ["locator.border is 'reflect'"]),
        ("locator.sigmas", {"first": 1, "last": 2}, ["locator.sigmas", "count"]),
        ("metrics.interval", "open", ["metrics.interval is 'open'"]),
        ("capture.batch_size", 0, ["capture.batch_size"]),
        ("dataset", "shanghai", ["dataset is 'shanghai'", "ucf-crime"]),
    ],
)
def test_a_bad_value_is_refused_by_name(key, value, parts):
    with pytest.raises(ConfigError) as caught:
        settings.validate(change(key, value), SCHEMA, "my.yaml")
    message = str(caught.value)
    assert message.startswith("my.yaml")
    for part in parts:
        assert part in message


def test_a_missing_key_is_named():
    with pytest.raises(ConfigError, match="'model' is a required property; add it"):
        settings.validate({"videos": "v", "prompts": "p"}, SCHEMA, "my.yaml")


@pytest.mark.parametrize("text", ["a: 1\na: 2\n", "a: [\n", "a:\n  b: 1\n  b: 2\n"])
def test_broken_yaml_and_repeated_keys(tmp_path, text):
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(ConfigError, match="not YAML"):
        settings.read_yaml(tmp_path / "c.yaml")


def test_yaml_makes_no_objects(tmp_path):
    (tmp_path / "c.yaml").write_text("a: !!python/object/apply:os.getcwd []\n")
    with pytest.raises(ConfigError, match="not YAML"):
        settings.read_yaml(tmp_path / "c.yaml")


def test_fewer_than_two_prompts():
    with pytest.raises(ConfigError, match=r"prompts has 1 entries, needs at least 2"):
        settings.validate({"online": "a", "prompts": {"a": "x"}}, PROMPTS_SCHEMA, "p.yaml")


def checked(videos=VIDEOS, prompts=PROMPTS, config=None) -> list[str]:
    config = settings.validate(config or SMALLEST, SCHEMA, "config.yaml")
    return list(settings.check(config, prompts, videos))


def test_without_validation_events_the_fixed_values_are_announced():
    (note,) = checked()
    assert "locator.sigma = 1.5" in note
    assert "locator.tau = 0.65" in note
    event = (Interval(0, 10),)
    assert checked([*VIDEOS, Video("v", "x", "validation", "anomaly", "", event)]) == []


def test_a_split_without_one_of_its_classes():
    with pytest.raises(SheetError, match="calibration has 0 videos labelled anomaly"):
        checked([v for v in VIDEOS if v.label == "normal"])


def test_validation_needs_events():
    with pytest.raises(SheetError, match="video v: split validation needs the events"):
        checked([*VIDEOS, Video("v", "x", "validation", "anomaly", "", None)])


def test_the_online_prompt_must_exist():
    with pytest.raises(ConfigError, match="online is 'c'; it must be one of a, b"):
        checked(prompts={**PROMPTS, "online": "c"})


def test_two_prompts_of_one_wording():
    with pytest.raises(ConfigError, match=r"prompts\.b repeats"):
        checked(prompts={"online": "a", "prompts": {"a": "x", "b": "x"}})


def test_a_grid_that_runs_backwards():
    config = change("locator.taus", {"first": 0.9, "last": 0.1, "count": 3})
    with pytest.raises(ConfigError, match=r"locator\.taus\.last is 0\.1, below first 0\.9"):
        checked(config=config)


def test_the_readme_of_the_config_states_the_defaults():
    documented = (ROOT / "config/README.md").read_text()
    config = settings.validate(SMALLEST, SCHEMA, "config.yaml")
    for key in keys(SCHEMA):
        if key.split(".")[0] in SMALLEST and "." not in key:
            continue
        if key in ("model.name", "model.path"):
            continue
        value = yaml.safe_dump(at(config, key), default_flow_style=True).splitlines()[0]
        row = next(line for line in documented.splitlines() if line.startswith(f"| `{key}`"))
        assert f"| `{value}` |" in row, f"{key}: the default is {value}"
