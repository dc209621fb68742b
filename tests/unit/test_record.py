"""hhvad record: a real RTSP server, HTTP cameras that misbehave, files, kills, a full disk."""

from __future__ import annotations

import configparser
import json
import os
import resource
import shlex
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from cameras import (
    FPS,
    RtspServer,
    frames_of,
    http_camera,
    now,
    send_jpegs,
    wait_until,
    write_video,
)

from hhvad.cli import build_parser, main
from hhvad.clock import start_in_name
from hhvad.errors import ConfigError
from hhvad.live.record import keeping, source
from hhvad.live.record.cutter import Clock, finish, name_of, parameter_sets, rescue
from hhvad.live.watch.folder import NAMES
from hhvad.media.probe import probe


class Recorder:
    """`hhvad record` as a user starts it, and what it has written."""

    def __init__(self, folder: Path, *words: str, limit: int | None = None) -> None:
        self.out, self.log = folder / "out", folder / "log"

        def limited() -> None:
            if limit is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "hhvad", "record", "--out", str(self.out), *words],
                stderr=log,
                preexec_fn=limited,
            )

    def files(self, camera: str = "gate") -> list[Path]:
        return sorted((self.out / camera).glob("*.m[pk][4v]"))

    def parts(self, camera: str = "gate") -> list[Path]:
        return sorted((self.out / camera).glob("*.part"))

    def said(self) -> str:
        return self.log.read_text()

    def children(self) -> list[int]:
        task = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(word) for word in task.read_text().split()]

    def stop(self) -> str:
        if self.process.poll() is None:
            self.process.terminate()
        assert self.process.wait(20) == 0, self.said()
        return self.said()


@pytest.fixture
def record(tmp_path: Path):
    started = []

    def start(*words: str, **how) -> Recorder:
        started.append(Recorder(tmp_path, *words, **how))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    write_video(folder / "a.mp4", 40 * FPS)
    write_video(folder / "b.mp4", 40 * FPS, size=(320, 240), seed=1)
    return folder


@pytest.fixture
def server(clips: Path):
    pytest.importorskip("aio_rtsp_toolkit", reason="needs aio-rtsp-toolkit")
    one = RtspServer(clips)
    one.start()
    yield one
    one.stop()


def start_of(path: Path) -> datetime:
    told = start_in_name(path.name, NAMES)
    assert told is not None
    return datetime.fromisoformat(told)


def test_rtsp_lies_end_to_end_in_files_that_decode_alone(server, clips: Path, record):
    began = now()
    recorder = record(f"--camera=gate={server.url('a.mp4')}", "--seconds=2")
    wait_until(lambda: len(recorder.files()) >= 3, 30)
    recorder.stop()
    files = recorder.files()
    assert not recorder.parts()
    source_frames = frames_of(clips / "a.mp4")
    recorded = [frame for path in files for frame in frames_of(path)]
    first = source_frames.index(recorded[0])
    assert recorded == source_frames[first : first + len(recorded)]
    assert began < start_of(files[0]) < now()
    for path, after in pairwise(files):
        info = probe(path)
        assert info.seconds(info.frames) == pytest.approx(2.0, abs=0.5)
        end = start_of(path) + timedelta(seconds=info.seconds(info.frames))
        assert abs(start_of(after) - end) < timedelta(seconds=0.2)


def test_a_camera_that_dies_hangs_and_comes_back(server, clips: Path, record):
    recorder = record(f"--camera=gate={server.url('a.mp4')}", "--seconds=1", "--timeout=2")
    wait_until(lambda: len(recorder.files()) >= 2, 30)
    server.signal(signal.SIGSTOP)
    began = now()
    wait_until(lambda: "again in" in recorder.said(), 10)
    assert now() - began < timedelta(seconds=8)
    held = len(recorder.files())
    server.signal(signal.SIGCONT)
    wait_until(lambda: len(recorder.files()) >= held + 2, 40)
    server.stop()
    wait_until(lambda: recorder.said().count("again in") >= 2, 20)
    held = len(recorder.files())
    server.start()
    wait_until(lambda: len(recorder.files()) >= held + 2, 40)
    assert recorder.said().count("h264 160x120 from rtsp://127.0.0.1") >= 3
    recorder.stop()
    for path in recorder.files():
        assert frames_of(path)
    starts = [start_of(path) for path in recorder.files()]
    assert starts == sorted(set(starts))


