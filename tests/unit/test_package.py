"""The shape of the package: who may import whom, and what is never written."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import hhvad
from hhvad.cli import STAGES, build_parser, main

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "hhvad"
PLUGIN = ROOT / "snakemake_logger_plugin_hhvad"
MODULES = sorted(PACKAGE.rglob("*.py"))
HEAVY = {"torch", "transformers", "tokenizers"}


def imports(path: Path, everywhere: bool) -> set[str]:
    """Modules that a file imports: at its top, or everywhere in it."""
    tree = ast.parse(path.read_text())
    nodes = ast.walk(tree) if everywhere else iter(tree.body)
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_only_mllm_imports_torch(path):
    names = imports(path, everywhere=True)
    roots = {name.split(".")[0] for name in names}
    allowed = path.is_relative_to(PACKAGE / "mllm") or path == PACKAGE / "media/resize.py"
    if not allowed:
        assert not roots & HEAVY
        assert "safetensors.torch" not in names


ARRAYS_ONLY = [
    "methods/headhunt/saliency", "methods/headhunt/rhi", "methods/headhunt/scorer",
    "localization/locator", "media/samplers",
]  # fmt: skip


@pytest.mark.parametrize("name", ARRAYS_ONLY)
def test_the_method_takes_arrays_not_files(name):
    used = imports(PACKAGE / f"{name}.py", everywhere=True)
    assert not used & {"pathlib", "h5py", "hhvad.files", "hhvad.artifacts.hdf5", "hhvad.cli"}


def test_nothing_below_imports_the_command_line():
    for path in MODULES:
        if path.parent.name != "cli" and path.name != "__main__.py":
            assert not any(name.startswith("hhvad.cli") for name in imports(path, True)), path


def test_a_light_start_imports_nothing_heavy():
    code = (
        "import sys; from hhvad.cli import build_parser; build_parser();"
        "print([m for m in ('torch','transformers','sklearn','matplotlib','h5py','numpy','av')"
        " if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


NEVER_IMPORTED = {"pickle", "joblib", "dill", "cloudpickle"}
NEVER_CALLED = {"eval", "exec", "os.system", "yaml.load"}
MAY_ONLY_BE_FALSE = {"trust_remote_code", "allow_pickle", "shell"}


def dangers(source: str) -> list[str]:
    """What runs code from files or strings in a module's source, as `line: code`."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            bad = any(alias.name.split(".")[0] in NEVER_IMPORTED for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names = {alias.name for alias in node.names} - {"UnpicklingError"}  # only caught
            bad = (node.module or "").split(".")[0] in NEVER_IMPORTED and bool(names)
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            said = {word.arg: ast.unparse(word.value) for word in node.keywords}
            bad = called in NEVER_CALLED
            bad |= any(said.get(name, "False") != "False" for name in MAY_ONLY_BE_FALSE)
            bad |= called == "torch.load" and said.get("weights_only") != "True"
        else:
            continue
        if bad:
            found.append(f"{node.lineno}: {ast.unparse(node)}")
    return found


@pytest.mark.parametrize("path", [*MODULES, *PLUGIN.glob("*.py")], ids=lambda p: p.name)
def test_nothing_dangerous_is_written(path):
    assert not dangers(path.read_text())


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from joblib import load",
        "eval(text)",
        "os.system(text)",
        "run(text, shell=True)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "yaml.load(text, Loader=yaml.Loader)",
        "load(path, trust_remote_code=given)",
        "numpy.load(path, allow_pickle=True)",
    ],
)
def test_dangers_are_found(line):
    assert dangers(line)


def test_no_absolute_paths_in_the_project():
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in tracked.stdout.splitlines():
        path = ROOT / name
        if path.suffix in {".py", ".smk", ".yaml", ".md", ".tsv", ".toml", ""} and path.is_file():
            text = path.read_text(errors="ignore")
            assert "/wor" + "k/" not in text, name
            assert "/roo" + "t/" not in text, name


def test_every_rule_has_its_subcommand_and_what_a_rule_needs():
    known = set(build_parser()._subparsers._group_actions[0].choices)
    for path in sorted((ROOT / "rules").rglob("*.smk")):
        for text in re.split(r"^rule ", path.read_text(), flags=re.M)[1:]:
            name = text.split(":")[0]
            (command,) = re.findall(r'"hhvad ([a-z-]+)', text)
            assert command in known, name
            assert command == name.replace("_", "-"), name
            assert re.match(rf'{name}:\n    """.+"""\n', text), f"{name} has no docstring"
            for directive in ("output", "log", "benchmark", "conda", "resources"):
                assert f"\n    {directive}:" in text, f"{name} lacks {directive}"


def test_functions_live_in_common_and_beside_the_rules_of_methods():
    for path in [ROOT / "Snakefile", *(ROOT / "rules").rglob("*.smk")]:
        if path.name != "common.smk" and not path.stem.endswith("_inputs"):
            assert "\ndef " not in path.read_text(), path


def test_every_command_explains_itself(capsys):
    for stage, commands in STAGES.items():
        assert (PACKAGE / "cli" / f"{stage}.py").is_file()
        alone = build_parser(commands[0])._subparsers._group_actions[0].choices
        assert tuple(alone) == commands, stage
    for name in build_parser()._subparsers._group_actions[0].choices:
        with pytest.raises(SystemExit) as caught:
            main([name, "--help"])
        assert caught.value.code == 0
        assert f"hhvad {name}" in capsys.readouterr().out


@pytest.mark.parametrize("argv", [[], ["nonsense"], ["show-results", "--config"]])
def test_a_wrong_command_line_is_one_line_and_exit_code_2(argv, capsys):
    with pytest.raises(SystemExit) as caught:
        main(argv)
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("hhvad: error:")
    assert error.count("\n") == 1


def test_a_users_mistake_is_one_line_and_exit_code_2(tmp_path, capsys):
    code = main(["show-results", "--config", str(tmp_path / "x.yaml")])
    assert code == 2
    assert capsys.readouterr().err == f"hhvad: error: {tmp_path}/x.yaml: there is no such file\n"


def test_version(capsys):
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"hhvad {hhvad.__version__}\n"
    assert f'version = "{hhvad.__version__}"' in (ROOT / "pyproject.toml").read_text()


def test_the_public_names_are_there_and_documented():
    page = (ROOT / "docs/python.md").read_text()
    for name in hhvad.__all__:
        assert getattr(hhvad, name) is not None
        assert name in dir(hhvad)
        assert name == "__version__" or f"`{name}`" in page, name
    with pytest.raises(AttributeError, match="nonsense"):
        _ = hhvad.nonsense
    code = "import sys, hhvad; print([m for m in sys.modules if m.startswith('hhvad.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_users_interrupt_is_one_line(monkeypatch, capsys, tmp_path):
    def stop(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("hhvad.cli.run._check_config", stop)
    assert main(["check-config", "--config", "c.yaml"]) == 130
    assert capsys.readouterr().err == "hhvad: stopped\n"
