"""check-model: a checkpoint that cannot be asked is one line, before anything runs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from hhvad import checkpoint
from hhvad.cli import main
from hhvad.errors import ModelError
from hhvad.mllm.check import check_model

DEMO = Path(checkpoint.resolve("demo"))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return Path(shutil.copytree(DEMO, tmp_path / "model"))


def check(model: Path | str, **changes: object) -> dict:
    given = {
        "dtype": "float32",
        "device": "cpu",
        "frames": 8,
        "size": (56, 56),
        "prompts": ["Is anything abnormal?", "Does something unusual happen?"],
        "system": "",
    }
    return check_model(str(model), **{**given, **changes})  # type: ignore[arg-type]


def test_the_shipped_model_can_be_asked():
    found = check("demo", system="You watch a camera.")
    assert found["architecture"] == "internvl"
    assert found["layers"] * found["heads"] * found["head_dim"] > 0


def test_of_a_hub_id_nothing_is_opened():
    assert check("owner/name") == {"path": "owner/name"}


def edit(path: Path, **keys: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | keys))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda m: (m / "tokenizer.json").unlink(), "tokenizer is absent"),
        (lambda m: (m / "model.safetensors").unlink(), r"no \*.safetensors"),
        (
            lambda m: (m / "model.safetensors").write_bytes(
                (m / "model.safetensors").read_bytes()[:-100]
            ),
            "not a safetensors file",
        ),
        (lambda m: (m / "config.json").unlink(), "config.json is absent"),
        (lambda m: edit(m / "config.json", model_type="internvl_chat"), "internvl_chat"),
        (
            lambda m: edit(m / "config.json", quantization_config={"bits": 4}),
            "quantised checkpoints",
        ),
    ],
    ids=["tokenizer", "weights", "cut", "config", "original-layout", "quantised"],
)
def test_a_spoilt_checkpoint_is_named(model: Path, spoil, message: str):
    spoil(model)
    with pytest.raises(ModelError, match=message) as caught:
        check(model)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": (64, 64)}, "64x64"),
        ({"device": "cuda:7"}, "cuda:7"),
        ({"device": "cpu,cuda:7"}, "cuda:7"),
        ({"prompts": ["Is <IMG_CONTEXT> here?", "b"]}, "own token"),
    ],
)
def test_what_does_not_fit_the_model_is_named(change: dict, message: str):
    with pytest.raises(ModelError, match=message):
        check("demo", **change)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "m.json"
    words = ["check-model", "--model=demo", "--dtype=float32", "--device=cpu", "--system="]
    words += ["--frames-per-segment=8", "--prompt=-a", "--prompt=b", "--key=k", f"--out={out}"]
    assert main([*words, "--size", "56", "56"]) == 0
    assert json.loads(out.read_text())["key"] == "k"
    out.unlink()
    assert main([*words, "--size", "57", "57"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not out.exists()
