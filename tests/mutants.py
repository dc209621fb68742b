"""Put small faults into the package, one at a time, and see whether the unit tests notice.

    python tests/mutants.py [--per-module 20] [--seed 0] [MODULE ...]

A fault is a comparison turned round, a number plus one, a condition dropped, an `and` for an `or`,
a return value lost, a sign changed. Each goes into a copy of the package, against which the tests
of its module run. Prints a line for each fault that no test noticed, and a table. Not part of
`make test`: it takes seconds per fault. docs/mutants.md explains the survivors.
"""

from __future__ import annotations

import argparse
import ast
import copy
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
UNIT = "tests/unit"
TESTS = {
    "checkpoint": ["test_checkpoint"],
    "datasets/xd_violence": ["test_datasets"],
    "evaluation/intervals": ["test_intervals"],
    "evaluation/metrics": ["test_metrics"],
    "files": ["test_files"],
    "localization/locator": ["test_locator", "test_locator_file"],
    "media/samplers": ["test_sampling", "test_damage"],
    "methods/headhunt/detector": ["test_detector"],
    "methods/headhunt/rhi": ["test_rhi"],
    "methods/headhunt/scorer": ["test_scorer"],
    "mllm/weights": ["test_weights"],
    "sheet": ["test_sheet"],
}
TURNED = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.And: ast.Or,
    ast.Or: ast.And,
}  # fmt: skip


def places(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """(Number of the node in ast.walk, kind of fault) of every fault that can be made."""
    for number, node in enumerate(ast.walk(tree)):
        if isinstance(node, ast.Compare) and type(node.ops[0]) in TURNED:
            yield number, "comparison"
        elif isinstance(node, ast.BinOp | ast.BoolOp) and type(node.op) in TURNED:
            yield number, "operator"
        elif isinstance(node, ast.If):
            yield number, "condition"
        elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
            yield number, "number"
        elif isinstance(node, ast.Return) and node.value is not None:
            yield number, "return"


def faulty(tree: ast.Module, number: int) -> tuple[ast.Module, int]:
    """A copy with one fault, and the line that it is in."""
    changed = copy.deepcopy(tree)
    node = list(ast.walk(changed))[number]
    if isinstance(node, ast.Compare):
        node.ops[0] = TURNED[type(node.ops[0])]()
    elif isinstance(node, ast.BinOp | ast.BoolOp):
        node.op = TURNED[type(node.op)]()
    elif isinstance(node, ast.If):
        node.test = ast.Constant(True)
    elif isinstance(node, ast.Constant):
        node.value += 1
    elif isinstance(node, ast.Return):
        node.value = ast.Constant(None)
    return ast.fix_missing_locations(changed), node.lineno


def passes(folder: Path, tests: list[str]) -> bool:
    """Whether the tests pass with the package in `folder`; one that hangs has noticed."""
    command = [sys.executable, "-P", "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
    command += [f"{UNIT}/{name}.py" for name in tests]
    environment = os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, timeout=600, check=False
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("modules", nargs="*", default=list(TESTS), metavar="MODULE")
    parser.add_argument("--per-module", type=int, default=20, metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    unknown = [name for name in arguments.modules if name not in TESTS]
    if unknown:
        parser.error(f"{unknown[0]!r} is none of {', '.join(TESTS)}")
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        shutil.copytree(ROOT / "hhvad", folder / "hhvad")
        for module in arguments.modules:
            path = folder / "hhvad" / f"{module}.py"
            text = path.read_text(encoding="utf-8")
            tree = ast.parse(text)
            if not passes(folder, TESTS[module]):
                sys.exit(f"{module}: its tests fail without a fault; mend them first")
            every = list(places(tree))
            chosen = random.Random(arguments.seed).sample(
                every, min(arguments.per_module, len(every))
            )
            survived = 0
            for number, kind in sorted(chosen):
                changed, line = faulty(tree, number)
                path.write_text(ast.unparse(changed), encoding="utf-8")
                if passes(folder, TESTS[module]):
                    survived += 1
                    print(f"{module}.py:{line}: {kind}: {text.splitlines()[line - 1].strip()}")
                    sys.stdout.flush()
            path.write_text(text, encoding="utf-8")
            rows.append((module, len(chosen), len(chosen) - survived))
    print("\n| module | faults | noticed |\n|---|---|---|")
    for row in rows:
        print("| {} | {} | {} |".format(*row))


if __name__ == "__main__":
    main()
