"""What a watcher tells: outputs that fail for a while, a real broker, numbers for Prometheus."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from hhvad.errors import ConfigError
from hhvad.live.watch import outputs
from hhvad.live.watch.metrics import Metrics, serve
from hhvad.live.watch.outputs import Output, to_command, to_mqtt, to_webhook


def write(path: Path, first: int, count: int) -> None:
    with path.open("a") as file:
        for number in range(first, first + count):
            file.write(json.dumps({"id": str(number), "state": "open"}) + "\n")


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outputs, "FIRST", 0.02)


@pytest.fixture
def hook():
    """A server that refuses the first two requests; what it took."""
    taken: list[dict] = []
    refusals = iter([500, 404])

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            code = next(refusals, 200)
            if code == 200:
                taken.append(json.loads(body))
            self.send_response(code)
            self.end_headers()

        def log_message(self, *words):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/alarm", taken
    server.shutdown()
    server.server_close()


def test_a_webhook_that_fails_twice_is_told_all_in_order(tmp_path, hook, quick, capsys):
    url, taken = hook
    (tmp_path / "url").write_text(f"{url}\n")
    events, told = tmp_path / "events.jsonl", tmp_path / "webhook.told"
    write(events, 0, 1)  # from before there was a webhook
    counts = []
    one = Output(
        "webhook", to_webhook(f"@{tmp_path / 'url'}"), events, told, lambda *now: counts.append(now)
    )
    write(events, 1, 3)
    one.wake()
    assert one.finish(20) == 0
    assert [event["id"] for event in taken] == ["1", "2", "3"]
    assert capsys.readouterr().err.count("webhook: answered 500; trying again") == 1
    write(events, 4, 1)
    Output("webhook", to_webhook(url), events, told).finish(20)  # a restart
    assert [event["id"] for event in taken] == ["1", "2", "3", "4"]
    assert counts[-1] == (3, 0, 0)


def test_what_waits_is_bounded(tmp_path, quick, monkeypatch):
    monkeypatch.setattr(outputs, "LONGEST", 5)
    events, taken, counts = tmp_path / "events.jsonl", [], []
    gate = threading.Event()

    def send(line: bytes) -> None:
        if not gate.is_set():
            raise OSError("down")
        taken.append(json.loads(line)["id"])

    one = Output("x", send, events, tmp_path / "told", lambda *now: counts.append(now))
    write(events, 0, 12)
    one.wake()
    while not (counts and counts[-1][2]):
        time.sleep(0.01)
    gate.set()
    assert one.finish(20) == 0
    assert taken == [str(number) for number in range(7, 12)]
    assert counts[-1] == (5, 0, 7)


def test_a_torn_line_waits_for_its_end(tmp_path):
    events, taken = tmp_path / "events.jsonl", []
    one = Output("x", taken.append, events, tmp_path / "told")
    events.write_text('{"id":"1"}\n{"id"')
    assert one.finish(10) == 0
    assert taken == [b'{"id":"1"}\n']


def test_a_command_gets_each_change(tmp_path, quick, capfd):
    program = tmp_path / "program.py"
    program.write_text(
        "import pathlib, sys\n"
        f"tries = pathlib.Path({str(tmp_path / 'tries')!r})\n"
        "text = tries.read_text() if tries.exists() else ''\n"
        "tries.write_text(text + sys.stdin.readline())\n"
        "print('said')\n"
        "sys.exit(not text)\n"  # the first call fails
    )
    events = tmp_path / "events.jsonl"
    one = Output(
        "on-event", to_command(f"{sys.executable} {program}"), events, tmp_path / "on-event.told"
    )
    write(events, 0, 2)
    assert one.finish(30) == 0
    tries = (tmp_path / "tries").read_text().splitlines()
    assert [json.loads(line)["id"] for line in tries] == ["0", "0", "1"]
    told = capfd.readouterr()
    assert told.out == ""  # standard output is for events
    assert "said" in told.err


def test_a_reader_that_has_gone_ends_the_watcher(tmp_path):
    def gone(line: bytes) -> None:
        raise BrokenPipeError

    events = tmp_path / "events.jsonl"
    one = Output(outputs.STDOUT, gone, events, tmp_path / "told")
    write(events, 0, 1)
    one.finish(0.5)
    assert isinstance(one.broken, BrokenPipeError)


@pytest.mark.parametrize(
    ("make", "given", "message"),
    [
        (to_webhook, "file:///etc/passwd", "--webhook: must be http://HOST or https://HOST"),
        (to_webhook, "http://", "must be http"),
        (to_webhook, "http://host:x", "must be http"),
        (to_mqtt, "tcp://user:secret@host", "--mqtt: must be mqtt://HOST"),
        (to_mqtt, "mqtt://host/all/+", "wildcard"),
        (to_command, "no-such-program", "no such program"),
    ],
)
def test_mistakes_are_named_without_passwords(make, given, message):
    pytest.importorskip("paho.mqtt.client")
    with pytest.raises(ConfigError, match=message) as error:
        make(given)
    assert "secret" not in str(error.value)


@pytest.mark.skipif(
    not (shutil.which("mosquitto") or Path("/usr/sbin/mosquitto").exists()),
    reason="mosquitto, an MQTT broker, is not installed",
)
def test_a_real_broker_gets_each_change_though_it_comes_late(tmp_path, quick):
    client_of = pytest.importorskip("paho.mqtt.client")
    from paho.mqtt.enums import CallbackAPIVersion

    port, taken = free_port(), []
    events = tmp_path / "events.jsonl"
    one = Output(
        "mqtt",
        to_mqtt(f"mqtt://127.0.0.1:{port}/site/alarms"),
        events,
        tmp_path / "mqtt.told",
    )
    write(events, 0, 2)
    one.wake()
    time.sleep(0.3)  # there is no broker yet
    program = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
    config = tmp_path / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
    broker = subprocess.Popen([program, "-c", str(config)], stderr=subprocess.DEVNULL)
    reader = client_of.Client(CallbackAPIVersion.VERSION2)
    subscribed = threading.Event()
    reader.on_subscribe = lambda *words: subscribed.set()
    reader.on_message = lambda client, data, message: taken.append(json.loads(message.payload))
    try:
        for _ in range(100):
            try:
                reader.connect("127.0.0.1", port)
                break
            except OSError:
                time.sleep(0.05)
        reader.subscribe("site/#", qos=1)
        reader.loop_start()
        assert subscribed.wait(10)
        write(events, 2, 2)
        one.wake()
        assert one.finish(30) == 0
        end = time.monotonic() + 10
        while not {"2", "3"} <= {event["id"] for event in taken} and time.monotonic() < end:
            time.sleep(0.05)
        assert [event["id"] for event in taken][-2:] == ["2", "3"]
    finally:
        reader.disconnect()
        reader.loop_stop()
        broker.kill()
        broker.wait()


def test_the_metrics_are_what_prometheus_reads():
    parser = pytest.importorskip("prometheus_client.parser")
    metrics = Metrics()
    list(parser.text_string_to_metric_families(metrics.text()))  # nothing is known yet
    camera = 'a "door"\\'
    metrics.scored(camera, 0.25, 2.0)
    metrics.scored(camera, 0.5, 4.0)
    metrics.judged(1.0, 4.0)
    metrics.output("webhook", 3, 2, 1)
    counts = metrics.camera(camera)
    counts.dropped, counts.files, counts.is_open, counts.behind = 7, 2, True, 12.5
    text = metrics.text()
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in parser.text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert found["hhvad_segments_total", camera] == 2
    assert found["hhvad_dropped_files_total", camera] == 7
    assert found["hhvad_open_events", camera] == 1
    assert found["hhvad_behind_seconds", camera] == 12.5
    assert found["hhvad_score", camera] == 0.5
    assert 0 <= found["hhvad_score_age_seconds", camera] < 60
    assert found["hhvad_latency_seconds", camera, "0.5"] == 3
    assert found["hhvad_latency_seconds_sum", camera] == 6
    assert found["hhvad_latency_seconds_count", camera] == 2
    assert found[("hhvad_real_time_factor",)] == 0.25
    assert found["hhvad_untold_changes", "webhook"] == 2
    assert found["hhvad_given_up_total", "webhook"] == 1
    assert "7 files dropped" in metrics.line()
    if shutil.which("promtool"):
        subprocess.run(["promtool", "check", "metrics"], input=text.encode(), check=True)


def test_metrics_are_served_on_this_machine():
    metrics = Metrics()
    metrics.scored("door", 0.25, None)
    server = serve(metrics, "0")
    host, port = server.server_address
    assert host == "127.0.0.1"
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        assert b'hhvad_score{camera="door"} 0.25' in answer.read()
    with pytest.raises(urllib.error.HTTPError, match="404") as refused:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/other", timeout=10)
    refused.value.close()
    for address in (str(port), "x", "127.0.0.1:99999"):
        with pytest.raises(ConfigError, match="--metrics"):
            serve(metrics, address)
    server.shutdown()
    server.server_close()
