"""Thresholds from a budget of alarms: by hand, in simulation, and as files and commands."""

from __future__ import annotations

import json
from fractions import Fraction
from math import ceil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import poisson

from hhvad.cli import main
from hhvad.errors import ArtifactError, DataError
from hhvad.files import read_json, write_json, write_tsv
from hhvad.localization import budget, locator_file
from hhvad.localization.budget import DAY, Budget, Footage, Threshold
from hhvad.localization.locator import Locator

CHECKED = settings(deadline=None, max_examples=60, derandomize=True)
HOUR = Budget(2.0, 3600.0)  # alpha is 1/12


def hours_of(scores, hour=None) -> Footage:
    """Footage of one score per hour."""
    values = np.asarray(scores, dtype=float)
    hours = None if hour is None else np.full(len(values), hour)
    return Footage(values, np.full(len(values), 3600.0), hours)


@CHECKED
@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=80), st.integers(1, 60), st.integers(1, 60)
)
def test_quantile_by_its_definition(values, numerator, more):
    """The ceil((n + 1)(1 - alpha))-th smallest, in exact fractions."""
    alpha = Fraction(numerator, numerator + more)
    rank = ceil((len(values) + 1) * (1 - alpha))
    expected = sorted(values)[rank - 1] if rank <= len(values) else None
    assert budget.quantile(values, float(alpha)) == expected
    assert (expected is None) == (len(values) + 1 < 1 / alpha)


def test_windows_of_footage():
    one = Footage(np.array([1.0, 5, 2]), np.array([2.0, 2, 2]))
    two = Footage(np.array([3.0, 4, 9]), np.array([2.0, 2, 2]))
    maxima, seconds = budget.window_maxima([one, two], 4.0)
    assert maxima.tolist() == [5, 3, 9]  # the second window spans both videos
    assert seconds == 12
    assert budget.window_maxima([one], 4.0)[0].tolist() == [5]  # what is left is not used
    assert len(budget.window_maxima([one], 60.0)[0]) == 0
    assert len(budget.window_maxima([], 60.0)[0]) == 0
    with pytest.raises(DataError, match="longer window"):
        budget.window_maxima([one], 1.0)


@CHECKED
@given(st.integers(1, 40), st.integers(1, 12), st.integers(1, 50))
def test_whole_windows_do_not_suffer_from_rounding(per_window, windows, tenths):
    segment = tenths / 10
    footage = Footage(
        np.arange(per_window * windows, dtype=float), np.full(per_window * windows, segment)
    )
    maxima, _ = budget.window_maxima([footage], per_window * segment)
    assert maxima.tolist() == [per_window * (i + 1) - 1 for i in range(windows)]


def test_poisson_interval():
    """At its ends, what was counted or more extreme has 2.5 %."""
    for count in (0, 1, 7, 40):
        low, high = budget.poisson_interval(count)
        assert poisson.cdf(count, high) == pytest.approx(0.025)
        assert poisson.sf(count - 1, low) == pytest.approx(0.025) if count else low == 0


def test_a_camera_with_enough_footage():
    found = budget.calibrate({"door": [hours_of(range(24))]}, HOUR, fixed=0.5)
    door = found.cameras["door"]
    # rank is ceil(25 * 11/12) = 23, the score 22; one window of the day is above it
    assert (door.tau, door.rule, door.windows, door.alarms) == (22.0, "camera", 24, 1)
    low, high = budget.poisson_interval(1)
    assert door.per_day == (1.0, low, high)
    assert door.note == ""
    assert found.of("nobody").tau == found.pooled.tau == 22.0
    assert not found.knows("nobody")


