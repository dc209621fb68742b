"""--on-event: a command once for each event."""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from hhvad import on_event
from hhvad.cli import main, start
from hhvad.errors import ConfigError
from hhvad.files import write_json, write_tsv
from hhvad.on_event import EventsOfStudy, OnEvent
from hhvad.sheet import COLUMNS
from hhvad.study import Study

EVENT = {
    "method": "m", "video": "a", "fingerprint": "0f", "start_frame": 5, "end_frame": 9,
    "start_seconds": 0.2,
}  # fmt: skip
ATTACK = "$(touch pwned); `touch pwned`; 'x\n"


def python(code: str) -> str:
    return shlex.join([sys.executable, "-c", code])


APPEND = "import sys; open('log', 'a').write(sys.stdin.read())"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def told() -> list[dict]:
    path = Path("log")
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_each_event_once_over_restarts_as_a_line_of_json_that_no_shell_sees():
    other = {**EVENT, "start_frame": 50, "description": ATTACK}
    for _ in range(2):
        hook = OnEvent(python(APPEND), Path("out/told.txt"))
        for event in (EVENT, other, EVENT):
            hook.tell(event)
        assert hook.failed == 0
    first, second = told()
    assert first == {"id": first["id"], **EVENT}
    assert second == {"id": second["id"], **other}
    assert first["id"] != second["id"]
    assert not Path("pwned").exists()


def test_another_file_under_the_same_name_is_told():
    hook = OnEvent(python(APPEND), Path("told.txt"))
    for fingerprint in ("0f", "ff"):
        hook.tell({**EVENT, "fingerprint": fingerprint})
    assert [event["fingerprint"] for event in told()] == ["0f", "ff"]


def test_a_failure_is_said_counted_and_tried_again(capfd):
    hook = OnEvent(python("raise SystemExit(3)"), Path("told.txt"))
    hook.tell(EVENT)
    hook.tell(EVENT)
    hook.close()
    assert hook.failed == 1
    assert "ended with status 3 for a, 0.2 s" in capfd.readouterr().err
    again = OnEvent(python(APPEND), Path("told.txt"))
    again.tell(EVENT)
    assert len(told()) == 1


def test_a_command_that_hangs_is_ended(monkeypatch, capfd):
    monkeypatch.setattr(on_event, "TIMEOUT", 0.2)
    hook = OnEvent(python("import time; time.sleep(60)"), Path("told.txt"))
    hook.tell(EVENT)
    assert hook.failed == 1
    assert "was ended after" in capfd.readouterr().err


def test_a_command_that_reads_nothing_is_fine():
    hook = OnEvent("true", Path("told.txt"))
    hook.tell({**EVENT, "description": "x" * 1_000_000})
    assert hook.failed == 0


@pytest.mark.parametrize("command", ["", "'", "no-such-program-here --x"])
def test_a_command_that_cannot_run_is_refused_beforehand(command, capsys):
    with pytest.raises(ConfigError, match="--on-event"):
        OnEvent(command, Path("told.txt"))
    Path("v.mp4").touch()
    assert main(["detect", "v.mp4", "--on-event", command]) == 2
    assert capsys.readouterr().err.startswith("hhvad: error: --on-event")


@pytest.fixture
def study():
    rows = [("a", "a.mp4", "test", "", "", ""), ("c", "c.mp4", "calibration", "normal", "", "")]
    write_tsv("sheet.tsv", COLUMNS, rows)
    Path("mine.yaml").write_text("videos: sheet.tsv\nmethods: {still: {kind: motion}}\n")
    write_json("results/mine/probe/a.json", {"fingerprint": "0f"})
    return Study.read("mine.yaml")


def found(*events: dict) -> None:
    write_json("results/mine/events/still/a.json", {"events": list(events)})


def test_events_of_a_study_appear_as_files_change(study):
    events = EventsOfStudy(study)
    assert list(events.new()) == []
    one = {"start_frame": 1, "end_frame": 2, "start_seconds": 0.1}
    found(one, {**one, "start_frame": 0, "ignored": True})
    assert list(events.new()) == [
        {
            "study": "mine",
            "method": "still",
            "video": "a",
            "path": "a.mp4",
            "fingerprint": "0f",
            **one,
        }
    ]
    assert list(events.new()) == []
    found({**one, "start_frame": 7})
    os.utime("results/mine/events/still/a.json", (1e9, 1e9))
    assert [event["start_frame"] for event in events.new()] == [7]


def test_a_run_tells_of_events_as_they_are_found_and_at_its_end(study, monkeypatch):
    one = {"start_frame": 1, "end_frame": 2, "start_seconds": 0.1}
    states = iter([[one], [one, {**one, "start_frame": 7}]])

    def wait(timeout):
        found(*next(states))
        os.utime("results/mine/events/still/a.json", ns=(len(told()) + 1, len(told()) + 1))
        if not told():
            raise start_timeout
        return 1  # a failed run tells too

    import subprocess

    start_timeout = subprocess.TimeoutExpired("snakemake", 5)
    with start._teller(python(APPEND), Path("mine.yaml"), dry=False) as tell:
        assert start._wait(SimpleNamespace(wait=wait), tell) == 1
    assert [event["start_frame"] for event in told()] == [1, 7]


def test_a_dry_run_tells_of_nothing(study):
    found(EVENT)
    with start._teller(python(APPEND), Path("mine.yaml"), dry=True) as tell:
        tell()
    assert told() == []
