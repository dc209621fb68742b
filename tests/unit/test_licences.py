"""What comes with an installation: licences of all of it, and the weights that ship."""

from __future__ import annotations

import hashlib
import re
import tomllib
from importlib.metadata import distribution

import pytest
from packaging.requirements import Requirement
from study import ROOT
from test_envs import everything_behind

FREE = re.compile(
    r"\b(MIT|BSD|0BSD|Apache|APACHE|ISC|ISCL|PSF|Python Software Foundation|MPL|Zlib|CC0|CNRI|"
    r"Public Domain|LLVM)\b",
)
# Their metadata names no licence; their repositories do.
SAID_ELSEWHERE = {
    "conda-inject": "MIT",
    "snakemake-interface-common": "MIT",
    "snakemake-interface-logger-plugins": "MIT",
    "snakemake-interface-report-plugins": "MIT",
    "snakemake-interface-scheduler-plugins": "MIT",
    "snakemake-interface-storage-plugins": "MIT",
}
GPL_LIBRARIES = re.compile(r"lib(x264|x265|xvidcore|postproc|gmp|readline|rubberband|fdk)")


def installed() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return sorted(everything_behind({Requirement(text).name for text in project["dependencies"]}))


def licence(name: str) -> list[str]:
    """Each licence that a package's metadata names: one of them may be chosen."""
    about = distribution(name).metadata
    classes = about.get_all("Classifier") or []
    found = [text.split("::")[-1].strip() for text in classes if text.startswith("License ::")]
    found += [
        text.splitlines()[0] for text in (about["License-Expression"], about["License"]) if text
    ]
    return found or [SAID_ELSEWHERE[name]]


def test_every_package_can_be_taken_under_a_free_licence_that_asks_little():
    names = installed()
    assert {"torch", "snakemake", "numpy"} <= set(names)
    strict = {name: licence(name) for name in names}
    assert {n: texts for n, texts in strict.items() if not any(map(FREE.search, texts))} == {}


def test_libraries_under_the_gpl_inside_wheels_are_documented():
    document = (ROOT / "docs/licences.md").read_text()
    found = {
        (name, match[0])
        for name in installed()
        for file in distribution(name).files or []
        if (match := GPL_LIBRARIES.match(file.name))
    }
    rows = {tuple(re.findall(r"`([^`]+)`", line)) for line in document.splitlines() if "|" in line}
    assert found <= rows


@pytest.mark.parametrize("name", ["model", "clip", "llm"])
def test_the_weights_that_ship_are_those_of_the_card(name: str):
    folder = ROOT / "hhvad/demo" / name
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert f"SHA-256 of model.safetensors: `{digest}`" in (folder / "README.md").read_text()
