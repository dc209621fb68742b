"""The answer of a run in a few lines: metrics, events by score, what could not be judged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text

from hhvad.artifacts import probe
from hhvad.files import read_json
from hhvad.localization import locator, locator_file
from hhvad.study import Study

HEADLINE = {
    "auc": "frame AUC",
    "auc_abnormal": "frame AUC, abnormal videos only",
    "ap_step": "average precision",
    "ap_trapezoid": "area under precision-recall",
}
SHOWN = 10  # events


def summarise(study: Study) -> Iterator[Table | Text]:
    """What the methods found in the test videos of this study's sheet, and in no others'."""
    yield _metrics(study)
    first = next(iter(study.methods))
    yield from _events(study, first)
    page = study.results / "viewer/index.html"
    if page.is_file():
        yield Text(f"Events, videos and curves: {page}")


def _metrics(study: Study) -> Table:
    table = Table(box=SIMPLE, pad_edge=False)
    table.add_column("")
    for name in study.methods:
        table.add_column(name, justify="right")
    results = {}
    for name in study.methods:
        path = study.results / f"metrics/{name}.json"
        results[name] = read_json(path)["metrics"] if path.is_file() else {}
    for key, title in HEADLINE.items() if any(results.values()) else ():
        table.add_row(title, *(_shown(results[name].get(key)) for name in study.methods))
    counts = {name: _counts(study, name) for name in study.methods}
    table.add_row(
        "events found",
        *(f"{events} in {some} of {videos} videos" for events, some, videos in counts.values()),
    )
    return table


def _shown(metric: dict[str, float | None] | None) -> str:
    """A metric in percent with its 95 % interval."""
    if metric is None:
        return ""
    value, low, high = (metric.get(key) for key in ("value", "low", "high"))
    if value is None:
        return "undefined"
    span = "" if low is None or high is None else f" ({100 * low:.2f} - {100 * high:.2f})"
    return f"{100 * value:.2f} %{span}"


def _found(study: Study, method: str) -> dict[str, list[dict[str, float]]]:
    """The events of each test video that has been judged, without ignored and suppressed ones."""
    files = {name: study.results / f"events/{method}/{name}.json" for name in study.split("test")}
    events = {name: read_json(file)["events"] for name, file in files.items() if file.is_file()}
    return {
        name: [one for one in rows if not one.get("ignored") and not one.get("suppressed")]
        for name, rows in events.items()
    }


def _counts(study: Study, method: str) -> tuple[int, int, int]:
    found = _found(study, method)
    return sum(map(len, found.values())), sum(map(bool, found.values())), len(found)


def _damage(study: Study, judged: Iterable[str]) -> Iterator[Text]:
    """How much of the judged videos is damaged."""
    paths = [study.results / f"probe/{name}.json" for name in judged]
    damaged = [probe.read(path) for path in paths if probe.has_damage(path)]
    if damaged:
        lost = sum(end - start for one in damaged for start, end in one.damaged_seconds())
        total = sum(one.seconds(one.frames) for one in damaged)
        yield Text(
            f"Damaged and not judged: {lost:.1f} s of {total:.1f} s in {len(damaged)} videos"
        )


def _sentence(study: Study, method: str, video: str, event: dict[str, float]) -> str:
    """What is said of the stretch that an event is in; where the model doubts it, that as well."""
    path = study.results / f"descriptions/{method}/{video}.json"
    if not path.is_file():
        return ""
    for one in read_json(path)["events"]:
        if one["start_frame"] <= event["start_frame"] < one["end_frame"]:
            doubt = "" if one["agreement"] == "agrees" else f" ({one['agreement']})"
            return f"{one['description']}{doubt}"
    return ""


def _events(study: Study, method: str) -> Iterator[Table | Text]:
    """The events of one method, the highest peak first; what was not judged; how it was cut."""
    found = _found(study, method)
    events = [(event["peak_score"], name, event) for name, rows in found.items() for event in rows]
    events.sort(key=lambda one: (-one[0], one[1], one[2]["start_frame"]))
    if events:
        table = Table(box=SIMPLE, pad_edge=False, title=f"Events of {method}", title_justify="left")
        for column in ("score", "video", "from", "to"):
            table.add_column(column, justify="left" if column == "video" else "right")
        said = study.described == method
        if said:
            table.add_column("what the model says")
        for peak, name, event in events[:SHOWN]:
            seconds = (event["start_seconds"], event["end_seconds"])
            row: list[str | Text] = [
                f"{peak:.3f}",
                Text(name),
                *(f"{value:.1f} s" for value in seconds),
            ]
            table.add_row(*row, *([Text(_sentence(study, method, name, event))] if said else []))
        yield table
    if len(events) > SHOWN:
        yield Text(f"and {len(events) - SHOWN} more, in {study.results / 'events' / method}")
    yield from _damage(study, found)
    missing = [name for name in study.split("test") if name not in found]
    if missing:
        yield Text(f"not judged: {len(missing)} videos, the first is {missing[0]}")
    path = study.results / f"locator/{method}.json"
    if path.is_file():
        settings = locator_file.read(path)
        shortest = locator.shortest_event(
            settings.sigma, settings.tau, settings.border, settings.causal
        )
        frames = (shortest or 0) * study.config.sampling.segment_length
        if settings.budget is not None:
            yield Text(f"Thresholds of {method}: {settings.how}")
            for camera, words in settings.budget.lines():
                yield Text(f"  {camera}: {words}")
        elif not settings.calibrated:
            yield Text(
                f"The threshold {settings.tau} was not calibrated ({settings.how}); the shortest "
                f"event that it finds: {frames} frames"
            )