def test_several_cameras_one_of_which_is_not_there(server, record):
    words = [f"--camera=gate={server.url('a.mp4')}", f"--camera=yard={server.url('b.mp4')}"]
    recorder = record(*words, "--camera=none=rtsp://127.0.0.1:1/x", "--seconds=1")
    wait_until(lambda: recorder.files() and recorder.files("yard"), 30)
    said = recorder.stop()
    assert "none: Connection refused; again in 1 s" in said
    assert "yard: h264 320x240 from" in said


def test_no_secret_is_shown(server, tmp_path: Path, record):
    address = server.url("a.mp4?token=verysecret", login="joe:hidden@")
    (tmp_path / "url").write_text(f"{address}\n")
    recorder = record(f"--camera=gate=@{tmp_path / 'url'}", "--seconds=1")
    wait_until(lambda: recorder.children(), 20)
    shown = []
    for pid in [recorder.process.pid, *recorder.children()]:
        shown.append(Path(f"/proc/{pid}/cmdline").read_text())
        shown.append(Path(f"/proc/{pid}/environ").read_text())
    wait_until(lambda: "gate:" in recorder.said(), 20)
    shown.append(recorder.stop())
    shown += [str(path) for path in recorder.out.rglob("*")]
    assert not [text for text in shown if "hidden" in text or "verysecret" in text]


def test_a_password_on_the_command_line_is_warned_of(record):
    recorder = record("--camera=gate=rtsp://joe:hidden@127.0.0.1:1/x")
    wait_until(lambda: "again in" in recorder.said(), 20)
    said = recorder.stop()
    assert "give gate=@FILE" in said
    assert "hidden" not in said


def test_mjpeg_over_http_and_another_size(record):
    def serve(handler, number: int) -> None:
        send_jpegs(handler, (160, 120), 30)
        send_jpegs(handler, (320, 240), 10**4)

    with http_camera(serve) as url:
        recorder = record(f"--camera=gate={url}", "--seconds=1")
        wait_until(lambda: "mjpeg 320x240" in recorder.said() or len(recorder.files()) > 3, 30)
        wait_until(lambda: "of another kind now; again in 1 s" in recorder.said(), 10)
        recorder.stop()
    sizes = set()
    for path in recorder.files():
        info = probe(path)
        sizes.add((info.width, info.height))
        assert len(frames_of(path)) == info.frames
        assert info.seconds(info.frames) < 3
    assert (160, 120) in sizes


def test_h264_of_another_size_begins_a_new_file(tmp_path: Path, record):
    small = write_video(tmp_path / "s.ts", 50).read_bytes()
    large = write_video(tmp_path / "l.ts", 50, size=(320, 240)).read_bytes()

    def serve(handler, number: int) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(small + large if number == 0 else large)

    with http_camera(serve) as url:
        recorder = record(f"--camera=gate={url}", "--seconds=10")
        wait_until(lambda: len(recorder.files()) >= 2, 30)
        recorder.stop()
    kinds = [(info.width, info.frames) for info in map(probe, recorder.files()[:2])]
    assert kinds == [(160, 50), (320, 50)]


@pytest.mark.parametrize(
    "answer", [b"", b"\0" * 10**5, os.urandom(10**5), b"RTSP/1.0 200 OK\r\n\r\n" * 99]
)
def test_garbage_is_said_and_tried_again(answer: bytes, record):
    def serve(handler, number: int) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(answer)

    with http_camera(serve) as url:
        recorder = record(f"--camera=gate={url}", "--timeout=2")
        wait_until(lambda: "again in" in recorder.said(), 20)
        recorder.stop()
    assert not recorder.files()
    assert not recorder.parts()


def test_a_playlist_cannot_read_files_of_this_machine(tmp_path: Path, record):
    video = write_video(tmp_path / "private.ts", 30)

    def serve(handler, number: int) -> None:
        text = f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:1.2,\nfile://{video}\n#EXT-X-ENDLIST\n"
        handler.send_response(200)
        handler.send_header("Content-Type", "application/vnd.apple.mpegurl")
        handler.end_headers()
        handler.wfile.write(text.encode())

    with http_camera(serve) as url:
        recorder = record(f"--camera=gate={url}.m3u8", "--timeout=2")
        wait_until(lambda: "again in" in recorder.said(), 20)
        recorder.stop()
    assert not recorder.files()


