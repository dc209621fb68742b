"""The JSON schemas and the documentation's table of keys, written from the typed config."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hhvad import registry
from hhvad.config import Config, Describe, Hivau, Prompts, Section, Tune
from hhvad.files import read_text, write_text
from hhvad.methods import GROUP, KINDS
from hhvad.methods.lavad.settings import Wordings
from hhvad.methods.vera.settings import Questions

_OPTIONAL: dict[str, type[Section]] = {"describe": Describe, "hivau": Hivau, "tune": Tune}
BEGIN, END = "<!-- keys: begin -->", "<!-- keys: end -->"


def config_schema() -> dict[str, Any]:
    """The JSON schema of config files, with the methods of this package."""
    schema = Config.model_json_schema()
    kinds = {}
    for kind in KINDS:
        one = registry.load(KINDS, kind, GROUP, "kind").model_json_schema()
        schema.setdefault("$defs", {}).update(one.pop("$defs", {}))
        kinds[f"method-{kind}"] = one
    schema["$defs"].update(kinds)
    schema["properties"]["methods"]["additionalProperties"] = {
        "oneOf": [{"$ref": f"#/$defs/{name}"} for name in kinds]
    }
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def keys() -> str:
    """The table of config/README.md."""
    lines = ["| key | default | meaning |", "|---|---|---|", *_rows(Config, "")]
    for kind in KINDS:
        settings = registry.load(KINDS, kind, GROUP, "kind")
        lines += ["", f"### `kind: {kind}`", "", f"{str(settings.__doc__).splitlines()[0]}", ""]
        lines += ["| key of `methods.NAME` | default | meaning |", "|---|---|---|"]
        lines += _rows(settings, "")
    return "\n".join(lines)


def _rows(section: type[Section], prefix: str) -> Iterator[str]:
    for name, field in section.model_fields.items():
        inner = _section(field.annotation)
        if inner and name != "fixed" and field.description is None:
            yield from _rows(inner, f"{prefix}{name}.")
            continue
        default = "required" if field.is_required() else f"`{_plain(field.default)}`"
        yield f"| `{prefix}{name}` | {default} | {field.description} |"
        if optional := _OPTIONAL.get(name):
            yield from _rows(optional, f"{name}.")
        if name == "models":
            yield from _rows(_section(field.annotation.__args__[1]), "models.NAME.")  # type: ignore


def _section(annotation: Any) -> Any:
    """The section that a field holds, or None."""
    return annotation if isinstance(annotation, type) and issubclass(annotation, Section) else None


def _plain(value: Any) -> str:
    if isinstance(value, Section):
        value = value.model_dump()
    if isinstance(value, tuple):
        value = list(value)
    return json.dumps(value).replace('"', "") if not isinstance(value, str) else value or "''"


def stale(root: Path, fix: bool) -> list[Path]:
    """The files that differ from the code; written anew where `fix`."""
    readme = root / "config/README.md"
    text = read_text(readme)
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    wanted = {
        root / "workflow/schemas/config.schema.json": _json(config_schema()),
        root / "workflow/schemas/prompts.schema.json": _json(Prompts.model_json_schema()),
        root / "workflow/schemas/prompts-lavad.schema.json": _json(Wordings.model_json_schema()),
        root / "workflow/schemas/questions-vera.schema.json": _json(Questions.model_json_schema()),
        readme: f"{before}{BEGIN}\n{keys()}\n{END}{after}",
    }
    found = [path for path, text in wanted.items() if not path.is_file() or read_text(path) != text]
    if fix:
        for path in found:
            write_text(path, wanted[path])
    return found


def _json(schema: dict[str, Any]) -> str:
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
