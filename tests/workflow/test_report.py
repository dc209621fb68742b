"""The report page, opened in a real headless Chromium."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest
from study import Study

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--window-size=1400,1000",
)  # fmt: skip


@pytest.fixture
def browser(tmp_path: Path):
    if not CHROMIUM or not DRIVER:
        pytest.skip("no chromium and chromedriver here: the page cannot be opened")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


def wait_for(driver, text: str) -> None:
    from selenium.webdriver.common.by import By

    end = time.monotonic() + 20
    while text.lower() not in driver.find_element(By.TAG_NAME, "body").text.lower():
        assert time.monotonic() < end, driver.find_element(By.TAG_NAME, "body").text
        time.sleep(0.2)


def click(driver, text: str) -> None:
    from selenium.webdriver.common.by import By

    (link, *_) = driver.find_elements(
        By.XPATH, f"//*[self::a or self::button][contains(., '{text}')]"
    )
    driver.execute_script("arguments[0].click()", link)


def report(study: Study) -> Path:
    """The page of the study's report."""
    done = study.snakemake("--report", "report.zip")
    assert done.returncode == 0, done.stdout
    shutil.unpack_archive(study.folder / "report.zip", study.folder)
    return study.folder / "report/report.html"


def test_the_report_opens_and_shows_its_figures(finished: Study, browser):
    page = report(finished)
    browser.get(page.as_uri())
    wait_for(browser, "Results")
    text = page.read_text(encoding="utf-8")
    for figure in ("rss.svg", "saliency.svg", "agreement.svg", "features.svg", "roc.svg", "pr.svg"):
        assert f"figures/headhunt/{figure}" in text
    for category, shown in (
        ("Heads", "RSS map"),
        ("Metrics", "precision-recall"),
        ("Videos", finished_test_video(finished)),
    ):
        wait_for(browser, category)
        click(browser, category)
        wait_for(browser, shown)
        browser.get(page.as_uri())
    # The viewer is an item, with every table in it; no table is left to be downloaded.
    assert ".tsv" not in {Path(str(item)).suffix for item in page.parent.glob("data/raw/**/*")}
    wait_for(browser, "Viewer")
    click(browser, "Viewer")
    wait_for(browser, "all tables")
    (item,) = browser.find_elements("css selector", "a[iconname='eye']")
    browser.execute_script("arguments[0].click()", item)
    time.sleep(1)
    browser.switch_to.frame(0)
    wait_for(browser, "Metrics")
    click(browser, "Metrics")
    wait_for(browser, "average precision")
    severe = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    # The page's own fonts and styles come with it; it must ask the network for nothing.
    assert severe == []


def test_names_in_the_report_are_no_code(finished: Study, browser):
    attack = "<script>document.title='pwned'</script><img src=x onerror=\"document.title='pwned'\">"
    rows = finished.rows
    rows[-1]["category"] = attack
    finished.write_rows(rows)
    done = finished.snakemake()
    assert done.returncode == 0, done.stdout
    page = report(finished)
    browser.get(page.as_uri())
    for category in ("Videos", "Metrics"):
        wait_for(browser, category)
        click(browser, category)
        time.sleep(1)
        assert browser.title != "pwned"
        browser.get(page.as_uri())


def finished_test_video(study: Study) -> str:
    return next(row["video"] for row in study.rows if row["split"] == "test")
