"""The config and prompts files: schema, defaults, and the checks that no schema can express."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jsonschema
import yaml
from jsonschema.exceptions import ValidationError

from hhvad import checkpoint
from hhvad.errors import ArtifactError, ConfigError, SheetError
from hhvad.files import read_text
from hhvad.records import Video

Validator = jsonschema.Draft202012Validator


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


def validate(data: Any, schema: Mapping[str, Any], source: str) -> Any:
    """A copy of `data` with every default of the schema filled in.

    Raises ConfigError: `source`, the key, its value, and what is allowed.
    """
    filled = copy.deepcopy(data)
    if filled is None:
        raise ConfigError(f"{source}: the file is empty")
    _fill_defaults(filled, schema, schema)
    errors = sorted(Validator(schema).iter_errors(filled), key=lambda e: (len(e.path), str(e.path)))
    if errors:
        raise ConfigError(_explain(errors[0], source))
    return filled


def _fill_defaults(data: Any, schema: Mapping[str, Any], root: Mapping[str, Any]) -> None:
    if not isinstance(data, dict):
        return
    for key, rule in schema.get("properties", {}).items():
        if "default" in rule:
            data.setdefault(key, copy.deepcopy(rule["default"]))
        if key in data:
            _fill_defaults(data[key], rule, root)


def _explain(error: ValidationError, source: str) -> str:
    key = ".".join(str(part) for part in error.absolute_path)
    name = f"{source}: {key}" if key else source
    schema: Any = error.schema
    limit: Any = error.validator_value
    if error.validator == "additionalProperties" and isinstance(error.instance, dict):
        known = list(schema.get("properties", {}))
        unknown = next(k for k in error.instance if k not in known)
        full = f"{key}.{unknown}" if key else unknown
        return f"{source}: key {full!r} is unknown; known here: {', '.join(known)}"
    if error.validator == "required":
        return f"{name}: {error.message}; add it"
    if error.validator == "enum":
        allowed = ", ".join(map(str, limit))
        return f"{name} is {error.instance!r}; it must be one of {allowed}"
    if error.validator == "minProperties":
        data: Any = error.instance
        return (
            f"{name} has {len(data)} entries, needs at least {limit}: "
            "heads are chosen for agreeing across wordings; add another prompt"
        )
    description = schema.get("description", "")
    return f"{name}: {error.message}. {description}".strip()


def check(
    config: Mapping[str, Any], prompts: Mapping[str, Any], videos: Sequence[Video]
) -> Iterator[str]:
    """The checks across files. Raises ConfigError, SheetError or ModelError; yields notes."""
    checkpoint.resolve(config["model"]["path"])
    if prompts["online"] not in prompts["prompts"]:
        known = ", ".join(prompts["prompts"])
        raise ConfigError(
            f"{config['prompts']}: online is {prompts['online']!r}; it must be one of {known}"
        )
    texts = list(prompts["prompts"].values())
    repeated = [name for i, (name, t) in enumerate(prompts["prompts"].items()) if t in texts[:i]]
    if repeated:
        raise ConfigError(
            f"{config['prompts']}: prompts.{repeated[0]} repeats the text of another prompt; reword"
        )
    for grid in ("sigmas", "taus"):
        values = config["locator"][grid]
        if values["last"] < values["first"]:
            raise ConfigError(
                f"config: locator.{grid}.last is {values['last']}, below first {values['first']}"
            )
    if config["detector"]:
        return
    if config["capture"]["heads"] == "experts":
        raise ConfigError(
            "config: capture.heads is 'experts', but detector is not set: experts are known only "
            "after all heads of the calibration videos; name a finished detector, or use 'all'"
        )
    calibration = [v for v in videos if v.split == "calibration"]
    for label in ("normal", "anomaly"):
        count = sum(v.label == label for v in calibration)
        if count < 2:
            raise SheetError(
                f"{config['videos']}: split calibration has {count} videos labelled {label}; "
                "heads cannot be told apart with fewer than two of each class; add rows"
            )
    unannotated = [v.video for v in calibration if v.events is None]
    if unannotated and config["calibration"]["view"] == "segments":
        raise SheetError(
            f"{config['videos']}: video {unannotated[0]}: calibration.view 'segments' needs the "
            "events of anomalous calibration videos; fill the column, or use view 'video'"
        )
    validation = [v for v in videos if v.split == "validation"]
    unannotated = [v.video for v in validation if v.events is None]
    if unannotated:
        raise SheetError(
            f"{config['videos']}: video {unannotated[0]}: split validation needs the events of "
            "its anomalous videos; fill the column or move the video to another split"
        )
    if not any(v.events for v in validation):
        yield (
            f"no validation events in {config['videos']}: locator.sigma = "
            f"{config['locator']['sigma']} and locator.tau = {config['locator']['tau']} are used"
        )
