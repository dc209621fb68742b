"""The viewer, opened from disk in a real headless Chromium."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from viewer_study import Example, set_probe, write_study

from hhvad import sheet
from hhvad.artifacts import hdf5
from hhvad.evaluation.evaluate import Scored, evaluate
from hhvad.files import read_tsv, write_json, write_text, write_tsv
from hhvad.viewer import page

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--autoplay-policy=no-user-gesture-required",
)  # fmt: skip
ATTACK = "<script>document.title='pwned'</script><img src=x onerror=\"document.title='pwned'\">"

EXAMPLES = [
    Example("gate-1", 500, [(200, 260, 1.0)], "anomaly", category="Fire", annotated="190-250"),
    Example("gate-2", 400, [(60, 110, 0.85), (300, 350, 0.75)], category=ATTACK,
            description=f"{ATTACK} A van stops."),
    Example("gate-3", 300, [], "normal", split="validation"),
    Example("old", 300, [(100, 150, 0.7)], suffix=".avi"),
    Example("web=m#1", 200, [(100, 150, 0.65)], suffix=".webm"),
]  # fmt: skip


def write_metrics(results: Path) -> None:
    """Metrics of both methods as report-metrics writes them."""
    bounds = np.array([[0, 100], [100, 200]])
    videos = [
        Scored("a", "anomaly", ("fire",), 200, ((100, 200),), bounds, np.array([0.1, 0.9])),
        Scored("b", "normal", (), 200, (), bounds, np.array([0.2, 0.3])),
    ]
    for method in ("headhunt", "motion"):
        result = evaluate(videos, tau=None, resamples=20)
        write_json(results / f"metrics/{method}.json", result)
    write_tsv(results / "experts/headhunt.tsv", ("rank", "layer", "rss"), [(1, 5, 0.8125)])
    picture = "<svg xmlns='http://www.w3.org/2000/svg' onload=\"parent.document.title='pwned'\"/>"
    write_text(results / "figures/headhunt/rss.svg", picture)


@pytest.fixture(scope="module")
def viewer(tmp_path_factory):
    """The page of a small study with real videos."""
    root = tmp_path_factory.mktemp("viewer")
    with pytest.MonkeyPatch.context() as patch:
        if "thumbnails" not in hdf5.SCHEMA_VERSIONS:
            patch.setitem(hdf5.SCHEMA_VERSIONS, "thumbnails", 1)
        made, results = write_study(root, EXAMPLES, ("headhunt", "motion"))
        write_metrics(results)
        set_probe(results / "probe/web=m#1.json", damaged=[[20, 40], [180, 200]])
        out = results / "viewer" / "index.html"
        page.build(sheet.read(made), results=results, study="Yard", methods=["headhunt", "motion"],
                   video_root=root, out=out)  # fmt: skip
    return out


def start(tmp_path: Path, *flags: str):
    if not CHROMIUM or not DRIVER:
        pytest.skip("no chromium and chromedriver here: the page cannot be opened")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, *flags, f"--user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(flag)
    options.add_experimental_option(
        "prefs", {"download.default_directory": str(tmp_path / "downloads")}
    )
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return webdriver.Chrome(options, webdriver.ChromeService(DRIVER))


@pytest.fixture
def browser(tmp_path, viewer):
    driver = start(tmp_path, "--window-size=1400,1000")
    driver.get(viewer.as_uri())
    until(lambda: rows(driver))
    yield driver
    complaints = driver.get_log("browser")
    driver.quit()
    assert complaints == []


def until(condition, seconds=20.0):
    """Wait until a condition holds; what it gives."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.05)
    return value


def run(driver, script, *arguments):
    return driver.execute_script(f"return {script}", *arguments)


def rows(driver):
    """The names in the list, in its order."""
    shown = "[...document.querySelectorAll('.row')].filter(r => !r.hidden)"
    name = "r.querySelector('.name').textContent"
    return run(driver, f"{shown}.sort((a, b) => a.at - b.at).map(r => {name})")


def click_row(driver, name):
    run(driver, "[...document.querySelectorAll('.row')].find(r => !r.hidden && "
        "r.querySelector('.name').textContent === arguments[0]).click()", name)  # fmt: skip


def choose(driver, identity, value):
    script = "const s = document.getElementById(arguments[0]); s.value = arguments[1];"
    driver.execute_script(f"{script} s.dispatchEvent(new Event('input'))", identity, value)


