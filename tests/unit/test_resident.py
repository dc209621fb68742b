"""The resident model process: mostly around a fake engine (fake_resident.py), twice a real one."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
from fake_resident import FakeEngine

from hhvad.artifacts import hdf5 as artifacts
from hhvad.cli import main
from hhvad.errors import ArtifactError, ConfigError, ModelError
from hhvad.mllm.tasks import capture as capturing
from hhvad.mllm.tasks import find
from hhvad.resident import client as resident
from hhvad.resident import lock, wire
from hhvad.resident import server as serve

FAKE = (sys.executable, "-P", str(Path(__file__).with_name("fake_resident.py")))
REAL = resident.COMMAND
PROMPTS = [f"Is it abnormal, put in way {i}?" for i in range(5)]


@pytest.fixture
def runtime(tmp_path, monkeypatch):
    """A runtime folder of this test's own; every process in it is killed at the end."""
    folder = tmp_path / "run"
    folder.mkdir()
    monkeypatch.setenv("HHVAD_RUNTIME_DIR", str(folder))
    monkeypatch.setenv("HHVAD_RESIDENT_EVENTS", str(tmp_path / "events"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(resident, "COMMAND", FAKE)
    yield folder
    for pid in living(folder):
        os.kill(pid, signal.SIGKILL)


@pytest.fixture
def fake(monkeypatch, tmp_path):
    """Sets the fake engine's behaviour; its captures are logged in tmp_path/captures."""

    def behave(**behaviour):
        behaviour["log"] = str(tmp_path / "captures")
        monkeypatch.setenv("FAKE_ENGINE", json.dumps(behaviour))

    behave()
    return behave


def living(runtime):
    """The processes that have a file of `runtime` open (their lock, their log)."""
    pids = set()
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            inside = str(link.readlink()).startswith(f"{runtime}/")
        except OSError:
            continue
        if inside and int(link.parts[2]) != os.getpid():
            pids.add(int(link.parts[2]))
    return pids


def wait_until(condition, timeout=10.0):
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def nothing_left(runtime):
    return not living(runtime) and not list(runtime.iterdir())


def write_frames(path, segments=3, seed=0, **provenance):
    frames = np.random.default_rng(seed).integers(0, 255, (segments, 2, 32, 32, 3), np.uint8)
    starts = np.arange(segments, dtype=np.int64)[:, None] * 48
    given = {"video": path.stem, "view": "video", "frames_per_segment": 2, "segment_length": 48}
    given |= {"size": [32, 32], "resize": "bicubic", "fps": 25.0, "decoder": "decord"}
    given |= {"n_frames": 48 * segments} | provenance
    arrays = {
        "frames": frames,
        "indices": starts + np.arange(2),
        "segments": np.concatenate([starts, starts + 48], axis=1),
    }
    artifacts.write(path, "frames", arrays, given)
    return path


def job_of(frames, out, prompt=PROMPTS[0], **other):
    job = {"task": "capture", "about": str(frames)}
    job |= {"frames": str(frames), "out": str(out), "prompt": prompt, "prompt_id": "p"}
    job |= {"siblings": PROMPTS, "heads": None, "system": "", "batch_size": "auto"}
    return job | {"model_name": "fake", "revision": None} | other


def capture(job, report=lambda event: None, device="cpu", idle=30.0):
    holdings = resident.on_devices(resident.Holding("model", device=device))
    return resident.Resident(holdings, idle_timeout=idle).ask(job, report)


def lines(path):
    return path.read_text().splitlines() if path.exists() else []


def captures(tmp_path):
    return [json.loads(line) for line in lines(tmp_path / "captures")]


# --- one load for all, siblings together ---


def test_many_jobs_at_once_load_the_model_once(runtime, fake, tmp_path):
    fake(load=0.3)
    videos = [write_frames(tmp_path / f"v{i}.h5", seed=i) for i in range(8)]
    jobs = [
        job_of(video, tmp_path / "out" / f"{video.stem}-{i}.h5", prompt)
        for i, prompt in enumerate(PROMPTS)
        for video in videos
    ]
    with ThreadPoolExecutor(16) as pool:
        done = list(pool.map(capture, jobs))
    assert len(lines(tmp_path / "events")) == 1
    assert sum(len(prompts) for _, prompts in captures(tmp_path)) == len(jobs)  # each once
    assert sum(d["kept"] for d in done) == len(jobs) - len(videos)
    assert len(list((tmp_path / "out").iterdir())) == len(jobs)
    assert resident.stop() == (1, 0)
    assert nothing_left(runtime)


def test_a_kept_answer_is_what_the_job_alone_gives(runtime, fake, tmp_path):
    frames = write_frames(tmp_path / "v.h5")
    capture(job_of(frames, tmp_path / "first.h5"))
    assert capture(job_of(frames, tmp_path / "kept.h5", PROMPTS[3]))["kept"]
    alone = job_of(frames, tmp_path / "alone.h5", PROMPTS[3], siblings=[])
    assert not serve.do_here(lambda: FakeEngine({}), find, alone, lambda event: None)["kept"]
    assert (tmp_path / "kept.h5").read_bytes() == (tmp_path / "alone.h5").read_bytes()


def test_what_was_delivered_is_not_computed_again_as_a_sibling(runtime, fake, tmp_path):
    frames = write_frames(tmp_path / "v.h5")
    for prompt in (PROMPTS[0], PROMPTS[1], "another"):
        capture(job_of(frames, tmp_path / "out.h5", prompt))
    assert [prompts for _, prompts in captures(tmp_path)] == [PROMPTS, ["another"]]


def test_changed_frames_or_other_heads_are_not_answered_from_memory(runtime, fake, tmp_path):
    frames = write_frames(tmp_path / "v.h5")
    capture(job_of(frames, tmp_path / "out.h5"))
    few = job_of(frames, tmp_path / "few.h5", PROMPTS[1], heads=[[2, 3], [0, 1]])
    assert not capture(few)["kept"]
    assert artifacts.read(tmp_path / "few.h5", "features")["heads"].tolist() == [[2, 3], [0, 1]]
    write_frames(frames, seed=1)
    assert not capture(job_of(frames, tmp_path / "out.h5", PROMPTS[1]))["kept"]


def test_what_a_file_says_of_itself(runtime, fake, tmp_path):
    frames = write_frames(tmp_path / "v.h5", segments=4)
    capture(job_of(frames, tmp_path / "out.h5", revision="abc", system="Be brief."))
    artifact = artifacts.read(tmp_path / "out.h5", "features")
    assert artifact["features"].shape == (4, 3, 4, 2)
    assert artifact["features"].dtype == np.float32
    assert artifact["segments"].tolist() == [[48 * i, 48 * i + 48] for i in range(4)]
    sampling = {
        "frames_per_segment": 2,
        "segment_length": 48,
        "size": [32, 32],
        "resize": "bicubic",
    }
    expected = {"video": "v", "model": "fake", "revision": "abc", "fingerprint": "f"}
    expected |= {"architecture": "fake", "dtype": "float32", "prompt": "p", "view": "video"}
    expected |= {"torch": "0", "transformers": "0", "commit": None}
    expected |= {"prompt_text": PROMPTS[0], "sampling": sampling, "decoder": "decord"}
    expected |= {"fps": 25.0, "n_frames": 192}
    expected |= {"system": "Be brief.", "text": f"Be brief.<2 frames> {PROMPTS[0]}"}
    found = dict(artifact.provenance)
    found.pop("hhvad")
    assert found == expected
    assert str(tmp_path).encode() not in (tmp_path / "out.h5").read_bytes()


def test_events_of_a_job(runtime, fake, tmp_path):
    frames = write_frames(tmp_path / "v.h5", segments=2)
    seen = []
    capture(job_of(frames, tmp_path / "out.h5"), seen.append)
    kinds = [event["event"] for event in seen]
    assert kinds[:4] == ["loading", "loaded", "started", "text"]
    assert seen[0 - 1] == {"event": "progress", "done": 2, "total": 2}
    assert seen[3]["text"] == f"<2 frames> {PROMPTS[0]}"
    again = []
    capture(job_of(frames, tmp_path / "out.h5"), again.append)
    assert "text" not in [event["event"] for event in again]  # once a run
    assert again[0]["seconds"] == 0


# --- its end ---


def test_an_idle_process_leaves_nothing(runtime, fake, tmp_path):
    capture(job_of(write_frames(tmp_path / "v.h5"), tmp_path / "out.h5"), idle=0.3)
    assert living(runtime)
    wait_until(lambda: nothing_left(runtime))


def test_sigterm_leaves_nothing_even_at_work(runtime, fake, tmp_path):
    fake(segment=30)
    frames = write_frames(tmp_path / "v.h5")
    with client(frames, tmp_path / "out.h5") as process:
        wait_until(lambda: captures(tmp_path))
        (pid,) = {pid for pid, _ in captures(tmp_path)}
        process.kill()
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: nothing_left(runtime))
    assert not (tmp_path / "out.h5").exists()


def test_stop_ends_those_of_this_allocation(runtime, fake, tmp_path, monkeypatch):
    frames = write_frames(tmp_path / "v.h5")
    capture(job_of(frames, tmp_path / "out.h5"))
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    capture(job_of(frames, tmp_path / "out.h5"))
    assert len(living(runtime)) == 2  # another allocation never shares a process
    assert resident.stop() == (1, 0)
    assert len(living(runtime)) == 1
    assert resident.stop(everywhere=True) == (1, 0)
    assert nothing_left(runtime)
    assert resident.stop() == (0, 0)
    assert not list(runtime.iterdir())


def test_stop_lets_jobs_finish(runtime, fake, tmp_path):
    fake(segment=0.3)
    frames = write_frames(tmp_path / "v.h5")
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(capture, job_of(frames, tmp_path / "out.h5"))
        wait_until(lambda: captures(tmp_path))
        assert resident.stop(timeout=0.1) == (0, 1)
        assert running.result()["segments"] == 3
    wait_until(lambda: nothing_left(runtime))


def test_a_client_that_dies_costs_no_more_computing(runtime, fake, tmp_path):
    fake(segment=0.1)
    slow = write_frames(tmp_path / "slow.h5", segments=100)
    with client(slow, tmp_path / "slow-out.h5") as process:
        wait_until(lambda: captures(tmp_path))
        process.kill()
        begin = time.monotonic()
        capture(job_of(write_frames(tmp_path / "v.h5", segments=1), tmp_path / "out.h5"))
        assert time.monotonic() - begin < 3
    assert len(lines(tmp_path / "events")) == 1
    assert not (tmp_path / "slow-out.h5").exists()


# --- its death ---


def test_kill_9_in_mid_run_costs_a_reload(runtime, fake, tmp_path):
    fake(segment=0.05)
    videos = [write_frames(tmp_path / f"v{i}.h5", seed=i) for i in range(6)]
    with ThreadPoolExecutor(6) as pool:
        running = [
            pool.submit(capture, job_of(video, tmp_path / f"{video.stem}-out.h5"))
            for video in videos
        ]
        wait_until(lambda: len(captures(tmp_path)) == 2)
        os.kill(captures(tmp_path)[0][0], signal.SIGKILL)
        assert [r.result()["segments"] for r in running] == [3] * 6
    assert len(lines(tmp_path / "events")) == 2
    assert resident.stop() == (1, 0)
    assert nothing_left(runtime)


def test_a_deadly_job_fails_alone(runtime, fake, tmp_path):
    fake(load=0.3)
    frames = [write_frames(tmp_path / f"v{i}.h5", seed=i) for i in range(4)]
    jobs = [job_of(f, tmp_path / f"{f.stem}-out.h5", siblings=[]) for f in frames]
    jobs[0]["prompt"] = "a deadly one"
    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(capture, job) for job in jobs]
        with pytest.raises(ModelError, match="died twice"):
            running[0].result()
        assert [r.result()["segments"] for r in running[1:]] == [3] * 3
    resident.stop()
    assert nothing_left(runtime)