def test_kill_9_of_the_recorder_and_of_a_child(server, clips: Path, record):
    words = (f"--camera=gate={server.url('a.mp4')}", "--seconds=3")
    recorder = record(*words)
    wait_until(lambda: recorder.files(), 30)
    (child,) = recorder.children()
    recorder.process.kill()  # the child sees that it is alone, and finishes
    recorder.process.wait()
    wait_until(lambda: not Path(f"/proc/{child}").exists(), 15)
    assert not recorder.parts()
    again = record(words[0], "--seconds=100")
    wait_until(lambda: again.parts() and again.parts()[0].stat().st_size > 20_000, 30)
    (child,) = again.children()
    os.kill(child, signal.SIGKILL)
    wait_until(lambda: "which an earlier run left open" in again.said(), 20)
    again.stop()
    assert not again.parts()
    source_frames = frames_of(clips / "a.mp4")
    for path in again.files():
        recorded = frames_of(path)
        first = source_frames.index(recorded[0])
        assert recorded == source_frames[first : first + len(recorded)]


def test_a_full_disk_is_said_and_no_half_file_gets_a_name(server, record):
    recorder = record(f"--camera=gate={server.url('b.mp4')}", "--seconds=20", limit=60_000)
    wait_until(lambda: "again in" in recorder.said(), 30)
    wait_until(lambda: recorder.said().count("File too large") >= 1, 10)
    recorder.stop()
    for path in recorder.files():
        assert frames_of(path)


def test_a_file_is_cut_by_its_own_clock(clips: Path, tmp_path: Path):
    video = tmp_path / "gate_20261126T100006.406Z.mp4"
    video.write_bytes((clips / "a.mp4").read_bytes())
    words = ["record", f"--camera=gate={video}", "--seconds=15", f"--out={tmp_path / 'out'}"]
    assert main(words) == 0
    names = sorted(path.name for path in (tmp_path / "out/gate").glob("*.mp4"))
    assert names == [
        "gate_20261126T100006.406Z.mp4",
        "gate_20261126T100021.606Z.mp4",  # the first key frame from second 15 on
        "gate_20261126T100036.806Z.mp4",
    ]
    recorded = [f for name in names for f in frames_of(tmp_path / "out/gate" / name)]
    assert recorded == frames_of(video)
    assert main(words) == 0  # the same files again
    assert sorted(path.name for path in (tmp_path / "out/gate").glob("*.mp4")) == names


def test_a_folder_is_taken_file_by_file_and_once(clips: Path, tmp_path: Path, record):
    drop = tmp_path / "drop"
    drop.mkdir()
    one = drop / "x_20261126T100000.000Z.mp4"
    one.write_bytes((clips / "a.mp4").read_bytes())
    (drop / "broken.mp4").write_bytes(b"nothing")
    recorder = record(f"--camera=gate={drop}", "--seconds=100")
    wait_until(lambda: recorder.files(), 20)
    wait_until(lambda: "broken.mp4: is not a video" in recorder.said(), 20)
    two = drop / "x_20261126T110000.000Z.mp4"
    two.write_bytes((clips / "b.mp4").read_bytes())
    wait_until(lambda: len(recorder.files()) == 2, 20)
    recorder.stop()
    for path in recorder.files():
        path.unlink()
    again = record(f"--camera=gate={drop}", "--seconds=100")
    wait_until(lambda: again.children(), 10)
    three = drop / "x_20261126T120000.000Z.mp4"
    three.write_bytes((clips / "a.mp4").read_bytes())
    wait_until(lambda: again.files(), 20)
    again.stop()
    assert [path.name for path in again.files()] == ["gate_20261126T120000.000Z.mp4"]


def test_two_recorders_of_one_camera(server, record):
    words = (f"--camera=gate={server.url('a.mp4')}", "--seconds=2")
    first = record(*words)
    wait_until(lambda: first.files(), 30)
    second = record(*words)
    wait_until(lambda: "another hhvad uses it" in second.said(), 20)
    assert "gate: h264" in first.said()
    second.stop()
    first.stop()


# --- units ----------------------------------------------------------------------------------------


def test_names_in_milliseconds():
    start = datetime(2026, 11, 26, 10, 0, 6, 406_000, UTC).timestamp()
    name = name_of("gate", start, ".mp4")
    assert name == "gate_20261126T100006.406Z.mp4"
    assert datetime.fromisoformat(start_in_name(name, NAMES) or "").timestamp() == start
    assert name_of("g", start + 0.5936, ".mkv") == "g_20261126T100007.000Z.mkv"


