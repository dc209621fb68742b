"""HiProbe-VAD: layers ranked by hand, the command, the scorer on a layer, the config."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from hhvad.artifacts import hdf5, scores
from hhvad.cli import main
from hhvad.errors import ConfigError, DataError, SheetError
from hhvad.files import read_tsv
from hhvad.methods.hiprobe.layers import BINS, rank
from hhvad.study import Study

ROOT = Path(__file__).parents[2]
LABELS = np.array([0, 0, 1, 1])


def test_measures_by_hand():
    """One dimension: classes (0, 2) and (4, 8), of variances 1 and 4 and means 1 and 6."""
    states = np.array([0.0, 2, 4, 8])[:, None, None]
    found = rank(states, LABELS)
    assert found.ldr == pytest.approx([25 / 5])
    assert found.kl == pytest.approx([((1 + 25) / 4 + (4 + 25) / 1 - 2) / 2])
    assert found.entropy == pytest.approx([np.log(4)])  # four bins of one sample each
    assert found.score.tolist() == [0]
    assert BINS == 20


def test_the_layer_that_tells_classes_apart_wins():
    random = np.random.default_rng(0)
    states = random.normal(size=(20, 4, 8))
    labels = np.arange(20) % 2
    states[labels == 1, 2] += 4
    found = rank(states, labels)
    assert found.best == 2
    assert found.score.sum() == pytest.approx(0)


def test_layers_that_never_vary_are_not_chosen():
    random = np.random.default_rng(0)
    states = np.zeros((20, 2, 3))
    labels = np.arange(20) % 2
    states[:, 1] = random.normal(size=(20, 3)) + labels[:, None] * 5
    found = rank(states, labels)
    assert np.isfinite(found.score).all()
    assert found.best == 1


def test_dimensions_that_hardly_vary_do_not_rule():
    """A dimension whose tiny difference is exact would have an endless divergence."""
    random = np.random.default_rng(0)
    labels = np.arange(20) % 2
    states = random.normal(size=(20, 2, 50))
    states[:, 0, 0] = labels * 1e-6
    states[labels == 1, 1] += 3
    assert rank(states, labels).best == 1


@pytest.mark.parametrize(
    ("labels", "value", "message"),
    [([0, 0, 0, 1], 0.0, "two samples of each"), ([0, 0, 1, 1], np.nan, "not finite")],
)
def test_what_cannot_be_ranked(labels: list[int], value: float, message: str):
    with pytest.raises(DataError, match=message):
        rank(np.full((4, 2, 3), value), np.array(labels))


# --- the commands ---------------------------------------------------------------------------------


def write_states(path: Path, state: np.ndarray, **changes) -> Path:
    """States [S, L, D] of one video."""
    provenance = {
        "model": "tiny",
        "revision": None,
        "dtype": "float32",
        "view": "video",
        "sampling": {"frames_per_segment": 8},
        "prompt": "mine",
        "prompt_text": "Is it?",
        "video": path.stem,
        "states": True,
        **changes,
    }
    segments = np.array([[48 * n, 48 * n + 48] for n in range(len(state))])
    arrays = {"features": state[:, :, None].astype(np.float32), "segments": segments}
    hdf5.write(path, "features", arrays, provenance)
    return path


@pytest.fixture
def samples(tmp_path: Path) -> list[str]:
    random = np.random.default_rng(0)
    paths = []
    for number in range(8):
        state = random.normal(size=(1, 3, 5))
        state[:, 1] += 3 * (number % 2)
        paths.append(str(write_states(tmp_path / f"c{number}.h5", state)))
    return paths


NAMES = ["normal", "anomaly"] * 4


def test_from_states_to_scores(samples: list[str], tmp_path: Path, capsys):
    experts, scorer, out = (str(tmp_path / name) for name in ("e.h5", "s.h5", "o.tsv"))
    given = ["--features", *samples, "--labels", *NAMES]
    words = ["score-layers", *given, f"--out={experts}", f"--table={tmp_path / 't.tsv'}"]
    assert main(words) == 0
    assert "layer 1 of 0 to 2" in capsys.readouterr().out
    rows = read_tsv(tmp_path / "t.tsv", ("layer", "kl", "ldr", "entropy", "score", "chosen"))
    assert [row["chosen"] for row in rows] == ["0", "1", "0"]
    assert "arXiv" in hdf5.read(experts, "experts").provenance["reconstruction"]
    how = ["--kind=logistic", "--seed=0", "--share=1"]
    assert main(["fit-scorer", *given, f"--experts={experts}", *how, f"--out={scorer}"]) == 0
    states = np.zeros((2, 3, 5))
    states[1, 1] = 3
    online = write_states(tmp_path / "t.h5", states, view="segments")
    assert (
        main(["score-headhunt", f"--features={online}", f"--scorer={scorer}", f"--out={out}"]) == 0
    )
    normal, anomalous = scores.read(out).scores
    assert normal < 0.4 < 0.6 < anomalous


def test_heads_are_no_states(samples: list[str], tmp_path: Path, capsys):
    first = write_states(tmp_path / "c0.h5", np.zeros((1, 3, 5)), states=False)
    words = ["--features", str(first), *samples[1:], "--labels", *NAMES]
    assert (
        main(["score-layers", *words, f"--out={tmp_path / 'e'}", f"--table={tmp_path / 't'}"]) == 2
    )
    assert "holds heads, not hidden states" in capsys.readouterr().err


# --- the config -----------------------------------------------------------------------------------


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch) -> dict:
    monkeypatch.chdir(ROOT)
    data = yaml.safe_load((ROOT / "config/methods.yaml").read_text())
    data["methods"] = {"h": data["methods"]["hiprobe"]}
    return data


def test_a_study_with_it(config: dict):
    study = Study.load(config, [])
    assert study.multimodal == ["demo"]
    assert study.check_of("demo")["prompts"] == ["Is anything abnormal happening?"]
    assert study.segment_length("h") == 48
    assert "capture_states/demo/segments/h" in study.costed["h"]["jobs"]


def test_it_needs_calibration_videos(config: dict, tmp_path: Path):
    lines = Path(config["videos"]).read_text().splitlines()
    sheet = tmp_path / "v.tsv"
    sheet.write_text("\n".join(line for line in lines if "\tcalibration\t" not in line) + "\n")
    with pytest.raises(SheetError, match="split calibration has 0 videos"):
        Study.load({**config, "videos": str(sheet)}, [])


def test_an_encoder_has_no_states(config: dict):
    config["methods"]["h"]["model"] = "demo-clip"
    with pytest.raises(ConfigError, match=r"methods\.h\.model is 'demo-clip'"):
        Study.load(config, [])
