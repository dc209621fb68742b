"""The logger plugin: what a terminal and a file see of a run."""

from __future__ import annotations

import io
import logging
import re
from types import SimpleNamespace

import pytest
from snakemake_interface_logger_plugins.common import LogEvent
from snakemake_interface_logger_plugins.registry import LoggerPluginRegistry

import snakemake_logger_plugin_hhvad as plugin
from snakemake_logger_plugin_hhvad.progress import Progress, duration


class Stream(io.StringIO):
    def __init__(self, terminal: bool):
        super().__init__()
        self.terminal = terminal

    def isatty(self):
        return self.terminal


@pytest.fixture
def run(monkeypatch):
    """Start a handler on a fake stderr; log a message with it, at a second."""
    from snakemake.logging import DefaultFormatter

    def start(terminal=False, full=False, **common):
        stream = Stream(terminal)
        monkeypatch.setattr("sys.stderr", stream)
        monkeypatch.setattr("sys.stdout", stream)
        names = ("dryrun", "verbose", "printshellcmds", "stdout")
        settings = {**dict.fromkeys(names, False), "nocolor": True, **common}
        handler = plugin.LogHandler(
            SimpleNamespace(**settings), plugin.LogHandlerSettings(full=full)
        )
        handler.setFormatter(DefaultFormatter())
        monkeypatch.setattr(handler, "handleError", lambda record: pytest.fail(str(record)))

        def log(second, message=None, event=None, level=logging.INFO, **values):
            record = logging.LogRecord("snakemake", level, "", 0, message, None, None)
            record.created = 1000.0 + second
            vars(record).update(values, **({"event": event} if event else {}))
            handler.emit(record)

        return handler, log, stream

    return start


def job(log, number, rule, begin, end, done, total, **wildcards):
    about = {"jobid": number, "rule_name": rule, "wildcards": wildcards}
    log(begin, f"Rule: {rule}", LogEvent.JOB_INFO, **about)
    if end is not None:
        log(end, "Finished", LogEvent.JOB_FINISHED, job_id=number)
        log(end, None, LogEvent.PROGRESS, done=done, total=total)


def plan(log, **rules):
    log(0, "Job stats", LogEvent.RUN_INFO, stats={**rules, "total": sum(rules.values())})


def test_snakemake_finds_the_plugin_and_its_option():
    assert LoggerPluginRegistry().is_installed("hhvad")


def test_a_file_gets_a_line_every_30_seconds_and_5_percent(run):
    _, log, stream = run()
    plan(log, localize_events=100)
    for n in range(100):
        job(log, n, "localize_events", n * 10, n * 10 + 10, n + 1, 100, video=f"v{n}")
    lines = stream.getvalue().splitlines()
    assert lines[0] == "1 of 100 jobs, 1 of 100 videos judged, about 16 min left"
    assert lines[1].startswith("6 of 100 jobs")
    assert len(lines) == 21
    assert lines[-1] == "100 of 100 jobs, 100 of 100 videos judged, in 17 min"


def test_no_more_than_a_line_in_30_seconds_but_one_in_ten_minutes(run):
    _, log, stream = run()
    plan(log, a=10000)
    for n in range(1000):
        job(log, n, "a", n, n + 1, n + 1, 10000)
    assert [line.split()[0] for line in stream.getvalue().splitlines()] == ["1", "501"]
    _, log, stream = run()
    plan(log, a=10000)
    for n in range(30):
        job(log, n, "a", n * 100, n * 100 + 100, n + 1, 10000)
    counts = [line.split()[0] for line in stream.getvalue().splitlines()]
    assert counts == ["1", "7", "13", "19", "25"]


