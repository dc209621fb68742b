"""Sheets, configs, prompts and annotations that a user may get wrong: one line, exit 2, no file."""

from __future__ import annotations

import copy
import shutil
import string
from pathlib import Path

import pytest
import yaml
from campaign import Tally
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from study import ROOT

from hhvad.cli import main

CONFIG = yaml.safe_load((ROOT / "config/config.yaml").read_text())
PROMPTS = yaml.safe_load((ROOT / "config/prompts.yaml").read_text())
SHEET = (ROOT / "config/videos.tsv").read_text()
KEYS = [
    (section, key)
    for section, values in CONFIG.items()
    for key in (values if isinstance(values, dict) else [None])
]
WRONG = st.one_of(
    st.none(),
    st.integers(-(10**20), -1),
    st.floats(max_value=-1e-9) | st.just(float("nan")),
    st.text(string.ascii_letters + string.punctuation, max_size=20).map(lambda text: f"#{text}#"),
    st.lists(st.just([[]]), min_size=1, max_size=2),
    st.just({"unknown": {"more": 1}}),
)


def refused(folder: Path, capfd, *, also: tuple[int, ...] = ()) -> str:
    """`hhvad check-config` on a folder's config: its one line; nothing is written."""
    before = sorted(folder.rglob("*"))
    capfd.readouterr()
    code = main(["check-config", "--config", str(folder / "config.yaml")])
    error = capfd.readouterr().err
    assert sorted(folder.rglob("*")) == before
    assert "Traceback" not in error
    if code in also:
        return ""
    assert code == 2, error
    lines = error.strip().splitlines()
    assert len(lines) == 1, error
    assert lines[0].startswith("hhvad: error: "), error
    return lines[0]


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A folder with the shipped config, its paths made to fit."""
    shutil.copytree(ROOT / "config", tmp_path / "c")
    monkeypatch.chdir(tmp_path)
    config = copy.deepcopy(CONFIG)
    config["videos"] = "c/videos.tsv"
    config["methods"]["headhunt"]["prompts"] = "c/prompts.yaml"
    (tmp_path / "c/config.yaml").write_text(yaml.safe_dump(config))
    return tmp_path / "c"


def test_the_shipped_config_passes(folder, capfd):
    assert main(["check-config", "--config", str(folder / "config.yaml")]) == 0


CAMPAIGN = settings(
    max_examples=60,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@seed(11)
@CAMPAIGN
@given(key=st.sampled_from(KEYS), value=WRONG)
def test_wrong_values_in_the_config(folder, capfd, tally: Tally, key, value):
    section, name = key
    config = yaml.safe_load((folder / "config.yaml").read_text())
    if name is None:
        config[section] = value
    else:
        config[section][name] = value
    path = folder / "wrong/config.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(yaml.safe_dump(config))
    # null stands for the default of some keys.
    line = refused(path.parent, capfd, also=(0,) if value is None else ())
    if line:
        assert section in line or str(value) in line  # a file that is not there is named itself
    tally.tried("wrong value in config.yaml")


@seed(2)
@CAMPAIGN
@given(name=st.text(string.ascii_letters + "_", min_size=1, max_size=12), top=st.booleans())
def test_unknown_keys_in_the_config(folder, capfd, tally: Tally, name, top):
    config = yaml.safe_load((folder / "config.yaml").read_text())
    (config if top else config["sampling"])[f"x{name}"] = 1
    path = folder / "wrong/config.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(yaml.safe_dump(config))
    assert f"x{name}" in refused(path.parent, capfd)
    tally.tried("unknown key in config.yaml")


@seed(3)
@CAMPAIGN
@given(data=st.data())
def test_wrong_cells_in_the_sheet(folder, capfd, tally: Tally, data):
    lines = SHEET.splitlines()
    at = data.draw(st.integers(1, len(lines) - 1))
    cells = lines[at].split("\t")
    column = data.draw(st.sampled_from(["video", "path", "split", "label", "events", "width"]))
    header = lines[0].split("\t")
    if column == "width":
        cells.append("x")
    else:
        # None of these is an id, a split, a label or events.
        wrong = {
            "video": ["", "../up", "a/b", "a b", "-dash", "a\x00b", "ü", "." * 3, "a" * 300],
            "path": ["", "{video}.mp4", "<logs>.mp4", "a\x07.mp4"],
            "split": ["", "train", "TEST", "test,test"],
            "label": ["bad", "1", "norm al", "anomaly?"],
            "events": [
                "5",
                "9-3",
                "-4-2",
                "a-b",
                "1-2-3",
                "0-99;5-7",
                "1e3-2e3",
                "nan-nan",
                "3s-1s",
            ],
        }[column]
        cells[header.index(column)] = data.draw(st.sampled_from(wrong))
    (folder / "videos.tsv").write_text("\n".join([*lines[:at], "\t".join(cells), *lines[at + 1 :]]))
    line = refused(folder, capfd)
    assert "videos.tsv" in line
    tally.tried("wrong cell in the sheet")


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\n\n", b"video\n", b"\xff\xfe\x00", b"\x00" * 50, b"video\tpath\nx\ty\n",
        SHEET.encode().replace(b"video\t", b"vid\t", 1), SHEET.encode().replace(b"\t", b",", 5),
        SHEET.encode() + SHEET.encode().splitlines()[1] + b"\n", SHEET.encode()[:-3] + b"\xc3\x28",
    ],
    ids=range(10),
)  # fmt: skip
def test_sheets_that_are_none(folder, capfd, tally: Tally, content: bytes):
    (folder / "videos.tsv").write_bytes(content)
    assert "videos.tsv" in refused(folder, capfd)
    tally.tried("a sheet that is none")


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "1", "prompts: []", "prompts: {}", "online: direct", "{", "\t- x",
        "online: x\nprompts: {a: b, c: d}", "online: a\nprompts: {a: b}",
        "online: a\nprompts: {a: b, c: b}", "online: a\nprompts: {a: '', c: d}",
        "online: a\nprompts: {a: 1, c: d}", "online: a\nprompts: {a/b: x, a: y}",
        "online: a\nprompts: {a: x, a: y}", "online: a\nprompts: {a: x, c: y}\nmore: 1",
        "online: a\nprompts: {a: x, ' ': y}", "online: a\nprompts: {a: !!python/name:os.system x}",
    ],
    ids=range(18),
)  # fmt: skip
def test_prompts_that_are_none(folder, capfd, tally: Tally, text: str):
    (folder / "prompts.yaml").write_text(text)
    assert "prompts.yaml" in refused(folder, capfd)
    tally.tried("prompts that are none")


@seed(4)
@CAMPAIGN
@given(text=st.text(max_size=60))
def test_random_text_as_any_file(folder, capfd, tally: Tally, text):
    (folder / "videos.tsv").write_text(text, errors="surrogatepass", newline="")
    refused(folder, capfd)
    (folder / "videos.tsv").write_text(SHEET)
    (folder / "prompts.yaml").write_text(text, errors="surrogatepass", newline="")
    refused(folder, capfd)
    (folder / "prompts.yaml").write_text(yaml.safe_dump(PROMPTS))
    tally.tried("random text as a file", 2)


@pytest.mark.parametrize(
    "line",
    [
        "A.mp4  Abuse", "A.mp4  Abuse  1  2  3", "A.mp4  Abuse  x  y  -1  -1",
        "A.mp4  Abuse  9  3  -1  -1", "A.mp4  Normal  1  5  -1  -1",
        "A.mp4  Abuse  -1  5  -1  -1", "A.mp4  Abuse  1  5  -1  -1\nA.mp4  Abuse  1  5  -1  -1",
        "../A.mp4  Abuse  1  5  -1  -1", "\xff\xfe", "",
    ],
    ids=range(10),
)  # fmt: skip
def test_annotations_that_are_none(tmp_path, capfd, tally: Tally, line: str):
    annotations, counts = tmp_path / "annotations.txt", tmp_path / "counts.tsv"
    annotations.write_text(line, encoding="latin-1")
    counts.write_text("A\t100\n")
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos/A.mp4").write_bytes(b"")
    words = ["make-sheet", "ucf-crime", "--videos", str(tmp_path / "videos")]
    words += ["--annotations", str(annotations), "--frame-counts", str(counts)]
    code = main([*words, "--out", str(tmp_path / "out.tsv")])
    error = capfd.readouterr().err
    assert code == 2, error
    assert "Traceback" not in error
    assert error.strip().splitlines()[-1].startswith("hhvad: error: ")
    assert not (tmp_path / "out.tsv").exists()
    tally.tried("annotations that are none")