def test_too_little_footage_is_said():
    """11 windows are needed for 1/12; with fewer, never an infinite threshold in silence."""
    assert HOUR.fewest == 11
    few = {"door": [hours_of(range(5))], "yard": [hours_of(np.arange(20) + 100)]}
    alone = budget.calibrate(few, Budget(2.0, pool="camera"), fixed=0.5).cameras["door"]
    assert (alone.tau, alone.rule) == (4.0, "reduced")
    assert "need 6 more hours" in alone.note
    assert "supports 4 a day" in alone.note  # 24 / (5 + 1)
    assert "taken instead: the largest maximum" in alone.note
    shrink = budget.calibrate(few, HOUR, fixed=0.5)
    assert shrink.cameras["door"].rule == "pooled"
    assert shrink.cameras["door"].tau == shrink.pooled.tau == 118.0  # the 24th of 25
    assert "the threshold of all cameras" in shrink.cameras["door"].note
    assert shrink.cameras["yard"].rule == "camera"
    every = budget.calibrate(few, Budget(2.0, pool="all"), fixed=0.5)
    assert {one.rule for one in every.cameras.values()} == {"pooled"}
    assert every.cameras["door"].alarms == 0
    none = budget.calibrate({"door": [Footage(np.ones(3), np.ones(3))]}, HOUR, fixed=0.5)
    assert (none.cameras["door"].tau, none.cameras["door"].rule) == (0.5, "fixed")
    assert none.cameras["door"].per_day is None
    assert "keeps no budget" in none.cameras["door"].note


def test_drop_top_leaves_out_the_largest():
    scores = [*range(24), 1000, 2000]
    plain = budget.calibrate({"a": [hours_of(scores)]}, Budget(1.0), fixed=0.5).cameras["a"]
    assert plain.tau == 2000.0  # rank is ceil(27 * 23/24) = 26, the largest
    dropped = budget.calibrate({"a": [hours_of(scores)]}, Budget(1.0, drop_top=2), fixed=0.5)
    assert dropped.cameras["a"].tau == 23.0
    assert dropped.cameras["a"].alarms == 2
    assert "2 largest maxima" in dropped.cameras["a"].note


def test_hours_of_the_day_are_strata():
    night, day = hours_of(np.arange(12) / 100, 2), hours_of(np.arange(12) + 10.0, 14)
    dusk = hours_of([5.0], 18)
    wanted = Budget(2.0, by_hour=True)
    found = budget.calibrate({"a": [night, day, dusk]}, wanted, fixed=0.5).cameras["a"]
    assert found.by_hour == {"2": 0.11, "14": 21.0}
    assert "18" in found.note
    taus = found.at([2, 14, 18], 3)
    assert taus.tolist() == [0.11, 21.0, found.tau]
    assert found.at(None, 2).tolist() == [found.tau, found.tau]
    assert found.alarms == 0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"alarms_per_day": 0.0}, "alarms_per_day"),
        ({"alarms_per_day": 24.0}, "below 24"),
        ({"alarms_per_day": float("nan")}, "alarms_per_day"),
        ({"alarms_per_day": 1.0, "window": 0.0}, "window"),
        ({"alarms_per_day": 1.0, "drop_top": -1}, "drop_top"),
        ({"alarms_per_day": 1.0, "pool": "none"}, "pool"),
    ],
)
def test_bad_budgets(values, message):
    with pytest.raises(DataError, match=message):
        Budget(**values)


