"""All methods on datasets of several seeds, by the workflow itself.

    python benchmarks/methods.py [--seeds 101 102 ...] [--work build/methods] [--markdown FILE]

For each seed the demo's forty videos are drawn anew and `config/methods.yaml` runs on them as a
user would run it, with a second HeadHunt on the same model in bfloat16. The folder --work keeps all
results: a second call goes on. The seeds 101 to 105 were never used while scenes, models and
methods were made.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import yaml

from hhvad.files import read_json

ROOT = Path(__file__).resolve().parents[1]
SHOWN = {
    "auc": "frame AUC",
    "auc_abnormal": "abnormal videos alone",
    "ap_step": "AP",
    "event_map": "mAP of events",
    "event_recall": "events found",
    "false_alarms_per_hour": "false alarms an hour",
}


def prepare(folder: Path, seed: int) -> None:
    """Configs and sheet of a seed."""
    if not folder.is_dir():
        shutil.copytree(ROOT / "config", folder / "config")
    sheet = folder / "config/videos.tsv"
    command = ["make-demo-sheet", "--seed", str(seed), "--out", str(sheet)]
    subprocess.run([sys.executable, "-m", "hhvad", *command], check=True, cwd=folder)
    given = yaml.safe_load((ROOT / "config/methods.yaml").read_text())
    given["demo"] = {"seed": seed}
    given["metrics"] = {"bootstrap": 200}
    given["models"]["demo-bf16"] = {"path": "demo", "dtype": "bfloat16"}
    given["methods"]["headhunt-bf16"] = {**given["methods"]["headhunt"], "model": "demo-bf16"}
    (folder / "config/all.yaml").write_text(yaml.safe_dump({**given, "study": "all"}))


def run(folder: Path, study: str, *targets: str) -> None:
    """Run a study's targets, or what is missing of them."""
    if all((folder / target).is_file() for target in targets):
        return
    command = ["snakemake", *targets, "--snakefile", str(ROOT / "Snakefile"), "--cores", "2"]
    command += ["--configfile", f"config/{study}.yaml"]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    with (folder / f"{study}.log").open("w") as log:
        subprocess.run(command, check=True, cwd=folder, stdout=log, stderr=log, env=environment)


def row(name: str, found: list[dict]) -> str:
    """Mean and spread of each metric over the seeds."""
    cells = []
    for key in SHOWN:
        values = [one[key]["value"] for one in found if one[key]["value"] is not None]
        spread = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
        cells.append(f"{np.mean(values):.3f}{spread}" if values else "undefined")
    return f"| {name} | {' | '.join(cells)} |"


def report(work: Path, seeds: list[int]) -> str:
    compared = [read_json(work / f"{seed}/results/all/comparison/methods.json") for seed in seeds]
    costs = [read_json(work / f"{seed}/results/all/comparison/costs.json") for seed in seeds]
    names = [one["name"] for one in compared[0]["methods"]]
    head = f"| | {' | '.join(SHOWN.values())} |", "|---|" + "---|" * len(SHOWN)
    lines = [
        f"Seeds {', '.join(map(str, seeds))}; mean ± standard deviation. Made by "
        "`benchmarks/methods.py`, which says what runs.",
        "",
        *head,
    ]
    for at, name in enumerate(names):
        lines.append(row(name, [one["methods"][at]["metrics"] for one in compared]))
    lines += [
        "",
        "What they took, mean of the seeds, two jobs at a time on two cores:",
        "",
        "| | labels | training | seconds a second of test video | model calls | tokens |",
        "|---|---|---|---|---|---|",
    ]
    for at, name in enumerate(names):
        rows = [one["methods"][at] for one in costs]
        mean = {
            key: np.mean([one[key] for one in rows])
            for key in ("real_time", "model_calls", "tokens")
        }
        words = [rows[0][key] or "none" for key in ("labels", "training")]
        lines.append(
            f"| {name} | {words[0]} | {words[1]} | {mean['real_time']:.3f} | "
            f"{mean['model_calls']:.0f} | {mean['tokens']:.0f} |"
        )
    return "\n".join([*lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[101, 102, 103, 104, 105])
    parser.add_argument("--work", type=Path, default=Path("build/methods"))
    parser.add_argument("--markdown", type=Path)
    given = parser.parse_args()
    work = given.work.absolute()
    for seed in given.seeds:
        folder = work / str(seed)
        prepare(folder, seed)
        comparison = "results/all/comparison"
        run(folder, "all", f"{comparison}/methods.json", f"{comparison}/costs.json")
        print(f"seed {seed}: all methods", file=sys.stderr, flush=True)
    text = report(work, given.seeds)
    print(text)
    if given.markdown:
        given.markdown.write_text(text)


if __name__ == "__main__":
    main()
