"""Hooks of mkdocs (mkdocs.yml): pages from files outside docs/, and the commands from the code."""

from __future__ import annotations

import argparse
import os
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
OUTSIDE = ["README.md", "CHANGELOG.md", "config/README.md"]


def on_config(config: Any) -> Any:
    """Add the measurements to the navigation."""
    config["nav"].append({"Measurements": measurements()})
    return config


def measurements() -> list[str]:
    """The pages of benchmarks/."""
    return sorted(f"benchmarks/{path.name}" for path in (ROOT / "benchmarks").glob("*.md"))


def on_files(files: Files, config: Any) -> Files:
    """Add README, changelog, keys, the benchmarks' pages and the commands."""
    for name in [*OUTSIDE, *measurements()]:
        text = (ROOT / name).read_text(encoding="utf-8")
        files.append(File.generated(config, _page(name), content=text))
    files.append(File.generated(config, "commands.md", content=commands()))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Point links at pages of the site; what has no page is named without a link."""
    uri = page.file.src_uri
    source = "README.md" if uri == "index.md" else uri
    if not (ROOT / source).is_file():
        source = f"docs/{uri}"
    here = posixpath.dirname(uri)

    def link(found: re.Match[str]) -> str:
        text, target = found[1], found[2]
        path, _, anchor = target.partition("#")
        if "://" in target or not path:
            return found[0]
        named = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        goal = _page(named.removeprefix("docs/"))
        if files.get_file_from_path(goal) is None:
            return text.removeprefix("!")
        way = posixpath.relpath(goal, here or ".")
        return f"{text}({way}{'#' + anchor if anchor else ''})"

    return re.sub(r"(!?\[[^\]]*\])\(([^)\s]+)\)", link, markdown)


def _page(name: str) -> str:
    return "index.md" if name == "README.md" else name


def commands() -> str:
    """Markdown: the help of every command, as the command line gives it."""
    os.environ["COLUMNS"] = "100"
    from hhvad.cli import build_parser

    (group,) = (
        action
        for action in build_parser()._actions
        if isinstance(action, argparse._SubParsersAction)
    )
    about = {action.dest: action.help for action in group._choices_actions}
    pages = ["# Commands", "Rules run most of these; each prints its help with `--help`."]
    for name, parser in sorted(group.choices.items()):
        pages += [f"## {name}", str(about.get(name) or ""), f"```text\n{parser.format_help()}```"]
    return "\n\n".join(pages) + "\n"