def press(driver, keys):
    from selenium.webdriver.common.action_chains import ActionChains

    ActionChains(driver).send_keys(keys).perform()


def text(driver, identity):
    return run(driver, "document.getElementById(arguments[0]).textContent", identity)


def position(driver):
    return run(driver, "document.querySelector('video').currentTime")


def start_of(driver):
    """Where the chosen event starts, in seconds, read off the seek bar."""
    left = run(driver, "document.querySelector('.now').style.left")
    length = run(driver, "document.getElementById('seek').ariaValueMax")
    return float(left.rstrip("%")) / 100 * float(length)


def playing(driver):
    return until(lambda: run(driver, "(v => !v.paused && v.readyState > 2 && v.currentTime)"
                             "(document.querySelector('video'))"))  # fmt: skip


def test_a_click_plays_an_event_from_two_seconds_before(browser):
    assert rows(browser)[0] == "gate-1"
    click_row(browser, "gate-1")
    now = playing(browser)
    begin = start_of(browser)
    assert 7 < begin < 9
    assert begin - 2.05 <= now < begin + 1
    assert "gate-1" in text(browser, "title")


def test_webm_with_a_hard_name_plays_too(browser):
    click_row(browser, "web=m#1")
    playing(browser)
    assert "web=m#1" in text(browser, "title")


def test_the_seek_bar_shows_found_and_annotated_events(browser):
    click_row(browser, "gate-1")
    until(lambda: run(browser, "document.querySelectorAll('.track').length === 2"))
    found, annotated = run(
        browser,
        "[...document.querySelectorAll('.track i')].map(i => [i.style.left, i.style.width])",
    )
    assert [float(value.rstrip("%")) for value in annotated] == pytest.approx([38, 12], abs=0.01)
    assert 36 < float(found[0].rstrip("%")) < 42
    assert run(browser, "document.querySelectorAll('.track.annotated .hatched').length") == 1


def test_damaged_stretches_are_hatched_and_named(browser):
    click_row(browser, "web=m#1")
    until(lambda: run(browser, "document.querySelectorAll('.track.damaged').length"))
    places = "[...document.querySelectorAll('.track.damaged i')].map(i => [i.style.left, i.title])"
    assert run(browser, places) == [
        ["10%", "damaged, not judged: 0:00.8 – 0:01.6"],
        ["90%", "damaged, not judged: 0:07.2 – 0:08.0"],
    ]
    assert "damaged, not judged" in text(browser, "legend")


def test_seek_bar_curve_and_video_follow_each_other(browser):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.by import By

    click_row(browser, "gate-1")
    playing(browser)
    press(browser, " ")
    seek = browser.find_element(By.ID, "seek")
    width = seek.size["width"]
    ActionChains(browser).move_to_element_with_offset(seek, int(width * 0.25), 0).click().perform()
    until(lambda: abs(position(browser) - 15) < 0.2)
    over = browser.find_element(By.CSS_SELECTOR, "#chart .u-over")
    assert run(browser, "parseFloat(document.querySelector('.playhead').style.left)") == (
        pytest.approx(0.75 * over.size["width"], rel=0.02)
    )
    quarter = over.size["width"] // 4
    ActionChains(browser).move_to_element_with_offset(over, -quarter, 0).click().perform()
    until(lambda: abs(position(browser) - 5) < 0.3)
    assert run(browser, "parseFloat(document.getElementById('head').style.left)") == (
        pytest.approx(25, abs=1.5)
    )


def test_dragging_over_the_curve_zooms_and_the_seek_bar_shows_the_part(browser):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.by import By

    click_row(browser, "gate-1")
    playing(browser)
    press(browser, " ")
    before = position(browser)
    over = browser.find_element(By.CSS_SELECTOR, "#chart .u-over")
    chain = ActionChains(browser).move_to_element_with_offset(over, -100, 0)
    chain.click_and_hold().move_by_offset(120, 0).move_by_offset(80, 0).release().perform()
    until(lambda: not run(browser, "document.getElementById('window').hidden"))
    share = run(browser, "parseFloat(document.getElementById('window').style.width)")
    assert share == pytest.approx(100 * 200 / over.size["width"], rel=0.1)
    assert position(browser) == before  # a drag goes nowhere
    press(browser, "0")
    until(lambda: run(browser, "document.getElementById('window').hidden"))