def test_a_terminal_has_one_line_that_gives_way_to_messages(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    handler, log, stream = run(terminal=True)
    plan(log, a=4)
    job(log, 1, "a", 0, 1, 1, 4)
    job(log, 2, "a", 1, 2, 2, 4)
    log(2.5, "be warned", level=logging.WARNING)
    job(log, 3, "a", 2, 3, 3, 4)
    handler.close()
    first, second, third = (text for text in stream.getvalue().split("\r\x1b[K[")[1:])
    assert first == "#####---------------] 1 of 4 jobs, about 3 s left"
    assert second == "##########----------] 2 of 4 jobs, about 2 s left\r\x1b[Kbe warned\n"
    assert third.endswith("\r\x1b[K")
    assert all(len(line) < 60 for line in re.split(r"\r\x1b\[K|\n", stream.getvalue()))


def test_what_tells_nothing_is_hidden_and_the_unknown_is_not(run):
    _, log, stream = run()
    log(0, "Building DAG of jobs...")
    log(0, "Workflow has started!", LogEvent.WORKFLOW_STARTED)
    log(0, "Provided cores: 2", LogEvent.RESOURCES_INFO)
    plan(log, a=1)
    log(1, "Removing temporary output results/x.h5.")
    log(1, "Note: no validation events.")
    log(2, "Nothing to be done (all requested files are present and up to date).")
    log(3, "Complete log(s): x.log")
    assert [line.split()[0] for line in stream.getvalue().splitlines()] == [
        "Note:", "Nothing", "Complete",
    ]  # fmt: skip


FAILED = {"rule_name": "probe_video", "rule_msg": None, "shellcmd": "hhvad probe-video --x"}


def test_a_failure_names_rule_wildcards_and_the_end_of_its_log(run, tmp_path):
    _, log, stream = run()
    path = tmp_path / "a.log"
    path.write_text("\n".join(["old"] * 30 + ["", "hhvad: error: a.mp4: \x1b[2Jbad"]))
    plan(log, probe_video=2)
    job(log, 7, "probe_video", 0, None, 0, 2, video="a", method="m")
    log(1, 'CalledProcessError in file "x", line 1:\nCommand', LogEvent.ERROR, logging.ERROR)
    log(1, "Error", LogEvent.JOB_ERROR, logging.ERROR, jobid=7, log=[str(path)], **FAILED)
    lines = stream.getvalue().splitlines()
    assert lines[0] == "Error in rule probe_video (video=a, method=m):"
    assert lines[1:20] == ["    old"] * 19
    assert lines[20:] == ["    hhvad: error: a.mp4: [2Jbad", f"    log: {path}"]


def test_a_job_that_died_in_silence_says_how(run, tmp_path):
    _, log, stream = run()
    end = "Command 'set -e; hhvad probe-video --x' died with <Signals.SIGKILL: 9>."
    log(1, f'CalledProcessError in file "x", line 1:\n{end}', LogEvent.ERROR, logging.ERROR)
    log(1, "Error", LogEvent.JOB_ERROR, logging.ERROR, jobid=7, log=["none.log"], **FAILED)
    assert stream.getvalue().splitlines() == [
        "Error in rule probe_video:", f"    {end}", "    log: none.log",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "settings", [{"full": True}, {"dryrun": True}, {"verbose": True}, {"printshellcmds": True}]
)
def test_the_full_form_is_snakemakes_own(run, settings):
    _, log, stream = run(**settings)
    log(0, "Building DAG of jobs...")
    log(1, None, LogEvent.PROGRESS, done=1, total=4)
    assert stream.getvalue() == "Building DAG of jobs...\n1 of 4 steps (25%) done\n"


def test_time_left_by_rule():
    progress = Progress({"short": 10, "long": 4, "unseen": 1}, started=0.0, total=15)
    assert progress.left(5.0) is None
    progress.finish("short", 1.0)
    progress.finish("short", 3.0)
    progress.finish("long", 16.0)
    # Two at a time: 20 s of work in 10 s. Open: 8 short of 2 s, 3 long of 16 s, one of 20/3 s.
    assert progress.left(10.0) == pytest.approx(10 * (16 + 48 + 20 / 3) / 20)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (99, "99 s"), (101, "2 min"), (7260, "2 h 1 min"), (200_000, "2 days 7 h")],
)
def test_durations(seconds, text):
    assert duration(seconds) == text
