"""Bad input fails its own job by name; every other video gets its results; nothing is invented."""

from __future__ import annotations

import io
import shutil

import av
import damaged
import numpy as np
import pytest
from study import ROOT, Study

from hhvad.files import read_json, read_tsv

BAD = {
    "empty": b"",
    "text": b"this is not a video\n" * 50,
}


def without_pictures(sound: bool) -> bytes:
    """An mp4 whose one stream is sound, or a video stream of no frames."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        if sound:
            stream = container.add_stream("aac", rate=44100)
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            frame.sample_rate = 44100
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        else:
            container.add_stream("mpeg4", rate=25, width=64, height=64)
            container.start_encoding()
    return file.getvalue()


def test_bad_videos_fail_alone_and_are_listed(finished: Study):
    good = next(r for r in finished.rows if r["split"] == "test")
    whole = (finished.folder / good["path"]).read_bytes()
    files = {
        **BAD,
        "truncated": whole[: len(whole) // 2],
        "audio-only": without_pictures(sound=True),
        "zero-frame": without_pictures(sound=False),
    }
    folder = finished.folder / "videos"
    folder.mkdir()
    rows = finished.rows
    for name, content in files.items():
        (folder / f"{name}.mp4").write_bytes(content)
    for name in (*files, "missing"):
        path = f"videos/{name}.mp4"
        rows.append({**good, "video": name, "path": path, "label": "", "events": ""})
    damaged.lose(damaged.write(folder / "hurt.ts"), lambda place: 0.3 < place < 0.303)
    rows.append({**good, "video": "hurt", "path": "videos/hurt.ts", "label": "", "events": ""})
    finished.change_config(sampling={"on_damage": "skip-to-keyframe"})
    new = {**good, "video": "again"}
    rows.append(new)
    finished.write_rows(rows)

    done = finished.snakemake("--keep-going")

    assert done.returncode == 1
    summary = done.stdout[done.stdout.index("failed; their outputs were not written") :]
    results = finished.folder / "results/demo"
    for name in (*files, "missing"):
        (line,) = [line for line in summary.splitlines() if f"/{name}:" in line]
        assert f"videos/{name}.mp4" in line
        assert not list(results.rglob(f"{name}.*"))
    assert "Traceback" not in done.stdout
    assert (results / "events/headhunt/again.tsv").is_file()
    # Of 200 frames some before 72 are damaged: their segment has no score, the others have.
    scores = read_tsv(results / "scores/headhunt/hurt.tsv")
    assert [row["start_frame"] for row in scores] == ["0", "96", "144", "192"]
    assert read_json(results / "events/headhunt/hurt.json")["damaged"][0][1] == 72 / 25


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sampling": {"frame": 3}}, "'sampling.frame' is unknown"),
        ({"videos": "config/none.tsv"}, "config/none.tsv: there is no such file"),
        ({"methods": {"a": {"kind": "nothing"}}}, "methods.a.kind 'nothing' is unknown"),
        ({"methods": {"a": {"kind": "motion", "quantile": 2}}}, "methods.a.quantile is 2"),
        ({"model": {"name": "a", "path": "demo"}}, "write `models:"),
    ],
)
def test_a_bad_config_ends_before_anything_runs(new_study: Study, change: dict, message: str):
    new_study.change_config(**change)
    done = new_study.snakemake()
    assert done.returncode == 1
    assert message in done.stdout
    assert "Traceback" not in done.stdout
    assert not (new_study.folder / "results").exists()


def test_check_config_by_hand(new_study: Study):
    command = ("hhvad", "check-config", "--config", "config/config.yaml")
    done = new_study.run(*command)
    assert done.returncode == 0, done.stdout
    new_study.write_prompts({"online": "a", "prompts": {"a": "Only one?"}})
    done = new_study.run(*command)
    assert done.returncode == 2
    assert done.stdout.startswith("hhvad: error: config/prompts.yaml: prompts has 1 entries")


def test_an_event_past_the_end_is_found_before_the_expensive_steps(finished: Study):
    rows = finished.rows
    row = next(r for r in rows if r["split"] == "test" and r["label"] == "anomaly")
    row["events"] = "5-999999"
    finished.write_rows(rows)
    done = finished.snakemake("results/demo/annotations/test.tsv")
    assert done.returncode == 1
    assert f"video {row['video']}: event 5-999999" in done.stdout


def test_a_broken_model_costs_one_line(new_study: Study):
    model = new_study.folder / "model"
    shutil.copytree(ROOT / "hhvad/demo/model", model)
    (model / "tokenizer.json").unlink()
    new_study.change_config(models={"demo": {"path": "model", "dtype": "float32"}})
    done = new_study.snakemake()
    assert done.returncode == 1
    lines = [line for line in done.stdout.splitlines() if line.startswith("hhvad: error: ")]
    assert len(lines) == 1
    assert "the tokenizer is absent" in lines[0]
    assert not (new_study.folder / "results/demo/probe").exists()
