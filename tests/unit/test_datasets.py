"""The datasets' own files, and the sheets made of them."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from numbered import write_numbered
from probes import make_probe

from hhvad import sheet
from hhvad.cli import main
from hhvad.datasets import annotation as datasets
from hhvad.datasets import hivau_70k, ucf_crime, xd_violence
from hhvad.datasets.annotation import Annotation
from hhvad.errors import AnnotationError, SheetError

UCF_FILES = (
    "Temporal_Anomaly_Annotation_for_Testing_Videos.txt",
    "Temporal_Anomaly_Annotation.txt",
)


@pytest.mark.parametrize("name", UCF_FILES)
def test_ucf_crime(shared, name):
    folder = shared / "annotations" / "ucf-crime"
    found = ucf_crime.read(folder / name)
    counts = datasets.read_frame_counts(folder / "test_frame_counts.tsv")
    assert len(found) == 290
    assert sum(one.label == "anomaly" for one in found) == 140
    assert sum(len(one.events) for one in found) == 156
    assert sum(counts.values()) == 1_111_808
    assert {one.categories for one in found} == {(c,) for c in ucf_crime.CLASSES} | {()}
    by_id = {one.video: one for one in found}
    assert by_id["Vandalism036_x264"].events == ((540, 780), (990, 1080))
    listed = datasets.read_list(folder / "Anomaly_Test.txt")
    assert sorted(listed) == sorted(by_id)
    changes = []
    fitted = []
    for one in datasets.with_frames(found, counts, "counts"):
        fit, changed = datasets.fit(one)
        fitted.append(fit)
        changes += changed
    clipped = [change.split(": ")[1].split("_")[0] for change in changes]
    assert clipped == ["Arson011", "Arson016", "Explosion033", "Fighting003", "Shooting015"]
    assert sum(e - s for one in fitted for s, e in one.events) == 84_182


def test_xd_violence(shared):
    folder = shared / "annotations" / "xd-violence"
    counts = datasets.read_frame_counts(folder / "test_frame_counts.tsv")
    found = xd_violence.read(folder / "annotations.txt", counts)
    assert (len(found), sum(counts.values())) == (800, 2_335_801)
    assert sum(one.label == "anomaly" for one in found) == 500
    assert sum(len(one.events) for one in found) == 1_238
    assert max(len(one.events) for one in found) == 22
    fitted = [datasets.fit(one) for one in datasets.with_frames(found, counts, "counts")]
    assert sum(e - s for one, _ in fitted for s, e in one.events) == 538_324
    assert not [change for _, changes in fitted for change in changes]
    by_id = {one.video: one for one in found}
    assert by_id["v=U6MC8JJJZSY__#1_label_G-0-0"].categories == ("explosion",)  # has .mp4 there
    assert by_id["Bad.Boys.1995__#01-11-55_01-12-40_label_G-B2-B6"].categories == (
        *("explosion", "shooting", "car accident"),
    )
    for video in by_id:
        sheet.check_id(video, "XD-Violence")


def test_hivau(shared):
    found = hivau_70k.read(shared / "annotations" / "hivau-70k" / "ucf_database_test.json")
    by_id = {one.video: one for one in found}
    assert Counter(one.label for one in found) == {"normal": 123, "anomaly": 128}
    assert by_id["Abuse028_x264"] == Annotation(
        "Abuse028_x264", ("Abuse",), ((165, 240),), 1412, 30.0
    )
    assert by_id["Normal_Videos_944_x264"].events == ()  # its event is of something ordinary
    one, changes = datasets.fit(by_id["Arson016_x264"])
    assert one.events[-1][1] == 1795
    assert any("clipped" in change for change in changes)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["the file is empty"]),
        ("A_x264.mp4  Abuse  10\n", ["line 1", "A_x264"]),
        ("\nA_x264.mp4  Abuse  10  x  -1  -1\n", ["line 2", "'x'"]),
        ("A_x264.mp4  Abuse  20  10  -1  -1\n", ["line 1", "20-10"]),
        ("A_x264.mp4  Abuse  -1  -1  -1  -1\n", ["line 1", "Abuse", "0 events"]),
        ("A_x264.mp4  Normal  1  2  -1  -1\n", ["Normal", "1 events"]),
        ("A_x264.mp4  Abuse  1  2\nA_x264  Abuse  1  2\n", ["A_x264", "more than once"]),
    ],
)
def test_ucf_crime_malformed(tmp_path, text, words):
    path = tmp_path / "annotation.txt"
    path.write_text(text)
    with pytest.raises(AnnotationError) as error:
        ucf_crime.read(path)
    assert all(word in str(error.value) for word in [str(path), *words])


@pytest.mark.parametrize(
    ("text", "test", "word"),
    [
        ("x_label_B1-0-0 1 2", ["y_label_A"], "not among the test videos"),
        ("x_label_A 1 2", ["x_label_A"], "says normal"),
        ("x_label_B1-0-0 1 2", ["x_label_B1-0-0", "y_label_G-0-0"], "0 events"),
        ("x_label_B1-0-0 1 2 3", ["x_label_B1-0-0"], "pairs"),
        ("x_label_B3-0-0 1 2", ["x_label_B3-0-0"], "classes of XD-Violence"),
        ("x 1 2", ["x"], "_label_"),
    ],
)
def test_xd_violence_malformed(tmp_path, text, test, word):
    path = tmp_path / "annotations.txt"
    path.write_text(text)
    with pytest.raises(AnnotationError, match=word):
        xd_violence.read(path, test)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Abuse/Abuse028_x264.mp4", "Abuse028_x264"),
        (
            "Your.Name.2016__#00-05-52_00-08-22_label_A",
            "Your.Name.2016__#00-05-52_00-08-22_label_A",
        ),
        ("/data/rgb/v=x__#1_label_B1-0-0__0.npy", "v=x__#1_label_B1-0-0"),
        (" a.b.AVI ", "a.b"),
    ],
)
def test_video_id(name, expected):
    assert datasets.video_id(name) == expected


@pytest.mark.parametrize("text", ["0", "-3", "1.5", "many", ""])
def test_frame_counts_malformed(tmp_path, text):
    path = tmp_path / "counts.tsv"
    path.write_text(f"video\tn_frames\na\t{text}\n")
    with pytest.raises(AnnotationError, match="video a"):
        datasets.read_frame_counts(path)


def test_fit():
    fitted, changes = datasets.fit(
        Annotation("a", ("x",), ((50, 120), (10, 20), (15, 30), (30, 40), (130, 140), (5, 5)), 100)
    )
    assert fitted.events == ((10, 30), (30, 40), (50, 100))
    assert [change.split(":")[0].split()[0] for change in changes] == [
        *("left", "joined", "clipped", "left"),
    ]
    with pytest.raises(AnnotationError, match="no annotated event lies inside its 10 frames"):
        datasets.fit(Annotation("a", ("x",), ((20, 30),), 10))


def training(per_class=50, normal=600):
    found = [
        Annotation(f"{name}{i:03}", (name,), None)
        for name in ucf_crime.CLASSES
        for i in range(per_class)
    ]
    return found + [Annotation(f"Normal{i:03}") for i in range(normal)]


def test_choose_is_nested_stratified_and_seeded():
    videos = training()
    labels = {one.video: one for one in videos}
    previous: set[str] = set()
    for fraction in (0.001, 0.01, 0.02, 0.1, 0.5, 1.0):
        chosen = datasets.choose(videos, calibration=fraction, seed=1)
        assert previous <= set(chosen)
        previous = set(chosen)
        per_label = Counter(labels[name].label for name in chosen)
        for label, count in (("normal", 600), ("anomaly", 650)):
            assert per_label[label] == max(2, int(fraction * count + 0.5))
        classes = Counter(labels[name].categories for name in chosen if labels[name].categories)
        if fraction >= 0.02:
            assert len(classes) == 13
            assert max(classes.values()) - min(classes.values()) <= 1
    one = datasets.choose(videos, calibration=0.01, seed=1)
    assert one == datasets.choose(list(reversed(videos)), calibration=0.01, seed=1)
    assert one != datasets.choose(videos, calibration=0.01, seed=2)
    assert datasets.choose(videos, calibration=0) == {}


def test_choose_validation_and_what_is_already_chosen():
    videos = [
        Annotation(one.video, one.categories, ((1, 2),)) if one.video.endswith(("1", "2")) else one
        for one in training()
    ]
    first = datasets.choose(videos, calibration=0.01, validation=0.1, seed=5)
    known = {one.video for one in videos if one.events is not None}
    assert {name for name, split in first.items() if split == "validation"} <= known
    # 600 normal videos are known to have no events, 130 of the others have theirs.
    assert Counter(first.values()) == {"calibration": 6 + 7, "validation": 60 + 13}
    second = datasets.choose(videos, calibration=0.3, validation=0.2, seed=5)
    assert first.items() <= second.items()
    kept = {"Abuse000": "validation", "Normal000": "calibration", "elsewhere": "calibration"}
    third = datasets.choose(videos, calibration=0.01, validation=0.1, seed=5, chosen=kept)
    assert (third["Abuse000"], third["Normal000"]) == ("validation", "calibration")
    assert "elsewhere" not in third
    assert Counter(third.values()) == Counter(first.values())


def test_choose_impossible():
    with pytest.raises(SheetError, match="validation wants 1 anomaly videos, but there are 0"):
        datasets.choose(training(), calibration=0.01, validation=0.01)
    with pytest.raises(SheetError, match="calibration-fraction is 2"):
        datasets.choose(training(), calibration=2)


@pytest.fixture
def ucf(tmp_path):
    """A UCF-Crime of two test videos and twelve for training, as files without content."""
    names = ["Abuse/Abuse028_x264", "Testing_Normal_Videos_Anomaly/Normal_Videos_003_x264"]
    names += [f"Abuse/Abuse{i:03}_x264" for i in range(3)]
    names += [f"Arson/Arson{i:03}_x264" for i in range(3)]
    names += [f"Training_Normal_Videos_Anomaly/Normal_Videos{i:03}_x264" for i in range(6)]
    names += ["Normal_Videos_event/Normal_Videos001_x264", "Other/holiday"]
    for name in names:
        path = tmp_path / "videos" / f"{name}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "annotation.txt").write_text(
        "Abuse028_x264.mp4  Abuse  165  240  -1  -1  \n"
        "Normal_Videos_003_x264.mp4  Normal  -1  -1  -1  -1"
    )
    (tmp_path / "counts.tsv").write_text(
        "video\tn_frames\nAbuse028_x264\t200\nNormal_Videos_003_x264\t50\n"
    )
    return tmp_path


def make(folder: Path, *more: str) -> int:
    return main(
        [
            *("make-sheet", "ucf-crime", "--videos", str(folder / "videos")),
            *("--annotations", str(folder / "annotation.txt")),
            *("--frame-counts", str(folder / "counts.tsv"), "--out", str(folder / "videos.tsv")),
            *more,
        ]
    )


def test_make_sheet_ucf_crime(ucf, capsys):
    assert make(ucf) == 0
    out = capsys.readouterr().out
    assert "clipped at frame 200: Abuse028_x264 165-240" in out
    assert "holiday" in out
    videos = sheet.read(ucf / "videos.tsv")
    assert Counter((v.split, v.label) for v in videos) == {
        ("calibration", "normal"): 2,
        ("calibration", "anomaly"): 2,
        ("test", "normal"): 1,
        ("test", "anomaly"): 1,
    }
    abuse = next(v for v in videos if v.video == "Abuse028_x264")
    assert [event.frames(make_probe(10**6, 30)) for event in abuse.events] == [(165, 200)]
    assert abuse.category == "Abuse"
    assert Path(abuse.path).is_file()
    before = (ucf / "videos.tsv").read_bytes()
    assert make(ucf) == 0
    assert (ucf / "videos.tsv").read_bytes() == before


def test_make_sheet_keeps_what_is_there(ucf, capsys):
    header = "\t".join(sheet.COLUMNS)
    (ucf / "videos.tsv").write_text(
        f"{header}\nArson001_x264\told.mp4\tvalidation\tanomaly\tArson\t3-9\n"
        "mine\tmine.mp4\ttest\t\t\t\n"
    )
    assert make(ucf, "--calibration-fraction", "0.5", "--seed", "3") == 0
    videos = {video.video: video for video in sheet.read(ucf / "videos.tsv")}
    assert videos["Arson001_x264"].split == "validation"
    assert videos["mine"].path == "mine.mp4"
    assert sum(video.split == "calibration" for video in videos.values()) == 6
    assert "mine" in capsys.readouterr().out


def test_make_sheet_validation_with_hivau_events(ucf):
    entry = {"n_frames": 300, "fps": 25.0, "label": ["Arson"], "events": [[1.0, 2.02]]}
    path = ucf / "train.json"
    path.write_text(json.dumps({f"Arson{i:03}_x264": entry for i in range(3)}))
    more = ("--validation-annotations", str(path), "--validation-fraction", "0.3")
    assert make(ucf, *more) == 0
    chosen = [v for v in sheet.read(ucf / "videos.tsv") if v.split == "validation"]
    assert Counter(v.label for v in chosen) == {"normal": 2, "anomaly": 1}
    arson = next(v for v in chosen if v.label == "anomaly")
    assert [event.frames(make_probe(10**6, 25)) for event in arson.events] == [(25, 50)]
    path.write_text(json.dumps({"Arson000_x264": {**entry, "label": [], "events": []}}))
    assert make(ucf, *more) == 2


def test_make_sheet_names_missing_and_repeated_files(ucf, capsys):
    (ucf / "videos" / "Testing_Normal_Videos_Anomaly" / "Normal_Videos_003_x264.mp4").unlink()
    assert make(ucf) == 2
    assert "Normal_Videos_003_x264 (of 1) has no file" in capsys.readouterr().err
    assert make(ucf, "--allow-missing") == 0
    assert "1 videos without a file, left out:\n  Normal_Videos_003" in capsys.readouterr().out
    (ucf / "videos" / "Abuse028_x264.mp4").touch()
    assert make(ucf, "--allow-missing") == 2
    assert "has several files" in capsys.readouterr().err


def test_make_sheet_needs_no_frame_counts(ucf, shared):
    """Without frame counts the videos themselves say how long they are."""
    clip = shared / "clips" / "car_accident.mp4"  # 120 frames
    (ucf / "videos" / "Abuse" / "Abuse028_x264.mp4").write_bytes(clip.read_bytes())
    annotation = (ucf / "annotation.txt").read_text()
    (ucf / "annotation.txt").write_text(annotation.replace("165  240", "100  121"))
    sheet_path = ucf / "probed.tsv"
    flags = ["--videos", str(ucf / "videos"), "--annotations", str(ucf / "annotation.txt")]
    assert main(["make-sheet", "ucf-crime", *flags, "--out", str(sheet_path)]) == 0
    assert "\t100-120\n" in sheet_path.read_text()


@pytest.mark.parametrize("dataset", ["ucf-crime", "xd-violence"])
def test_make_sheet_of_all_test_videos(shared, tmp_path, dataset, capsys):
    """Stand-ins of the right names: 290 and 800 test videos, none lost."""
    folder = shared / "annotations" / dataset
    counts = datasets.read_frame_counts(folder / "test_frame_counts.tsv")
    for name in counts:
        (tmp_path / f"{name}.mp4").touch()
    for i in range(3):
        names = (
            (f"Normal_Videos{i}_x264", f"Abuse{i}_x264")
            if dataset == "ucf-crime"
            else (f"t{i}__#1_label_A", f"t{i}__#1_label_B1-G-0")
        )
        for name in names:
            (tmp_path / f"{name}.mp4").touch()
    annotations = UCF_FILES[0] if dataset == "ucf-crime" else "annotations.txt"
    flags = ["--videos", str(tmp_path), "--annotations", str(folder / annotations)]
    flags += ["--frame-counts", str(folder / "test_frame_counts.tsv")]
    assert main(["make-sheet", dataset, *flags, "--out", str(tmp_path / "videos.tsv")]) == 0
    test = [v for v in sheet.read(tmp_path / "videos.tsv") if v.split == "test"]
    assert sorted(v.video for v in test) == sorted(counts)
    frames = [event.frames(make_probe(10**6, 30)) for video in test for event in video.events]
    positive = sum(end - start for start, end in frames)
    assert (len(frames), positive) == (
        (156, 84_182) if dataset == "ucf-crime" else (1_238, 538_324)
    )


def test_make_sheet_folder(tmp_path, capsys):
    for name in ("normal/a.mp4", "anomaly/b 1.avi", "gate/c.mp4", "d.MKV", "notes.txt"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix != ".txt":
            write_numbered(path, 3)
    (tmp_path / "in/notes.txt").touch()
    out = tmp_path / "videos.tsv"
    words = ["make-sheet", "folder", "--settle", "0", "--out", str(out)]
    assert main([*words, str(tmp_path / "in")]) == 0
    found = {video.video: (video.split, video.label) for video in sheet.read(out)}
    assert found == {
        "anomaly-b_1": ("calibration", "anomaly"),
        "normal-a": ("calibration", "normal"),
        "gate-c": ("test", None),
        "d": ("test", None),
    }
    edited = (
        out.read_text().replace("gate-c\t", "gate-c\t").replace("\ttest\t\t", "\ttest\tnormal\t")
    )
    out.write_text(edited)
    write_numbered(tmp_path / "in/gate/e.mp4", 3)
    assert main([*words, str(tmp_path / "in")]) == 0
    assert out.read_text().startswith(edited)
    assert "gate-e" in out.read_text()
    assert main([*words, str(tmp_path / "none")]) == 2


def test_names_without_a_label_are_no_training_videos_of_xd_violence():
    names = ["a_label_A", "b_label_B1-0-0", "readme", "holiday_B1", "c_label_G-0-0"]
    found, others = xd_violence.training(None, {name: [] for name in names}, ["c_label_G-0-0"])
    assert [(one.video, one.categories, one.events) for one in found] == [
        ("a_label_A", (), ()),
        ("b_label_B1-0-0", (xd_violence.CLASSES["B1"],), None),
    ]
    assert others == ["holiday_B1", "readme"]
