"""benchmarks/capture.py: the geometries, and a whole small run."""

from __future__ import annotations

import ast
import importlib
import sys
from pathlib import Path

import capture as bench
import pytest
import torch

from hhvad.files import write_json

BENCHMARKS = Path(bench.__file__).parent


@pytest.mark.parametrize(
    ("name", "billions", "tokens"),
    [
        ("internvl3-8b", 7.9, 4096),
        ("internvl3-2b", 2.1, 4096),
        ("qwen2.5-vl-7b", 8.3, 2048),
        ("llava-onevision-7b", 8.0, 3137),
        ("small", 0.009, 1024),
    ],
)
def test_geometries_are_those_of_the_models(name, billions, tokens):
    geometry = bench.geometries()[name]
    network = bench.random_network(geometry, torch.device("meta"), torch.bfloat16)
    assert sum(p.numel() for p in network.parameters()) / 1e9 == pytest.approx(billions, rel=0.05)
    adapter = bench.find(geometry.model_type)(network.model, network.config, None, None)
    assert adapter.tokens(geometry.frames, geometry.size, geometry.size) == tokens


def test_a_run_prints_one_table(capsys):
    options = ["--model", "tiny", "--segments", "1", "--prompts", "2", "--repeats", "1"]
    assert bench.main([*options, "--device", "cpu", "--dtype", "bfloat16"]) == 0
    lines = capsys.readouterr().out.splitlines()
    table = {cells[1].strip(): cells[2].strip() for cells in (x.split("|") for x in lines)}
    assert all(line.count("|") == 3 for line in lines)
    for row in ("segments/s, 1 prompt", "share of vision", "peak memory", "FLOP utilisation"):
        assert row in table
    assert float(table["naive way / engine, 2 prompts"]) > 0
    assert "relative error" in table["bfloat16 against float32"]


def test_unknown_model_is_one_line(capsys):
    assert bench.main(["--model", "gpt-9"]) == 2
    assert "known are tiny, small, internvl3-2b" in capsys.readouterr().err


@pytest.mark.parametrize("path", sorted(BENCHMARKS.glob("*.py")), ids=lambda path: path.stem)
def test_what_a_script_takes_from_hhvad_is_there(path: Path):
    """None is run by CI for its figures: a renamed function would be noticed by who needs them."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("hhvad"):
            module = importlib.import_module(node.module or "")
            for name in node.names:
                if not hasattr(module, name.name):
                    importlib.import_module(f"{node.module}.{name.name}")


def test_what_moved_between_two_runs(tmp_path: Path, capsys, monkeypatch):
    moved = importlib.import_module("moved")
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    write_json(old, {"ratios": {"a": 2.0, "b": 4.0, "c": 1.0, "gone": 3.0}})
    write_json(new, {"ratios": {"a": 1.5, "b": 6.0, "c": 1.1, "fresh": 5.0}})
    monkeypatch.setattr(sys, "argv", ["moved.py", str(old), str(new)])
    assert moved.main() == 1
    assert capsys.readouterr().out.splitlines() == [
        "a: 2.00 -> 1.50 (-25%), WORSE",
        "b: 4.00 -> 6.00 (+50%), better",
        "c: 1.00 -> 1.10 (+10%), as before",
        "gone: not measured now",
        "fresh: 5.00, not measured before",
    ]
    monkeypatch.setattr(sys, "argv", ["moved.py", str(old), str(new), "--tolerance", "0.3"])
    assert moved.main() == 0