def test_a_thumbnail_shows_what_the_seek_bar_points_at(browser):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.by import By

    click_row(browser, "gate-1")
    playing(browser)
    seek = browser.find_element(By.ID, "seek")
    ActionChains(browser).move_to_element_with_offset(seek, 40, 0).perform()
    until(lambda: run(browser, "document.getElementById('tip').checkVisibility()"))
    picture = run(browser, "document.getElementById('tip-picture').style.backgroundImage")
    assert "data/thumbnails/gate-1.jpg" in picture
    assert text(browser, "tip-text").startswith("0:1")


def test_methods_are_laid_over_each_other(browser):
    click_row(browser, "gate-1")
    until(lambda: run(browser, "document.querySelectorAll('#legend input').length === 2"))
    browser.execute_script("document.querySelectorAll('#legend input')[1].click()")
    assert run(browser, "document.querySelectorAll('.track').length") == 3
    titles = run(browser, "[...document.querySelectorAll('.track i')].map(i => i.title)")
    assert [title.split(":")[0] for title in titles] == ["headhunt", "motion", "annotated"]


def test_filters(browser):
    everything = rows(browser)
    choose(browser, "by-category", "Fire")
    assert rows(browser) == ["gate-1"]
    choose(browser, "by-category", "")
    choose(browser, "by-score", "0.7")
    assert 0 < len(rows(browser)) < len(everything)
    choose(browser, "by-score", "0")
    choose(browser, "by-split", "validation")
    assert rows(browser) == []
    assert "No event passes" in text(browser, "empty")
    choose(browser, "by-split", "")
    choose(browser, "by-method", "all")
    assert len(rows(browser)) > len(everything)
    choose(browser, "search", "van STOPS")
    until(lambda: set(rows(browser)) == {"gate-2"})
    choose(browser, "search", "gate-1")
    until(lambda: set(rows(browser)) == {"gate-1"})


def test_videos_without_events_are_listed_too(browser):
    browser.execute_script("document.getElementById('tab-videos').click()")
    assert set(rows(browser)) == {example.name for example in EXAMPLES}
    click_row(browser, "gate-3")
    assert playing(browser) < 2
    assert run(browser, "document.querySelector('#verdict button').disabled")


def test_keys_play_step_and_mark(browser):
    press(browser, "n")
    playing(browser)
    assert text(browser, "title") == rows(browser)[0]
    press(browser, " ")
    until(lambda: run(browser, "document.querySelector('video').paused"))
    press(browser, "f")
    press(browser, "n")
    until(lambda: text(browser, "title") == rows(browser)[1])
    press(browser, "u")
    press(browser, "p")
    until(lambda: text(browser, "title") == rows(browser)[0])
    press(browser, "f")  # again: no mark
    assert text(browser, "marks-count") == "1 event reviewed: 1 unsure"
    choose(browser, "by-mark", "3")
    assert len(rows(browser)) == 1
    choose(browser, "by-mark", "none")
    assert text(browser, "count").startswith("4 of 5 events")


def test_marks_stay_and_become_rows_of_the_sheet(browser, viewer, tmp_path, capsys):
    from hhvad.cli import main

    click_row(browser, "web=m#1")
    playing(browser)
    press(browser, "t")
    browser.refresh()
    until(lambda: rows(browser))
    assert text(browser, "marks-count") == "1 event reviewed: 1 true"
    click_row(browser, "old")
    until(
        lambda: text(browser, "title") == "old" and run(browser, "document.querySelector('.now')")
    )
    press(browser, "f")
    browser.execute_script("document.getElementById('export').click()")
    exported = tmp_path / "downloads" / "marks-Yard.tsv"
    until(exported.is_file)
    assert [(row["video"], row["mark"]) for row in read_tsv(exported)] == [
        ("old", "false"), ("web=m#1", "true"),
    ]  # fmt: skip
    own = tmp_path / "sheet.tsv"
    shutil.copy(viewer.parents[3] / "videos.tsv", own)
    assert main(["add-marks", str(exported), "--sheet", str(own)]) == 0
    assert "old: test, no label -> validation, normal" in capsys.readouterr().out
    changed = {video.video: video for video in sheet.read(own)}
    assert changed["web=m#1"].events
    assert changed["old"].label == "normal"