def test_what_killed_processes_left_is_swept(runtime, fake, tmp_path):
    capture(job_of(write_frames(tmp_path / "v.h5"), tmp_path / "out.h5"))
    (pid,) = living(runtime)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not living(runtime))
    assert list(runtime.glob("*/*/socket"))
    resident.stop()
    assert not list(runtime.iterdir())


def test_a_bug_ends_the_process_and_is_told_as_a_bug(runtime, fake, tmp_path):
    fake(bug="capture")
    job = job_of(write_frames(tmp_path / "v.h5"), tmp_path / "out.h5")
    with pytest.raises(RuntimeError, match="a bug while computing"):
        capture(job)
    wait_until(lambda: nothing_left(runtime))
    fake()
    assert capture(job)["segments"] == 3


@pytest.mark.parametrize("stage", ["load", "capture"])
def test_a_users_mistake_reaches_each_job(runtime, fake, tmp_path, stage):
    fake(fail=stage, load=0.2)
    videos = [write_frames(tmp_path / f"v{i}.h5", seed=i) for i in range(4)]
    with ThreadPoolExecutor(4) as pool:
        jobs = [job_of(video, tmp_path / f"{video.stem}-out.h5") for video in videos]
        for running in [pool.submit(capture, job) for job in jobs]:
            with pytest.raises(ModelError, match=r"no such checkpoint|out of memory for one"):
                running.result()
    if stage == "load":  # a process without a model ends at once: the next job tries again
        wait_until(lambda: nothing_left(runtime))
    assert not list(tmp_path.glob("*-out.h5"))


