"""A quiet terminal for Snakemake: `snakemake --logger hhvad`.

On a terminal a run is one line that says how far it is; in a file or a pipe, a line now and then.
Failures, warnings and notes are printed in full. Snakemake's own log file, .snakemake/log/, still
has everything. A dry run, --verbose, --printshellcmds and --logger-hhvad-full print what Snakemake
prints by itself.

Snakemake finds this package by its name among the top-level modules.
"""

# No annotations as text here: Snakemake reads the types of the settings.
import re
import sys
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from logging import Handler, LogRecord
from pathlib import Path
from shutil import get_terminal_size
from typing import Any

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent
from snakemake_interface_logger_plugins.settings import LogHandlerSettingsBase

from snakemake_logger_plugin_hhvad.progress import Progress

TAIL = 20  # lines shown of the log of a job that failed
SECONDS, SHARE, AT_LATEST = 30, 0.05, 600  # between two lines where there is no terminal
REDRAWN = 0.1  # seconds between two states of the bar

HIDDEN_EVENTS = {
    LogEvent.WORKFLOW_STARTED,
    LogEvent.RESOURCES_INFO,
    LogEvent.GROUP_INFO,
    LogEvent.SHELLCMD,
    LogEvent.JOB_STARTED,
    LogEvent.RULEGRAPH,
}
# Beginnings of messages that tell a user nothing. What is unknown is printed.
HIDDEN_MESSAGES = re.compile(
    r"Assuming unrestricted|Building DAG|Using shell|Conda environments: ignored|Group jobs: inact|"
    r"Singularity containers: ignored|Select jobs|Removing temporary output|Touching output|"
    r"Job rate limit|Processed \d+ potential|Removing output files of failed|Job \d+ has been subm|"
    r"Group job .* has been submitted|Creating report|Downloading resources|Adding |"
    r"Exiting because a job execution failed"
)


@dataclass
class LogHandlerSettings(LogHandlerSettingsBase):
    """Options of the logger."""

    full: bool = field(
        default=False,
        metadata={"help": "Print every job, as Snakemake does by itself.", "required": False},
    )


class LogHandler(LogHandlerBase):
    """Shows a run as one line. Called in one thread of its own."""

    writes_to_stream = True
    writes_to_file = False
    has_filter = False  # Snakemake's own: --quiet works
    has_formatter = False
    needs_rulegraph = False

    def __post_init__(self) -> None:
        """Start with no run in sight."""
        common = self.common_settings
        asked = isinstance(self.settings, LogHandlerSettings) and self.settings.full
        self._full = asked or common.dryrun or common.verbose or common.printshellcmds
        self._stream = sys.stdout if common.stdout else sys.stderr
        self._terminal = self._stream.isatty()
        self._progress: Progress | None = None
        self._jobs: dict[int, tuple[str, Mapping[str, str], float]] = {}  # rule, wildcards, start
        self._shown = (float("-inf"), 0)  # when the line was last written, and the jobs done then
        self._drawn = False  # the bar is on the terminal's last line
        self._plain: Handler | None = None
        self._ended: deque[str] = deque(maxlen=50)  # how commands ended, of which no error told yet

    def emit(self, record: LogRecord) -> None:
        """Print what a user must see; count the rest."""
        try:
            event = getattr(record, "event", None)
            self._count(event, record)
            if self._full:
                self._print(record)
            elif event == LogEvent.PROGRESS:
                self._show(record.created)
            elif "CalledProcessError in file" in str(record.msg):
                self._ended.append(str(record.msg))  # the error of its job comes next
            elif event == LogEvent.JOB_ERROR:
                self._write(self._failure(vars(record)))
            elif not self._hidden(event, record):
                self._print(record)
        except Exception:
            # As every handler of logging: a bug here shows its traceback, and the run goes on.
            self.handleError(record)

    def close(self) -> None:
        """Leave the cursor at the start of a line."""
        self._write("")
        super().close()

    def _count(self, event: LogEvent | None, record: LogRecord) -> None:
        values: dict[str, Any] = vars(record)
        if event == LogEvent.RUN_INFO:
            planned = {rule: n for rule, n in values["stats"].items() if rule != "total"}
            self._progress = Progress(planned, record.created)
        elif event == LogEvent.JOB_INFO:
            about = values["rule_name"], dict(values["wildcards"].items()), record.created
            self._jobs[values["jobid"]] = about
        elif event == LogEvent.JOB_FINISHED and self._progress:
            if known := self._jobs.pop(values["job_id"], None):
                self._progress.finish(known[0], record.created - known[2])
        elif event == LogEvent.PROGRESS and self._progress:
            self._progress.done, self._progress.total = values["done"], values["total"]

    def _hidden(self, event: LogEvent | None, record: LogRecord) -> bool:
        if event in (LogEvent.JOB_INFO, LogEvent.JOB_FINISHED, LogEvent.RUN_INFO):
            return True
        return event in HIDDEN_EVENTS or bool(HIDDEN_MESSAGES.match(str(record.msg or "")))

    def _show(self, now: float) -> None:
        """Draw the bar again, or write a line if it is time for one."""
        if self._progress is None:
            return
        done, total = self._progress.done, self._progress.total
        when, before = self._shown
        waited = now - when
        if self._terminal:
            due = waited >= REDRAWN
        else:
            due = waited >= AT_LATEST or (waited >= SECONDS and done - before >= SHARE * total)
        if not due and done < total:
            return
        self._shown = now, done
        if not self._terminal:
            self._write(self._progress.line(now))
            return
        width = get_terminal_size().columns - 1
        self._stream.write(f"\r\x1b[K{self._progress.bar(now, width)}")
        self._drawn = True
        if done >= total:
            self._stream.write("\n")
            self._drawn = False
        self._stream.flush()

    def _print(self, record: LogRecord) -> None:
        """Print a message as Snakemake does, in its colours."""
        self._write("")
        if self._plain is None:
            from snakemake.logging import ColorizingTextHandler

            self._plain = ColorizingTextHandler(self.common_settings.nocolor, self._stream)
            self._plain.setFormatter(self.formatter)
        self._plain.emit(record)

    def _write(self, text: str) -> None:
        """Write lines where the bar was; it comes back with the next job."""
        if self._drawn:
            self._stream.write("\r\x1b[K")
            self._drawn = False
        if text:
            self._stream.write(f"{text}\n")
        self._stream.flush()

    def _failure(self, error: Mapping[str, Any]) -> str:
        """What is known of a job that failed: rule, wildcards, the last lines of its logs."""
        rule, wildcards, _ = self._jobs.pop(error["jobid"], (error["rule_name"], {}, 0.0))
        named = ", ".join(f"{name}={value}" for name, value in wildcards.items())
        lines = [f"Error in rule {rule}{f' ({named})' if named else ''}:"]
        lines += [f"    {error['rule_msg']}"] if error["rule_msg"] else []
        said = [line for log in error["log"] for line in tail(Path(log))]
        command = (error["shellcmd"] or "").strip()
        if not said and command:
            said = [end.splitlines()[-1] for end in self._ended if command in end][-1:] or [command]
        lines += [f"    {line}" for line in said]
        lines += [f"    log: {log}" for log in error["log"]]
        return "\n".join(lines)


def tail(log: Path) -> list[str]:
    """The last lines of a log, without control characters; none where it cannot be read."""
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    lines = [re.sub(r"[\x00-\x08\x0b-\x1f\x7f]", "", line) for line in text.splitlines()]
    return [line for line in lines if line.strip()][-TAIL:]
