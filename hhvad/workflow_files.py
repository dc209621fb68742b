"""Where the Snakefile, rules, profiles and example configs are: in a clone, or installed."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

from hhvad.errors import ConfigError
from hhvad.files import read_text, write_text

INSTALLED = "share/hhvad/Snakefile"
DEMO = ("config/config.yaml", "config/videos.tsv", "config/prompts.yaml")


def workflow_folder() -> Path:
    """The folder of the Snakefile. Raises ConfigError where this installation has none."""
    root = Path(__file__).resolve().parents[1]
    found = [root / "Snakefile", root / INSTALLED]  # a clone; pip install --target
    try:
        listed = files("hhvad") or []
    except PackageNotFoundError:
        listed = []
    found += [Path(str(file.locate())) for file in listed if file.as_posix().endswith(INSTALLED)]
    for snakefile in found:
        if snakefile.is_file():
            return snakefile.resolve().parent
    raise ConfigError("this installation of hhvad has no Snakefile; install hhvad again")


def snakefile() -> Path:
    """The Snakefile."""
    return workflow_folder() / "Snakefile"


def config_here() -> Path:
    """The one config in config/ of the working directory that init wrote, else the demo's.

    The demo's files are copied here where they are absent. Raises ConfigError where several were
    written.
    """
    written = sorted(
        path for path in Path("config").glob("*.yaml") if path.with_suffix(".tsv").is_file()
    )
    if len(written) > 1:
        names = ", ".join(map(str, written))
        raise ConfigError(f"config/ has several studies: {names}; name one by --config")
    if written:
        return written[0]
    for name in DEMO:
        if not Path(name).exists():
            write_text(name, read_text(workflow_folder() / name))
    return Path(DEMO[0])