def test_a_process_that_does_not_start(runtime, tmp_path, monkeypatch):
    command = (sys.executable, "-c", "raise SystemExit('no room for me')")
    monkeypatch.setattr(resident, "COMMAND", command)
    with pytest.raises(ModelError, match=r"did not start.*no room for me"):
        capture(job_of(write_frames(tmp_path / "v.h5"), tmp_path / "out.h5"))
    assert not list(runtime.iterdir())


def test_a_process_that_ends_as_it_starts(runtime, tmp_path, monkeypatch):
    monkeypatch.setattr(resident, "COMMAND", (sys.executable, "-c", "print('goodbye')"))
    with pytest.raises(ModelError, match=r"ends as soon as it starts.*goodbye"):
        capture(job_of(write_frames(tmp_path / "v.h5"), tmp_path / "out.h5"))


# --- who may talk to it ---


def test_another_code_version_never_attaches(runtime, fake, tmp_path, monkeypatch):
    job = job_of(write_frames(tmp_path / "v.h5"), tmp_path / "out.h5")
    capture(job)
    old = living(runtime)
    monkeypatch.setattr(resident, "code_version", lambda: "another")
    # The started process runs the code that is there, not the one that was asked for: it refuses.
    with pytest.raises(ModelError, match="has just changed"):
        capture(job)
    assert living(runtime) == old


