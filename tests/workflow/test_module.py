"""hhvad as a module of somebody's own workflow."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import yaml
from study import ROOT, Study

SNAKEFILE = """
configfile: "config/config.yaml"

module hhvad:
    snakefile: {snakefile!r}
    config: config

use rule * from hhvad

rule mine:
    default_target: True
    input: rules.all.input
"""


def planned(study: Study, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "snakemake", "--snakefile", "Snakefile", "--cores", "1"]
    return study.run(*command, "--dry-run", *words)


def test_the_same_jobs_as_without_and_one_of_its_own(drawn: Study, tmp_path: Path):
    (drawn.folder / "Snakefile").write_text(SNAKEFILE.format(snakefile=str(ROOT / "Snakefile")))
    done = planned(drawn)
    assert done.returncode != 0
    assert "hhvad is used as a module, whose folders the config must name" in done.stdout
    text = done.stdout[done.stdout.index("pathvars: {") :].splitlines()[0]
    drawn.change_config(**yaml.safe_load(text))
    done = planned(drawn)
    assert done.returncode == 0, done.stdout
    own = drawn.planned()
    shown = done.stdout.count("\nrule ") + done.stdout.count("\nlocalrule ")
    assert shown == sum(own.values())  # `mine` in place of `all`
    assert "results/demo/viewer" in done.stdout