def draws(kind: str, random: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    if kind == "heavy-tailed":
        return random.pareto(1.1, shape)
    if kind == "bimodal":
        return np.where(random.random(shape) < 0.1, 5.0, 0.0) + random.random(shape)
    return np.full(shape, 0.3)


@pytest.mark.parametrize("kind", ["heavy-tailed", "bimodal", "constant"])
@pytest.mark.parametrize("windows", [20, 100])
def test_the_budget_is_kept(kind, windows):
    """Of ordinary windows at most alpha have an alarm, to 3 standard errors of the simulation."""
    random = np.random.default_rng(24)
    alarms = []
    for _ in range(400):
        scores = draws(kind, random, (windows, 3))
        footage = Footage(scores.ravel(), np.full(scores.size, 1200.0))
        tau = budget.calibrate({"a": [footage]}, HOUR, fixed=0.5).cameras["a"].tau
        alarms.append((draws(kind, random, (200, 3)).max(axis=1) > tau).mean())
    error = np.std(alarms) / np.sqrt(len(alarms))
    assert np.mean(alarms) <= HOUR.alpha + 3 * error
    if kind != "constant":  # and not far below it: rank / (n + 1) is known
        rank = ceil((windows + 1) * (1 - HOUR.alpha))
        assert np.mean(alarms) == pytest.approx(1 - rank / (windows + 1), abs=3 * error)


def test_written_and_read(tmp_path: Path):
    wanted = Budget(2.0, by_hour=True)
    reference = {"a": [hours_of(range(20), 3)], "b": [hours_of(range(3), 3)]}
    thresholds = budget.calibrate(reference, wanted, fixed=0.5)
    made = Locator(0.5, thresholds.pooled.tau, calibrated=True, how="a budget", budget=thresholds)
    write_json(tmp_path / "a.json", made.to_json())
    read = locator_file.read(tmp_path / "a.json")
    assert read == made
    scores, segments = [30.0, 0, 30], [[0, 1], [1, 2], [2, 3]]
    assert len(read.events(scores, segments, "a", [3, 3, 3])) == 2
    assert "budget" not in Locator(0.5, 0.5).to_json()
    for key in ("pooled", "cameras", "budget"):
        damaged = made.to_json()
        damaged["budget"][key] = None
        write_json(tmp_path / "a.json", damaged)
        with pytest.raises(ArtifactError, match="budget is damaged"):
            locator_file.read(tmp_path / "a.json")


def test_each_camera_has_its_threshold():
    thresholds = budget.Thresholds(
        HOUR,
        Threshold(0.5, "pooled"),
        {"a": Threshold(0.2, "camera"), "b": Threshold(0.8, "camera")},
    )
    made = Locator(0.01, 0.5, budget=thresholds)
    scores, segments = [0.1, 0.6, 0.3, 0.9], [[0, 1], [1, 2], [2, 3], [3, 4]]
    found = {name: len(made.events(scores, segments, name)) for name in ("a", "b", "c", None)}
    assert found == {"a": 1, "b": 1, "c": 2, None: 2}
    assert made.events(scores, segments, "a")[0].start == 1


@pytest.fixture
def scored(tmp_path: Path) -> Path:
    """Forty hours of scores by somebody else's method, a segment of one minute per line."""
    random = np.random.default_rng(1)
    rows = [
        ("v", 60 * i, 60 * i + 60, round(value, 4)) for i, value in enumerate(random.random(2400))
    ]
    write_tsv(tmp_path / "v.tsv", ("video", "start_frame", "end_frame", "score"), rows)
    return tmp_path / "v.tsv"


def test_the_command_for_scores_of_others(scored: Path, tmp_path: Path, capsys):
    words = ["calibrate-budget", str(scored), "--alarms-per-day", "2", "--fps", "1"]
    assert main([*words, "--out", str(tmp_path / "l.json")]) == 0
    out = capsys.readouterr().out
    assert "default: tau" in out
    assert "40 windows, 40.0 hours" in out
    found = locator_file.read(tmp_path / "l.json")
    assert found.budget is not None
    assert found.budget.cameras["default"].rule == "camera"
    first = (tmp_path / "l.json").read_bytes()
    assert main([*words, "--out", str(tmp_path / "l.json")]) == 0
    assert (tmp_path / "l.json").read_bytes() == first
    assert str(tmp_path) not in first.decode()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--alarms-per-day", "0", "--fps", "1"], "alarms_per_day is 0"),
        (["--alarms-per-day", "24", "--fps", "1"], "below 24"),
        (["--alarms-per-day", "2"], "--probes --fps is required"),
        (["--alarms-per-day", "2", "--fps", "0"], "--fps"),
        (["--alarms-per-day", "2", "--fps", "1", "--by", "hour-of-day"], "wall clock"),
        (["--alarms-per-day", "2", "--fps", "1", "--cameras", "a", "b"], "--cameras"),
        (["--alarms-per-day", "2", "--fps", "1", "--window", "30"], "longer window"),
    ],
)
def test_bad_flags(scored: Path, words, message, capsys):
    try:
        code = main(["calibrate-budget", str(scored), *words])
    except SystemExit as stopped:
        code = stopped.code
    assert code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_footage_shorter_than_a_window_is_one_line(scored: Path, capsys):
    words = ["--alarms-per-day", "0.1", "--fps", "1", "--window", "172800"]  # two days
    assert main(["calibrate-budget", str(scored), *words]) == 0
    done = capsys.readouterr()
    assert done.err.count("\n") == 1
    assert "need 152 more hours" in done.err  # four windows of 48 hours; 40 hours are there
    assert "keeps no budget" in done.err
    assert "tau 0.5 (fixed), 0 windows" in done.out


def test_json_is_plain(scored: Path, tmp_path: Path):
    out = str(tmp_path / "l.json")
    main(["calibrate-budget", str(scored), "--alarms-per-day", "2", "--fps", "1", "--out", out])
    assert json.loads(json.dumps(read_json(out))) == read_json(out)
    assert DAY == 86400