def test_a_new_checkpoint_in_the_same_folder_is_another_address():
    holding = resident.Holding("model", stamp="one")
    assert holding.address() == resident.Holding("model", stamp="one").address()
    for other in (
        resident.Holding("model", stamp="two"),
        resident.Holding("other", stamp="one"),
        resident.Holding("model", stamp="one", revision="r"),
        resident.Holding("model", stamp="one", dtype="float16"),
        resident.Holding("model", stamp="one", device="cpu"),
        resident.Holding("model", stamp="one", threads=2),
        resident.Holding("model", stamp="one", visible="1"),
    ):
        assert other.address() != holding.address()


@contextmanager
def server(tmp_path, monkeypatch, idle=30.0, **behaviour):
    """A server in this very process; yields the folder of its socket."""
    folder = tmp_path / "server"
    folder.mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(folder / "socket"))
        listener.listen()
        running = serve.Server(listener, lambda: FakeEngine(behaviour), find, idle)
        thread = threading.Thread(target=running.run)
        thread.start()
        try:
            yield folder
        finally:
            running.terminated = True
            thread.join(10)
            running._worker.shutdown()
    assert not thread.is_alive()


def ask(folder, message):
    with wire.connect(folder, timeout=10) as connection:
        with suppress(BrokenPipeError):  # refused before it was read
            connection.send(message)
        return list(iter(connection.receive, None))


