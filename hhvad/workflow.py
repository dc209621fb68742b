"""What Snakemake itself needs of us: fast planning, bundles in an allocation, left-over files."""

from __future__ import annotations

import gc
import os
import platform
import re
import sys
from collections.abc import Iterable, Mapping
from inspect import signature
from pathlib import Path
from shlex import join, quote
from types import FunctionType
from typing import Any

from hhvad import checkpoint
from hhvad.files import digest, read_json, sweep_folder
from hhvad.methods.hiprobe.settings import HiProbe
from hhvad.methods.probe.settings import Probe
from hhvad.methods.vera.settings import Vera
from hhvad.study import Study


def plan_faster(names: Mapping[str, Any]) -> None:
    """Spare Snakemake work that it repeats for every job; names: the globals of the rules.

    It makes millions of objects that all stay: looking for garbage every 700 of them takes an
    eighth of the time that it plans. It asks for the signatures of the rules' functions for every
    job: kept, planning takes a twentieth less.
    """
    gc.set_threshold(100_000)
    for function in list(names.values()):
        if isinstance(function, FunctionType) and function.__globals__ is names:
            function.__signature__ = signature(function)  # type: ignore[attr-defined]


def one_of(names: Iterable[str]) -> str:
    """A regular expression that matches just these names, as fast for ten thousand as for ten.

    A wildcard that is constrained to it makes of an unknown name "no rule produces". Without names
    it matches nothing.
    """
    tree: dict[str, Any] = {}
    for name in names:
        node = tree
        for char in name:
            node = node.setdefault(char, {})
        node[""] = {}
    return _branch(tree) if tree else r"(?!)"


def _branch(node: dict[str, Any]) -> str:
    literal = ""
    while len(node) == 1 and "" not in node:
        ((char, node),) = node.items()
        literal += re.escape(char)
    ends = "" in node
    others = [re.escape(char) + _branch(below) for char, below in sorted(node.items()) if char]
    if not others:
        return literal
    if ends or len(others) > 1:
        return f"{literal}(?:{'|'.join(others)}){'?' if ends else ''}"
    return literal + others[0]


def readers_of_frames(study: Study) -> list[str]:
    """Whoever reads frames that are on scratch: each has frames of its own."""
    captures = map(".".join, study.prompts)
    captions = (f"captions.{model}.{prompt}" for model, prompt in study.captions)
    vectors = (f"vectors.{model}" for model in study.models)
    classes = (f"class.{model}" for model in study.models)
    probed = (f"probe.{name}" for name in study.of(Probe))
    guided = (f"vera.{name}" for name in study.of(Vera))
    states = (f"states.{name}" for name in study.of(HiProbe))
    return ["motion", *captures, *captions, *vectors, *classes, *probed, *guided, *states]


def file_mb(path: str) -> float:
    """Size of a file in MiB; 0 where it is not there yet."""
    try:
        return Path(path).stat().st_size / 2**20
    except OSError:
        return 0


def weights_mb(model: str) -> float:
    """MiB of a checkpoint folder's weights; for a hub id those of eight billion numbers."""
    files = list(Path(checkpoint.resolve(model)).glob("*.safetensors"))
    return sum(file_mb(str(file)) for file in files) if files else 16000


def check_commands(study: Study, stamps: Mapping[str, str], here: bool) -> list[str]:
    """A command for each model that is asked and has not yet been checked as it is now.

    here: jobs run on this machine; else the device is not looked for on it.
    """
    commands = []
    for name in study.multimodal:
        wanted = {**study.check_of(name), "stamp": stamps[name], "host": platform.node()}
        wanted["device"] = wanted["device"] if here else "cpu"
        out = study.results / f"models/{name}.json"
        key = digest(wanted)
        if out.is_file() and read_json(out).get("key") == key:
            continue
        words = ["hhvad", "check-model", f"--model={study.models[name].path}"]
        words += [f"--dtype={wanted['dtype']}", f"--device={wanted['device']}"]
        words += [f"--frames-per-segment={wanted['frames']}", "--size"]
        words += [*map(str, wanted["size"]), f"--system={wanted['system']}"]
        words += [f"--prompt={text}" for text in wanted["prompts"]]
        commands.append(join([*words, f"--key={key}", f"--out={out}"]))
    return commands


def hhvad_in_environments(folder: Path) -> str:
    """Shell words that define `hhvad` as this package, run by whichever Python comes first.

    An environment that Snakemake makes from envs/ holds what hhvad imports, not hhvad: so a change
    of code makes no environment anew. folder: gets a link to the package, and nothing else for
    that Python to find.
    """
    package = Path(__file__).resolve().parent
    link = folder.absolute() / package.name
    if not link.is_symlink() or link.resolve() != package:
        folder.mkdir(parents=True, exist_ok=True)
        new = link.with_name(f".{package.name}-{os.getpid()}")
        new.symlink_to(package)
        os.replace(new, link)
    return f'hhvad() {{ PYTHONPATH={quote(str(link.parent))} python -m hhvad "$@"; }};'


def remove_leftovers(folders: Mapping[str, str], keep_temporary: bool) -> None:
    """Remove what killed runs left: temporary files, and frames on scratch nobody will ask for.

    Snakemake deletes the frames of its own run only.
    """
    for name in ("results", "resources"):
        sweep_folder(folders[name])
    if not keep_temporary:
        scratch = Path(folders["scratch"].replace("<results>", folders["results"]))
        for view in ("segments", "grid", "focus", "windows", "around"):
            for frames in (scratch / view).rglob("*.h5"):
                frames.unlink(missing_ok=True)


def restart_bundle_as_local_run() -> None:
    """In a cluster's allocation, start again as `snakemake --cores` on the bundle that was sent.

    Snakemake's Slurm executor would run its jobs one after the other, each as a step with a
    Snakemake of its own: the resident model would end with every job, and the first failure would
    end the bundle. A second attempt computes what the first did not finish.
    """
    given = sys.argv[1:]
    if "--local-groupid" not in given or "slurm-jobstep" not in given:
        return
    # Hooks end the resident model.
    dropped = {"--executor": 2, "--jobs": 2, "--no-hooks": 1}
    if given[given.index("--attempt") + 1] != "1":
        dropped["--force"] = 1
    for flag, words in dropped.items():
        if flag in given:
            position = given.index(flag)
            del given[position : position + words]
    command = [sys.executable, "-m", "snakemake", *given, "--keep-going"]
    os.execv(sys.executable, command)
