"""Two users of one machine: a model process each, and none listens to the other."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from campaign import Tally
from study import ROOT, Study

USERS = (60001, 60002)
CODE = "import hhvad.resident.client, hhvad.resident.server"  # what they must be able to read
ASK = """
import socket, sys
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect(sys.argv[1])
    try:
        connection.sendall(b'\\0\\0\\0\\x0e{"op": "stop"}')
        print("answer:", connection.recv(100))
    except ConnectionError:
        print("answer: b''")
"""


def run(user: int, common: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Python with these words, as another user."""
    environment = {**os.environ, "HHVAD_RUNTIME_DIR": str(common), "HOME": str(common)}
    environment.pop("XDG_RUNTIME_DIR", None)
    return subprocess.run(
        [sys.executable, *command],
        user=user,
        group=user,
        extra_groups=[],
        env=environment,
        cwd=common,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )


@pytest.fixture
def common() -> Iterator[Path]:
    """A folder that everybody may write to, as /tmp is."""
    if os.getuid() != 0:
        pytest.skip("only root can act as two users")
    with tempfile.TemporaryDirectory(prefix="users-") as name:
        folder = Path(name)
        folder.chmod(0o1777)
        try:
            is_readable = run(USERS[0], folder, "-c", CODE).returncode == 0
        except PermissionError:  # python itself is in somebody's home
            is_readable = False
        if not is_readable:
            pytest.skip("other users cannot read this installation")
        yield folder


def owner_of(pid: int) -> int:
    return Path(f"/proc/{pid}").stat().st_uid


def models(common: Path) -> dict[int, int]:
    """Owners of the model processes of this folder, by process id."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes()
            if b"serve-model" in words and str(common).encode() in words:
                found[int(entry.name)] = owner_of(int(entry.name))
        except OSError:
            continue
    return found


def test_two_users_on_one_device(common: Path, finished: Study, tally: Tally):
    frames = common / "frames.h5"
    shutil.copy(sorted((finished.folder / "results/demo/frames/video").glob("*/*.h5"))[0], frames)
    frames.chmod(0o644)
    capture = ["-m", "hhvad", "capture-heads", "--frames", str(frames)]
    capture += ["--model", str(ROOT / "hhvad/demo/model"), "--model-name", "demo"]
    capture += ["--prompt-id", "p", "--prompt", "what happens here?", "--device", "cpu"]
    capture += [
        "--system=",
        "--revision=",
        "--commit-file=none",
        "--probe=none",
        "--times=fixed",
        "--outer-marks=no",
        "--dtype",
        "float32",
        "--heads",
        "all",
    ]
    capture += ["--batch-size", "auto", "--threads", "1", "--resident", "yes"]
    capture += ["--idle-timeout", "60"]
    for user in USERS:
        own = common / str(user)
        own.mkdir(mode=0o700)
        os.chown(own, user, user)
    with ThreadPoolExecutor() as pool:
        jobs = [
            pool.submit(run, user, common, *capture, "--out", str(common / str(user) / "heads.h5"))
            for user in USERS
        ]
    for job in jobs:
        assert job.result().returncode == 0, job.result().stdout
    first, second = (common / str(user) / "heads.h5" for user in USERS)
    assert first.read_bytes() == second.read_bytes()
    alive = models(common)
    assert sorted(alive.values()) == list(USERS)

    # Private by its folder; and where a user opened that, the process itself asks who calls.
    (address,) = (common / f"hhvad-{USERS[0]}").glob("*/socket")
    refused = run(USERS[1], common, "-c", ASK, str(address)).stdout
    assert "Permission denied" in refused
    for path in (address.parent.parent, address.parent, address):
        path.chmod(0o777)
    refused = run(USERS[1], common, "-c", ASK, str(address)).stdout
    assert refused == "answer: b''\n"
    assert models(common) == alive
    tally.tried("another user at the model's socket", 2)

    stop = ("-m", "hhvad", "stop-resident", "--all")
    assert run(USERS[1], common, *stop).returncode == 0
    assert list(models(common).values()) == [USERS[0]]
    # The folder is open to others now: its owner is told, rather than trusting it.
    assert "not a private folder" in run(USERS[0], common, *stop).stdout
    address.parent.parent.chmod(0o700)
    assert run(USERS[0], common, *stop).returncode == 0
    end = time.monotonic() + 30
    while models(common):
        assert time.monotonic() < end
        time.sleep(0.1)
