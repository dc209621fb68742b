"""Make docs/viewer.png, the picture in the README, after `make demo`: python docs/viewer_picture.py

It needs chromium, chromedriver, and the packages selenium and pillow (extra `test`).
"""

from __future__ import annotations

import io
import shutil
import sys
import time
from pathlib import Path

from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.by import By

EVENT, SECOND = "test-14-panic", 8.5
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars")


def take(page: Path, picture: Path) -> None:
    """Open an event of the demo's viewer, and take a picture of what one sees."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome") or ""
    for flag in (*FLAGS, "--window-size=1280,860", "--autoplay-policy=no-user-gesture-required"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        driver.get(page.resolve().as_uri())
        time.sleep(2)
        row = driver.find_element(By.XPATH, f"//*[@role='option'][contains(., '{EVENT}')]")
        driver.execute_script("arguments[0].click()", row)
        time.sleep(2)
        script = (
            "const v = document.querySelector('video'); v.pause(); v.currentTime = arguments[0]"
        )
        driver.execute_script(script, SECOND)
        time.sleep(2)
        seen = Image.open(io.BytesIO(driver.get_screenshot_as_png())).convert("RGB")
        seen.quantize(256, dither=Image.Dither.NONE).save(picture, optimize=True)
    finally:
        driver.quit()


if __name__ == "__main__":
    results = Path(sys.argv[1] if len(sys.argv) > 1 else "results/demo")
    take(results / "viewer/index.html", Path(__file__).with_name("viewer.png"))
