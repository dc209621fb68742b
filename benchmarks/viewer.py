"""The viewer of a large study in a real Chromium: how soon the list stands, how fast it filters.

    python benchmarks/viewer.py [--videos 10000] [--events 5] [--folder DIR]

Writes the files of a made-up study, its page with `viewer.page.build`, and opens it from disk in
headless Chromium through chromedriver. Times of filters are from the change of a field to the list
laid out again, of searches with the 40 ms that the page waits for the next letter.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from hhvad import sheet
from hhvad.artifacts.probe import Probe
from hhvad.files import write_tsv
from hhvad.localization.locator import Locator
from hhvad.media.time import FrameTimes
from hhvad.viewer import page

FPS, FRAMES, SEGMENT = 25, 12_000, 200
SENTENCE = "A man in a dark jacket climbs over the fence and runs towards the parked cars."
MEASURE = """
const done = arguments[0], $ = (id) => document.getElementById(id), found = {};
const set = (name, id, value) => {
  $(id).value = value;
  const start = performance.now();
  $(id).dispatchEvent(new Event("input"));
  void $("list").offsetHeight;
  found[name] = performance.now() - start;
};
const frame = () => new Promise(requestAnimationFrame);
set("by score", "by-score", "0.8"); set("by category", "by-category", "Fire");
set("all", "by-category", ""); set("not reviewed", "by-mark", "none"); $("by-mark").value = "";
set("order by time, first", "order", "time"); set("order by length, first", "order", "length");
set("order by score", "order", "score"); set("score again", "by-score", "0");
(async () => {
  for (const words of ["camera-11", "jacket fence", "nothing at all"]) {
    $("search").value = words;
    const start = performance.now();
    const drawn = new Promise((resolve) =>
      new MutationObserver(resolve).observe($("count"), { childList: true }));
    $("search").dispatchEvent(new Event("input"));
    await drawn;
    found[`search "${words}"`] = performance.now() - start;
  }
  $("search").value = ""; $("search").dispatchEvent(new Event("input"));
  await new Promise((resolve) => setTimeout(resolve, 300));
  const start = await frame();
  let last = start, worst = 0;
  for (let i = 0; i < 120; i++) {
    $("list").scrollTop += 30000;
    const now = await frame();
    worst = Math.max(worst, now - last);
    last = now;
  }
  found["frame while scrolling, mean"] = (last - start) / 120;
  found["frame while scrolling, worst"] = worst;
  done(found);
})();
"""


def write_study(root: Path, videos: int, events: int) -> Path:
    """A sheet, and results as the workflow leaves them; written plainly, which is faster."""
    rng = np.random.default_rng(0)
    results = root / "results"
    for name in ("probe", "events/headhunt", "localization/headhunt", "locator"):
        (results / name).mkdir(parents=True)
    locator = Locator(1.0, 0.5, how="made up").to_json()
    (results / "locator/headhunt.json").write_text(json.dumps(locator))
    times = FrameTimes(FRAMES, Fraction(FPS))
    probe = Probe(
        fps=FPS, fps_fraction=str(FPS), frames=FRAMES, width=640, height=360,
        duration=FRAMES / FPS, codec="h264", rotation=0, mirrored=False, pixel_aspect="1",
        decoder="pyav", bytes=1, fingerprint="", started=None, times=times,
    )  # fmt: skip
    rows = []
    for number in range(videos):
        name = f"camera-{number % 97:02d}-{number:05d}"
        about = replace(probe, fingerprint=f"{number:016x}").to_json(name)
        (results / f"probe/{name}.json").write_text(json.dumps(about))
        found = []
        for start in rng.integers(0, 1500, events) + np.arange(events) * FRAMES // events:
            end = min(FRAMES, int(start) + int(rng.integers(50, 800)))
            found.append(
                {
                    "start_frame": int(start), "end_frame": end, "start_seconds": start / FPS,
                    "end_seconds": end / FPS, "peak_score": rng.uniform(0.5, 1),
                    "description": SENTENCE,
                }
            )  # fmt: skip
        text = json.dumps({"video": name, "fps": FPS, "frames": FRAMES, "events": found})
        (results / f"events/headhunt/{name}.json").write_text(text)
        lines = ["start_frame\tend_frame\tscore\tsmoothed"]
        for start, score in zip(range(0, FRAMES, SEGMENT), rng.random(FRAMES), strict=False):
            lines.append(f"{start}\t{start + SEGMENT}\t{score}\t{score}")
        (results / f"localization/headhunt/{name}.tsv").write_text("\n".join(lines) + "\n")
        category = ("Fire", "Assault", "Robbery")[number % 3]
        rows.append((name, f"videos/{name}.mp4", "test", "anomaly", category, "100-400"))
    write_tsv(root / "videos.tsv", sheet.COLUMNS, rows)
    return results


def measure(index: Path, profile: Path) -> dict[str, float]:
    """Milliseconds by what was done."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome") or ""
    for flag in ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                 "--window-size=1440,900", f"--user-data-dir={profile}"):  # fmt: skip
        options.add_argument(flag)
    driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        driver.get("about:blank")
        start = time.perf_counter()
        driver.get(index.as_uri())
        while not driver.execute_script("return document.querySelector('.row')"):
            time.sleep(0.01)
        stands = 1000 * (time.perf_counter() - start)
        paints = "return performance.getEntriesByName('first-contentful-paint')[0].startTime"
        first = driver.execute_script(paints)
        found = driver.execute_async_script(MEASURE)
        return {"first paint": first, "list stands": stands, **found}
    finally:
        driver.quit()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--videos", type=int, default=10_000)
    parser.add_argument("--events", type=int, default=5, help="per video")
    parser.add_argument("--folder", help="kept afterwards; default: a temporary one")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(arguments.folder or temporary)
        results = write_study(root, arguments.videos, arguments.events)
        index = results / "viewer/index.html"
        for turn in ("first", "nothing has changed"):
            start = time.perf_counter()
            page.build(
                sheet.read(root / "videos.tsv"), results=results, study="large",
                methods=["headhunt"], video_root=root, out=index,
            )  # fmt: skip
            print(f"page written, {turn}: {time.perf_counter() - start:.1f} s")
        for name in ("index.html", "data/study.js"):
            print(f"{name}: {(index.parent / name).stat().st_size / 1e3:.0f} kB")
        for name, value in measure(index, Path(temporary) / "profile").items():
            print(f"{name}: {value:.0f} ms")


if __name__ == "__main__":
    main()