def test_what_comes_late_was_held_up():
    clock = Clock()
    for media, arrival in ((0.0, 105.0), (1.0, 103.0), (2.0, 102.5), (3.0, 103.9)):
        clock.hear(media, arrival)
    assert clock.start(0.0) == 100.5
    assert clock.start(3.0) == 103.5
    clock.forget()
    clock.hear(4.0, 104.6)
    assert clock.start(4.0) == pytest.approx(104.6)


def test_a_clock_that_jumps_back_overwrites_nothing(tmp_path: Path):
    clock = Clock()
    clock.hear(0.0, 1e9)
    for text in ("one", "two", "three"):
        part = tmp_path / "x.part"
        part.write_text(text)
        finish(part, "gate", clock, 0.0, ".mp4")
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [f"gate_20010909T014640.00{n}Z.mp4" for n in range(3)]
    assert (tmp_path / names[0]).read_text() == "one"


def test_parameter_sets():
    sps, idr = b"\x67\x64\x00", b"\x65\x88"
    assert parameter_sets(b"\0\0\0\1" + sps + b"\0\0\0\1" + idr, "h264") == b"\x67\x64"
    assert parameter_sets(b"\0\0\1" + idr, "h264") == b""
    assert parameter_sets(b"\0\0\1\x42\x01\x01", "hevc") == b"\x42\x01\x01"
    header = b"\x08\x00\x78\x00\xa0\x03"
    jpeg = b"\xff\xd8\xff\xe0\0\4ab\xff\xc0\0\x08" + header + b"\xff\xda"
    assert parameter_sets(jpeg, "mjpeg") == header
    assert parameter_sets(b"\xff\xd8\xff", "mjpeg") == b""
    assert parameter_sets(b"anything", "vp9") == b""