def test_another_users_request_is_refused(tmp_path, monkeypatch, capfd):
    job = job_of(write_frames(tmp_path / "v.h5"), tmp_path / "out.h5") | {"op": "task"}
    with server(tmp_path, monkeypatch) as folder:
        monkeypatch.setattr(serve, "peer_uid", lambda connection: os.getuid() + 1)
        assert ask(folder, job) == []
        assert not (tmp_path / "out.h5").exists()
        monkeypatch.setattr(serve, "peer_uid", wire.peer_uid)
        assert ask(folder, job)[-1]["event"] == "done"
    assert "another user" in capfd.readouterr().err


def test_a_client_trusts_no_other_users_process(tmp_path, monkeypatch):
    with server(tmp_path, monkeypatch) as folder:
        monkeypatch.setattr(wire, "peer_uid", lambda connection: os.getuid() + 1)
        assert wire.connect(folder, 10) is None


@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.1\r\n\r\n", b"\xff\n", b"[]\n", b"{", b""])
def test_garbage_harms_nobody(tmp_path, monkeypatch, garbage):
    job = job_of(write_frames(tmp_path / "v.h5"), tmp_path / "out.h5") | {"op": "task"}
    with server(tmp_path, monkeypatch) as folder:
        with wire.connect(folder, timeout=10) as connection:
            connection.socket.sendall(garbage)
            connection.socket.shutdown(socket.SHUT_WR)
            with suppress(ConnectionResetError):
                assert connection.socket.recv(1) == b""
        assert ask(folder, job)[-1]["event"] == "done"


def test_siblings_are_computed_as_far_as_they_can_be_kept(tmp_path, monkeypatch, fake):
    job = job_of(write_frames(tmp_path / "v.h5"), tmp_path / "out.h5") | {"op": "task"}
    monkeypatch.setattr(capturing, "KEPT_BYTES", 2 * 3 * 3 * 4 * 2 * 4)  # two siblings' features
    log = str(tmp_path / "captures")
    with server(tmp_path, monkeypatch, log=log) as folder:
        assert ask(folder, job)[-1] == {"event": "done", "segments": 3, "kept": False}
        assert ask(folder, job | {"prompt": PROMPTS[1]})[-1]["kept"]
    assert [len(prompts) for _, prompts in captures(tmp_path)] == [3]


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o701])
def test_a_folder_that_others_can_enter_is_refused(runtime, mode):
    folder = runtime / f"hhvad-{os.getuid()}"
    folder.mkdir()
    folder.chmod(mode)
    with pytest.raises(ConfigError, match="not a private folder"):
        lock.runtime_folder()


