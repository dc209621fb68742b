"""The documentation as a site: all pages, no broken link, no request beyond its own files."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from hhvad.cli import build_parser

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("mkdocs")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"]
    done = subprocess.run(  # strict: a broken link fails
        [*command, "--config-file", str(ROOT / "mkdocs.yml"), "--site-dir", str(folder)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_every_page_of_the_docs_and_every_command_is_there(site: Path):
    for page in (ROOT / "docs").glob("*.md"):
        assert (site / f"{page.stem}.html").is_file()
    text = (site / "commands.html").read_text()
    for name in build_parser()._subparsers._group_actions[0].choices:
        assert f'id="{name}"' in text
    keys = (site / "config/index.html").read_text()
    assert "on_damage" in keys
    assert "README.md" not in re.findall(r'href="([^"]*)"', keys)


def test_links_of_the_readme_lead_to_pages(site: Path):
    start = (site / "index.html").read_text()
    assert 'href="viewer.html#a-command-for-each-event"' in start
    assert 'href="config/index.html"' in start
    assert 'href="benchmarks/capture.html"' in start


def test_pages_load_nothing_from_elsewhere(site: Path):
    for page in site.rglob("*.html"):
        text = page.read_text()
        assert not re.findall(r'<(?:script|img|iframe)[^>]* src="(?:https?:)?//', text), page
        assert not re.findall(r'<link[^>]* href="(?:https?:)?//', text), page