def test_a_container_that_browsers_do_not_play_has_a_command(browser):
    click_row(browser, "old")
    until(lambda: not run(browser, "document.getElementById('trouble').hidden"))
    assert "in .avi" in text(browser, "trouble-text")
    assert text(browser, "trouble-command").startswith("ffmpeg -i videos/old.avi ")
    until(lambda: run(browser, "document.querySelectorAll('.track').length"))  # scores are shown


def test_a_video_that_is_not_there_is_named(tmp_path, viewer):
    moved = tmp_path / "moved"
    shutil.copytree(viewer.parent, moved)
    driver = start(tmp_path, "--window-size=1400,1000")
    try:
        driver.get((moved / "index.html").as_uri())
        until(lambda: rows(driver))
        click_row(driver, "gate-1")
        until(lambda: not run(driver, "document.getElementById('trouble').hidden"))
        assert "videos/gate-1.mp4" in text(driver, "trouble-text")
        assert run(driver, "document.querySelectorAll('.track').length")  # scores are shown
        shutil.rmtree(moved / "data")
        driver.refresh()
        until(lambda: "data/study.js is missing" in text(driver, "empty"))
    finally:
        driver.quit()


def test_the_proxy_plays_once_it_is_made(browser, viewer):
    from viewer_study import write_video

    proxy = viewer.parents[3] / "videos" / "old.avi.proxy.mp4"
    write_video(proxy, 300)
    try:
        click_row(browser, "old")
        until(lambda: not run(browser, "document.getElementById('trouble').hidden"))
        browser.execute_script("document.getElementById('try-proxy').click()")
        playing(browser)
        browser.refresh()
        until(lambda: rows(browser))
        click_row(browser, "old")
        playing(browser)  # remembered
    finally:
        proxy.unlink()


def test_titles_are_text(browser):
    click_row(browser, "gate-2")
    playing(browser)
    assert ATTACK in text(browser, "facts")
    assert ATTACK in text(browser, "description")
    assert browser.title == "Yard · hhvad"
    assert run(browser, "document.querySelectorAll('#stage script, #stage img').length") == 0


def test_metrics_are_in_the_page(browser):
    browser.execute_script("document.getElementById('tab-metrics').click()")
    until(lambda: run(browser, "document.querySelectorAll('#metrics section').length === 3"))
    found = text(browser, "metrics")
    for words in ("Comparison", "baselines", "perfect video label", "By category", "fire",
                  "ROC-AUC, frames of all annotated videos", "Expert heads", "0.813"):  # fmt: skip
        assert words in found
    first = run(browser, "[...document.querySelectorAll('#metrics tr')].slice(0, 2)"
                ".map(row => [...row.cells].map(cell => cell.textContent))")  # fmt: skip
    assert first[0] == ["metric", "headhunt", "motion"]
    assert first[1][0] == "AUC"
    assert first[1][1].startswith("1.000")
    assert run(browser, "document.querySelector('#metrics img').src").startswith("data:image/svg")
    assert browser.title == "Yard · hhvad"


def test_nothing_but_files_is_asked_for(browser, viewer):
    import json

    click_row(browser, "gate-1")
    playing(browser)
    browser.execute_script("document.getElementById('tab-metrics').click()")
    until(lambda: text(browser, "metrics"))
    entries = browser.get_log("performance")
    messages = [json.loads(entry["message"])["message"] for entry in entries]
    asked = [
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
        and message["params"]["documentURL"] == viewer.as_uri()  # not the empty tab before it
    ]
    root = viewer.parents[3].as_uri()
    assert asked
    assert [url for url in asked if not url.startswith((root, "data:"))] == []


def test_on_a_phone_the_list_and_the_player_take_turns(tmp_path, viewer):
    driver = start(tmp_path, "--window-size=500,900")
    try:
        driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True},
        )
        driver.get(viewer.as_uri())
        until(lambda: rows(driver))
        click_row(driver, "gate-1")
        playing(driver)
        visible = "document.getElementById(arguments[0]).checkVisibility()"
        assert run(driver, visible, "player")
        assert not run(driver, visible, "finder")
        assert run(driver, "document.documentElement.scrollWidth") <= 390
        driver.execute_script("document.getElementById('back').click()")
        assert run(driver, visible, "finder")
        assert run(driver, "document.querySelector('video').paused")
        assert driver.get_log("browser") == []
    finally:
        driver.quit()