def test_parts_are_finished_or_removed(clips: Path, tmp_path: Path):
    folder = tmp_path / "gate"
    folder.mkdir()
    main(["record", f"--camera=gate={clips / 'a.mp4'}", "--seconds=99", f"--out={tmp_path / 'o'}"])
    (whole,) = (tmp_path / "o/gate").glob("*.mp4")
    data = whole.read_bytes()
    (folder / "gate_20261126T100006.406Z.mp4.part").write_bytes(data[: len(data) * 2 // 3])
    (folder / "gate_20261126T110006.406Z.mp4.part").write_bytes(b"")
    kept, dropped = rescue(folder, "gate")
    assert [path.name for path in kept] == ["gate_20261126T100006.406Z.mp4"]
    assert [path.name for path in dropped] == ["gate_20261126T110006.406Z.mp4.part"]
    assert 500 < len(frames_of(kept[0])) < 1000
    assert len(list(folder.iterdir())) == 1


def make_recordings(root: Path, hours: list[float], size: int = 1000) -> list[Path]:
    """Files of ten minutes of camera gate that began so many hours ago."""
    paths = []
    for one in hours:
        start = now() - timedelta(hours=one)
        path = root / "gate" / name_of("gate", start.timestamp(), ".mp4")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(size))
        end = (start + timedelta(minutes=10)).timestamp()
        os.utime(path, (end, end))
        paths.append(path)
    return paths


def gone(root: Path, days: float | None, gigabytes: float | None, protected=None) -> list[Path]:
    found = keeping.recordings(root)
    surplus = keeping.surplus(
        found,
        now=now().timestamp(),
        days=days,
        gigabytes=gigabytes,
        protected=protected or {},
    )
    return [one.path for one in surplus]


def test_what_is_too_old_or_too_much_goes(tmp_path: Path):
    paths = make_recordings(tmp_path, [50, 30, 20, 1])
    (tmp_path / "gate/holiday.mp4").write_bytes(bytes(9999))
    (tmp_path / "gate/other_20200101T000000.000Z.mp4").write_bytes(bytes(9999))
    assert gone(tmp_path, 1, None) == paths[:2]
    assert gone(tmp_path, None, 2.5e-6) == paths[:2]
    assert gone(tmp_path, 2, 3e-6) == paths[:1]
    assert gone(tmp_path, 2, 1e-6) == paths[:3]
    assert gone(tmp_path, None, 1) == []


def test_what_overlaps_an_event_stays(tmp_path: Path):
    paths = make_recordings(tmp_path, [50, 30, 20, 1])
    began = datetime.fromtimestamp(paths[0].stat().st_mtime - 60, UTC)
    change = {"id": "a", "camera": "gate", "started_at": began.isoformat()}
    lines = [
        {**change, "ended_at": began.isoformat()},
        {**change, "ended_at": (began + timedelta(hours=20.5)).isoformat()},
        {"id": "b", "camera": "yard", **{k: began.isoformat() for k in ("started_at", "ended_at")}},
    ]
    log = tmp_path / "events.jsonl"
    log.write_text("".join(json.dumps(line) + "\n" for line in lines) + "torn {")
    spans = keeping.events(log)
    assert set(spans) == {"gate", "yard"}
    assert gone(tmp_path, 0.1, None, spans) == paths[2:3]
    assert gone(tmp_path, None, 1e-6, spans) == [paths[2], paths[3]]
    assert keeping.events(tmp_path / "none.jsonl") == {}


def test_the_recorder_deletes(clips: Path, tmp_path: Path, capsys):
    old = make_recordings(tmp_path / "out", [50])[0]
    words = [f"--camera=gate={clips / 'a.mp4'}", f"--out={tmp_path / 'out'}", "--keep-days=1"]
    assert main(["record", *words]) == 0
    assert not old.exists()
    assert "deleted 1 old recordings" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("gate", "give NAME=URL"),
        ("../x=rtsp://h/", "a name has letters"),
        ("gate=ftp://u:hidden@h/", "the address is not one of rtsp"),
        ("gate=rtsp://u:hidden@h:99999999/", "the address is not one of"),
        ("gate=/no/such", "there is no such file or folder"),
        ("gate=@/no/such", "cannot be read"),
    ],
)
def test_addresses_that_are_none(given: str, message: str, capsys, tmp_path: Path):
    assert main(["record", f"--camera={given}", f"--out={tmp_path}"]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert "hidden" not in said


def test_a_file_that_is_no_video(tmp_path: Path, capsys):
    (tmp_path / "x.mp4").write_bytes(b"nothing")
    assert main(["record", f"--camera=g={tmp_path / 'x.mp4'}", f"--out={tmp_path / 'out'}"]) != 0
    said = capsys.readouterr().err
    assert "g: is not a video that can be read" in said
    assert "x.mp4: nothing of it could be recorded" in said


def test_a_folder_that_is_a_file(clips: Path, tmp_path: Path, capsys):
    (tmp_path / "out").write_text("")
    assert main(["record", f"--camera=g={clips / 'a.mp4'}", f"--out={tmp_path / 'out'}"]) == 2
    assert "cannot be written: File exists" in capsys.readouterr().err


def test_ctrl_c_finishes_the_open_file(server, record):
    recorder = record(f"--camera=gate={server.url('a.mp4')}", "--seconds=100")
    wait_until(lambda: recorder.parts() and recorder.parts()[0].stat().st_size > 2000, 30)
    recorder.process.send_signal(signal.SIGINT)
    assert recorder.process.wait(20) == 130
    assert not recorder.parts()
    assert len(recorder.files()) == 1
    assert "Traceback" not in recorder.said()


def test_a_name_twice():
    with pytest.raises(ConfigError, match="this name is given twice"):
        source.parse_all(["gate=rtsp://a/", "GATE=rtsp://b/"])


def test_what_is_shown_of_an_address():
    one = source.Source("g", "rtsp://joe:p%40ss@host:554/a?key=abc")
    assert one.shown == "rtsp://host:554/a"
    assert one.hidden("cannot open rtsp://joe:p%40ss@host:554/a?key=abc: no") == (
        "cannot open rtsp://host:554/a: no"
    )
    assert "p%40ss" not in one.hidden("401 for joe:p%40ss")
    assert source.password_in("g=rtsp://joe:x@h/")
    assert not source.password_in("g=@file")


# --- what docs/live/ ships ------------------------------------------------------------------------

LIVE = Path(__file__).parents[2] / "docs/live"


def parsed(words: list[str]) -> str:
    return str(build_parser(words[0]).parse_args(words).command)


@pytest.mark.parametrize("name", ["record", "watch"])
def test_the_systemd_units_start_commands_that_exist(name: str):
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(LIVE / f"hhvad-{name}.service")
    program, *words = shlex.split(unit["Service"]["ExecStart"])
    assert program.endswith("/hhvad")
    assert parsed(words) == name
    for written in unit["Service"]["ReadWritePaths"].split():
        assert written in words


def test_the_compose_file_starts_commands_that_exist():
    services = yaml.safe_load((LIVE / "compose.yaml").read_text())
    for name, service in services["services"].items():
        assert service["entrypoint"] == ["hhvad"]
        assert parsed(service["command"]) == name
        for secret in service["secrets"]:
            assert f"@/run/secrets/{secret}" in " ".join(service["command"])
            assert secret in services["secrets"]