def test_a_link_instead_of_the_folder_is_refused(runtime, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    (runtime / f"hhvad-{os.getuid()}").symlink_to(elsewhere)
    with pytest.raises(ConfigError, match="not a private folder"):
        lock.runtime_folder()


def test_a_runtime_folder_too_deep_for_a_socket_address(runtime, fake, tmp_path, monkeypatch):
    deep = runtime / ("d" * 60) / ("e" * 60)
    monkeypatch.setenv("HHVAD_RUNTIME_DIR", str(deep))
    job = job_of(write_frames(tmp_path / "v.h5"), tmp_path / "out.h5")
    assert capture(job)["segments"] == 3
    assert resident.stop() == (1, 0)
    assert not list(deep.iterdir())


def test_a_stale_xdg_folder_is_passed_over(tmp_path, monkeypatch):
    monkeypatch.delenv("HHVAD_RUNTIME_DIR", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "absent"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert lock.runtime_folder() == tmp_path / f"hhvad-{os.getuid()}"


# --- several devices ---


def test_jobs_spread_over_devices_and_a_videos_prompts_stay_together(runtime, fake, tmp_path):
    fake(segment=0.1)
    videos = [write_frames(tmp_path / f"v{i}.h5", seed=i) for i in range(4)]
    jobs = [
        job_of(video, tmp_path / f"{video.stem}-{i}-out.h5", prompt)
        for video in videos
        for i, prompt in enumerate(PROMPTS[:3])
    ]
    with ThreadPoolExecutor(len(jobs)) as pool:
        done = list(pool.map(lambda job: capture(job, device="cuda:0,cuda:1"), jobs))
    assert sum(d["kept"] for d in done) == 8
    pids = [pid for pid, _ in captures(tmp_path)]
    # Four videos over two processes; how many each got depends on which was up first.
    assert len(pids) == 4
    assert len(set(pids)) == 2
    assert len(lines(tmp_path / "events")) == 2
    assert resident.stop() == (2, 0)
    assert nothing_left(runtime)


@pytest.mark.parametrize(
    ("visible", "build", "expected"),
    [
        ("", "2.13+cu130", [None]),
        ("0", "2.13+cu130", [None]),
        ("3,5", "2.13+cu130", ["3", "5"]),
        ("MIG-a,MIG-b", "2.13", ["MIG-a", "MIG-b"]),
        ("0,1", "2.13+cpu", [None]),
        ("-1", "2.13", [None]),
    ],
)
def test_auto_is_one_process_a_visible_gpu(monkeypatch, visible, build, expected):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setattr("importlib.metadata.version", lambda name: build)
    found = resident.on_devices(resident.Holding("model"))
    assert [holding.visible for holding in found] == expected
    assert {holding.device for holding in found} == {"cuda:0" if len(expected) > 1 else "auto"}


@pytest.mark.parametrize("device", ["cuda:0,", "cuda:0,cuda:0", ""])
def test_a_list_of_devices_that_is_none(device):
    with pytest.raises(ConfigError, match="--device"):
        resident.on_devices(resident.Holding("model", device=device))


# --- the command ---


def arguments(frames, out, *more, model="."):
    given = ["capture-heads", "--frames", str(frames), "--model", str(model), "--device", "cpu"]
    given += ["--model-name", "tiny", "--prompt-id", "p", "--prompt", PROMPTS[0], "--threads", "1"]
    given += [
        "--revision",
        "",
        "--commit-file",
        "none",
        "--dtype",
        "auto",
        "--system",
        "",
        "--heads",
        "all",
    ]
    given += ["--probe", "none", "--times", "fixed", "--outer-marks", "no"]
    given += ["--batch-size", "auto", "--resident", "yes", "--idle-timeout", "60"]
    return [*given, "--out", str(out), *more]


@contextmanager
def client(frames, out):
    """A job as a process of its own."""
    code = "import sys; from fake_resident import run_client; run_client(sys.argv[1])"
    process = subprocess.Popen(
        [sys.executable, "-c", code, json.dumps(job_of(frames, out))],
        cwd=Path(__file__).parent,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A tiny InternVL checkpoint."""
    checkpoints = pytest.importorskip("tiny_checkpoints")
    return checkpoints.internvl(tmp_path_factory.mktemp("model"))


def test_the_real_model_200_jobs_one_load_and_the_same_bytes_without_residency(
    runtime, fake, tiny, tmp_path, capfd
):
    fake(real=True)
    prompts = tmp_path / "prompts.yaml"
    texts = "".join(f"  p{i}: {text}\n" for i, text in enumerate(PROMPTS))
    prompts.write_text(f"online: p0\nprompts:\n{texts}")
    videos = [write_frames(tmp_path / f"v{i}.h5", segments=1, seed=i) for i in range(40)]
    more = ["--siblings", str(prompts)]
    runs = [
        arguments(video, tmp_path / f"p{i}-{video.name}", *more, "--prompt", text, model=tiny)
        for i, text in enumerate(PROMPTS)
        for video in videos
    ]
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(main, runs)) == {0}
    assert len(lines(tmp_path / "events")) == 1
    assert main(arguments(videos[7], tmp_path / "few.h5", "--heads", "1,2 0,1", model=tiny)) == 0
    assert main(["stop-resident"]) == 0
    assert nothing_left(runtime)
    logged = capfd.readouterr().err
    assert logged.count("text sent to the model: '<|im_start|>user\\nFrame1: ") == len(PROMPTS)
    assert logged.count("loaded internvl, 4 layers x 4 heads, float32 on cpu, process ") >= 1

    alone = arguments(videos[7], tmp_path / "alone.h5", "--resident", "no", model=tiny)
    assert main([*alone, "--prompt", PROMPTS[3]]) == 0
    assert (tmp_path / "alone.h5").read_bytes() == (tmp_path / "p3-v7.h5").read_bytes()
    assert main([*alone, "--heads", "1,2 0,1"]) == 0
    assert (tmp_path / "alone.h5").read_bytes() == (tmp_path / "few.h5").read_bytes()


def test_a_client_imports_nothing_heavy_and_is_quick(runtime, fake, tmp_path):
    frames = write_frames(tmp_path / "v.h5")
    capture(job_of(frames, tmp_path / "out.h5"))
    code = (
        "import sys; from fake_resident import run_client; run_client(sys.argv[1]);"
        "print([m for m in ('numpy', 'h5py', 'torch', 'yaml') if m in sys.modules])"
    )
    job = json.dumps(job_of(frames, tmp_path / "out.h5", PROMPTS[1]))
    begin = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code, job],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
    assert time.monotonic() - begin < 2


def test_bad_input_is_one_line_and_no_file(runtime, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(resident, "COMMAND", REAL)
    resident.code_version.cache_clear()
    frames = write_frames(tmp_path / "v.h5")
    broken = tmp_path / "broken.h5"
    broken.write_bytes(frames.read_bytes()[:3000])
    empty = tmp_path / "empty.h5"
    artifacts.write(empty, "frames", {"frames": np.zeros((0, 2, 4, 4, 3), np.uint8)}, {})
    no_prompts = tmp_path / "prompts.yaml"
    no_prompts.write_text("prompts: [a]")
    out = tmp_path / "out.h5"
    for more, message in (
        (["--frames", "absent.h5"], "absent.h5: there is no such file"),
        (["--frames", str(broken)], "broken.h5: is cut off"),
        (["--frames", str(empty)], "'segments' is absent"),
        (["--heads", "1,2,3"], "'1,2,3' is not layer,head"),
        (["--heads", "1,2 1,2"], "each head once"),
        (["--heads", ""], "each head once"),
        (["--prompt", " "], "prompt 'p' is empty"),
        (["--siblings", str(no_prompts)], "not a prompts file"),
        (["--siblings", "absent.yaml"], "absent.yaml: there is no such file"),
        (["--device", "cuda:0,,"], "--device"),
        (["--model", str(tmp_path / "nowhere")], "nowhere: there is no such checkpoint folder"),
    ):
        assert main(arguments(frames, out, *more)) == 2, more
        error = capfd.readouterr().err.splitlines()
        assert error[-1].startswith("hhvad: error: "), error
        assert message in error[-1]
        assert not [line for line in error[:-1] if line != "loading the model"]
    assert not out.exists()


@pytest.mark.parametrize(
    "more",
    [
        ["--batch-size", "0"],
        ["--threads", "two"],
        ["--idle-timeout", "-1"],
        ["--idle-timeout", "inf"],
        ["--dtype", "int8"],
    ],
)
def test_bad_arguments_are_one_line(tmp_path, capsys, more):
    with pytest.raises(SystemExit) as caught:
        main(arguments("v.h5", tmp_path / "out.h5", *more))
    assert caught.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_full_disk_or_a_wrong_folder_is_the_jobs_error(runtime, fake, tmp_path):
    (tmp_path / "file").write_text("")
    job = job_of(write_frames(tmp_path / "v.h5"), tmp_path / "file" / "out.h5")
    with pytest.raises(ArtifactError, match="cannot be written"):
        capture(job)
    assert capture(job | {"out": str(tmp_path / "out.h5")})["segments"] == 3
