"""Adapters: their loss against inference, kills, merging, and what may be learnt from."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from probes import write_probe
from safetensors.torch import load_file, save_file
from test_capture import FAMILIES, Family, make

from hhvad.artifacts import hdf5
from hhvad.datasets.hivau_items import Item
from hhvad.datasets.lessons import choose, ranges
from hhvad.errors import AnnotationError, ModelError
from hhvad.mllm import course
from hhvad.mllm.engine import Engine
from hhvad.mllm.tune import CONFIG, WEIGHTS, Lesson, Settings, _Teacher, merge, share_of_rate, tune
from hhvad.records import Video

pytest.importorskip("peft", reason="needs peft: pip install 'hhvad[tune]'")

SETTINGS = Settings(
    rank=4, alpha=8, dropout=0.1, rate=5e-3, warmup=0.2, decay=0.01, batch=3, epochs=3, seed=1,
    system="",
)  # fmt: skip
REPLIES = ["a fire", "yes, a robbery", "no"]


@pytest.fixture(scope="module", params=FAMILIES)
def family(request, tmp_path_factory) -> Family:
    return make(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def simple(tmp_path_factory) -> Family:
    return make("internvl", tmp_path_factory.mktemp("simple"))


def lessons_of(family: Family, folder: Path) -> list[Lesson]:
    count, shown, height, width, _ = family.frames.shape
    bounds = np.arange(count)[:, None] * 48 + np.array([0, 48])
    arrays = {
        "frames": family.frames,
        "indices": bounds[:, :1] + np.arange(shown),
        "segments": bounds,
    }
    given = {"video": "v", "view": "focus", "frames_per_segment": shown, "segment_length": 0}
    given |= {"size": [height, width], "resize": "bicubic", "fps": 25.0, "decoder": "decord"}
    path = folder / "frames.h5"
    hdf5.write(path, "frames", arrays, given | {"n_frames": 48 * count})
    prompts = ["what is it?", "Is there anything abnormal?"]
    return [
        Lesson(str(path), segment, prompt, REPLIES[(segment + n) % len(REPLIES)])
        for segment in range(len(family.frames))
        for n, prompt in enumerate(prompts)
    ]


def learn(family: Family, lessons, folder: Path, settings: Settings = SETTINGS, **how) -> Path:
    tune(
        str(family.folder), lessons, settings, folder / "adapter", folder / "state",
        key="k", name="tiny", device="cpu", threads=1, every=0, **how,
    )  # fmt: skip
    return folder / "adapter"


def test_the_loss_is_that_of_inference(family):
    engine = Engine.load(str(family.folder), device="cpu")
    teacher = _Teacher(engine, "be brief")
    prompt, reply = "what is it?", "yes, a robbery"
    for segment in range(2):
        frames = family.frames[segment : segment + 1]
        tokens = teacher._reply(reply)
        found = teacher.loss(frames, prompt, tokens)
        logs = engine.weigh(frames, [prompt], [reply], system="be brief", batch_size=1)[0, 0, 0]
        # the end of the reply is one token more
        behind = teacher.loss(frames, prompt, tokens) - teacher.loss(frames, prompt, tokens[:-1])
        assert float(found - behind) == pytest.approx(-logs, abs=1e-4)
        assert float(behind) > 0


def test_an_adapter_is_learnt_and_merged(family, tmp_path):
    lessons = lessons_of(family, tmp_path)
    adapter = learn(family, lessons, tmp_path, replace(SETTINGS, epochs=8, dropout=0))
    losses = [
        float(line.split("\t")[1]) for line in (adapter / "loss.tsv").read_text().splitlines()[1:]
    ]
    assert len(losses) == 8 * math.ceil(len(lessons) / 3)
    assert np.mean(losses[-2:]) < 0.8 * np.mean(losses[:2])
    assert str(family.folder) not in (adapter / CONFIG).read_text()
    assert {len(t.shape) for t in load_file(adapter / WEIGHTS).values()} == {2}

    merged = tmp_path / "merged"
    merge(str(family.folder), adapter, merged)
    names = {path.name for path in Path(family.folder).iterdir()}
    assert {path.name for path in merged.iterdir()} == names
    for path in merged.iterdir():
        if path.suffix != ".safetensors":
            assert path.read_bytes() == (Path(family.folder) / path.name).read_bytes()
    plain, tuned = (Engine.load(str(folder), device="cpu") for folder in (family.folder, merged))
    one = lessons[0]
    frames, answers = family.frames[one.segment : one.segment + 1], [one.reply]
    before = plain.weigh(frames, [one.prompt], answers, batch_size=1)
    after = tuned.weigh(frames, [one.prompt], answers, batch_size=1)
    assert after > before


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft's own
def test_merged_weights_answer_as_the_adapter_does(family, tmp_path):
    from peft import PeftModel

    adapter = learn(family, lessons_of(family, tmp_path), tmp_path)
    merge(str(family.folder), adapter, tmp_path / "merged")
    inputs = family.inputs(family.frames[0], "what is it?")
    with torch.no_grad():
        base = family.model().eval()(**inputs).logits
        adapted = PeftModel.from_pretrained(family.model().eval(), str(adapter))(**inputs).logits
        merged = type(family.model()).from_pretrained(tmp_path / "merged").eval()(**inputs).logits
    torch.testing.assert_close(merged, adapted, atol=1e-5, rtol=0)
    assert (merged - base).abs().max() > 1e-2


def test_an_interrupted_training_gives_the_same_bytes(simple, tmp_path):
    lessons = lessons_of(simple, tmp_path)
    whole = learn(simple, lessons, tmp_path / "whole")

    class Killed(Exception):
        pass

    def kill(done: int, total: int, loss: float) -> None:
        if done == 5:
            raise Killed

    with pytest.raises(Killed):
        learn(simple, lessons, tmp_path / "parts", progress=kill)
    steps = []
    parts = learn(
        simple, lessons, tmp_path / "parts", progress=lambda done, total, loss: steps.append(done)
    )
    assert steps[0] == 6  # from the state behind step 5
    for name in (WEIGHTS, CONFIG, "loss.tsv"):
        assert (whole / name).read_bytes() == (parts / name).read_bytes()
    steps.clear()
    again = learn(
        simple, lessons, tmp_path / "parts", progress=lambda done, total, loss: steps.append(done)
    )
    assert steps == []
    assert (whole / WEIGHTS).read_bytes() == (again / WEIGHTS).read_bytes()


def test_another_key_begins_anew(simple, tmp_path):
    lessons = lessons_of(simple, tmp_path)
    learn(simple, lessons, tmp_path)
    tune(
        str(simple.folder), lessons[:3], SETTINGS, tmp_path / "adapter", tmp_path / "state",
        key="other", name="tiny", device="cpu", threads=1,
    )  # fmt: skip
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["other"]


def test_the_learnt_weights_alone_are_in_the_state(simple, tmp_path):
    learn(simple, lessons_of(simple, tmp_path), tmp_path)
    state = load_file(tmp_path / "state/k/state.safetensors")
    assert {name.split(".")[0] for name in state} == {"weight", "step", "exp_avg", "exp_avg_sq"}
    assert all(".lora_" in name for name in state)


def test_the_model_must_fit(simple, tmp_path):
    lessons = lessons_of(simple, tmp_path)
    with pytest.raises(ModelError, match="no lesson"):
        learn(simple, [], tmp_path)
    with pytest.raises(ModelError, match="context holds"):
        learn(simple, [replace(lessons[0], reply="a fire " * 100_000)], tmp_path)
    with pytest.raises(ModelError, match="lower the rate"):
        learn(simple, lessons, tmp_path / "far", replace(SETTINGS, rate=1e30))
    adapter = learn(simple, lessons, tmp_path)
    other = make("qwen2_5_vl", tmp_path / "other")
    with pytest.raises(ModelError, match="does not fit"):
        merge(str(other.folder), adapter, tmp_path / "merged")
    tensors = load_file(adapter / WEIGHTS)
    save_file(dict(list(tensors.items())[1:]), adapter / WEIGHTS)
    with pytest.raises(ModelError, match="does not fit"):
        merge(str(simple.folder), adapter, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_the_rate_by_hand():
    shares = [share_of_rate(step, 10, 0.2) for step in range(10)]
    assert shares[:3] == pytest.approx([1 / 3, 2 / 3, 1])
    assert shares[6] == pytest.approx(0.5)
    assert shares[9] == pytest.approx(0.5 * (1 + math.cos(math.pi * 7 / 8)))
    assert [share_of_rate(step, 2, 0) for step in range(2)] == [1, 0.5]


# What may be learnt from


def item(video: str, start: int = 0, end: int = 10) -> Item:
    return Item("1", "event", "caption", video, start, end, True, "what?", "a fire")


def of(tmp_path: Path, splits: dict[str, str]) -> tuple[dict, dict]:
    videos = {
        name: Video(name, f"{name}.mp4", split, "normal", "", ()) for name, split in splits.items()
    }
    probes = {name: write_probe(tmp_path / f"{name}.json", 100) for name in splits}
    return videos, {
        name: replace(one, fingerprint=f"print of {name}") for name, one in probes.items()
    }


def test_only_calibration_videos_are_learnt_from(tmp_path):
    videos, probes = of(tmp_path, {"a": "calibration", "b": "validation", "c": "test"})
    kept, absent = choose([item("a"), item("elsewhere"), item("a", 5, 8)], videos, probes)
    assert [(one.video, one.start) for one in kept] == [("a", 0), ("a", 5)]
    assert absent == {"elsewhere": 1}
    for name, why in (("b", "split validation"), ("c", "split test")):
        with pytest.raises(
            AnnotationError, match=rf"1 of 2 questions .* 1 videos .*{name} \({why}"
        ):
            choose([item("a"), item(name)], videos, probes)
    with pytest.raises(AnnotationError, match=r"Abuse028_x264 .a test video of UCF-Crime"):
        choose([item("a"), item("Abuse028_x264")], videos, probes)
    same = probes | {"a": replace(probes["a"], fingerprint=probes["c"].fingerprint)}
    with pytest.raises(AnnotationError, match="the same file as c"):
        choose([item("a")], videos, same)
    with pytest.raises(AnnotationError, match="frames 90-101 of video a, which has 100"):
        choose([item("a", 90, 101)], videos, probes)


def test_ranges_that_are_all_damaged_are_left_out(tmp_path):
    _, probes = of(tmp_path, {"a": "calibration"})
    broken = replace(probes["a"], damaged=((20, 40),))
    items = [item("a", 25, 35), item("a", 15, 30), item("b"), item("a", 15, 30)]
    assert ranges(items, "a", broken) == [(15, 30)]


def test_a_training_with_other_weights_is_not_gone_on_with(tmp_path):
    weight = torch.nn.Parameter(torch.zeros(2))
    optimiser = torch.optim.AdamW([weight])
    weight.grad = torch.ones(2)
    optimiser.step()
    course.keep(tmp_path, {"w": weight}, optimiser, [(1.0,)], 0.0)
    fresh = torch.nn.Parameter(torch.zeros(2))
    losses, _ = course.resume(tmp_path, {"w": fresh}, torch.optim.AdamW([fresh]))
    assert losses == [(1.0,)]
    assert torch.equal(fresh, weight)
