"""A Prometheus server (a real HTTP server with its documented answers) whose scraped power has a known truth."""

import json
import math
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from harness.errors import UsageError
from harness.meters.plugins import conformance, prometheus
from harness.records import Provenance

NAMES = ("plug_power_watts", "plug_energy_joules_total", "psu_watts", "plug_energy_kwh")


def power_w(at_s):
    """Return the script: 60 W and 180 W by turns of half a second."""
    return 180.0 if int(at_s * 2) % 2 else 60.0


def true_j(begin_s, end_s):
    at_s, energy_j = begin_s, 0.0
    while at_s < end_s:
        next_s = min(end_s, (math.floor(at_s * 2 + 1e-9) + 1) / 2)
        energy_j += power_w((at_s + next_s) / 2) * (next_s - at_s)
        at_s = next_s
    return energy_j


class Server:
    """Answers as documented in prometheus.io/docs/prometheus/latest/querying/api; the test sets what is odd."""

    def __init__(self):
        self.scrape_s = 0.1
        self.started_s = time.time() - 20
        self.power_w = lambda at_s: power_w(at_s) + 0.1 * (round(at_s / self.scrape_s) % 2)
        self.series = [{"instance": "plug:80"}]
        self.lost = lambda _: False
        self.ahead_s = 0.0
        self.extra = {}
        self.fail = None
        self.body = None
        self.asked = []

    def scraped_s(self, until_s):
        count = int((until_s - self.started_s) / self.scrape_s) + 1
        times_s = (round(self.started_s + index * self.scrape_s, 3) for index in range(count))
        return [at_s for at_s in times_s if at_s <= until_s and not self.lost(at_s)]

    def value(self, name, at_s):
        return self.power_w(at_s) if "watt" in name else 1e6 + true_j(self.started_s, at_s)

    def answer(self, path, parameters):
        query, now_s = parameters["query"], time.time() + self.ahead_s
        if query == "time()":
            return {"resultType": "scalar", "result": [round(now_s, 3), f"{now_s:.3f}"]}
        if path == "/api/v1/query_range":
            return self.evaluated(query, *(float(parameters[name]) for name in ("start", "end", "step")))
        match = re.fullmatch(r"(\w+)\[(\d+)s\]", query)
        if match is None:
            raise LookupError(
                "bad_data", f'invalid parameter "query": ranges only allowed for vector selectors: {query}'
            )
        from_s, until_s = float(parameters["time"]) - int(match[2]), min(float(parameters["time"]), time.time())
        times_s = [at_s for at_s in self.scraped_s(until_s) if at_s > from_s]
        values = [[at_s, f"{self.value(match[1], at_s):.6f}"] for at_s in times_s]
        series = self.series if match[1] in NAMES else []
        result = [{"metric": {"__name__": match[1], **labels}, "values": values} for labels in series]
        return {"resultType": "matrix", "result": result}

    def evaluated(self, query, start_s, end_s, step_s):
        name = next((name for name in NAMES if name in query), None)
        if name is None:
            raise LookupError("bad_data", f'invalid parameter "query": parse error in {query}')
        scraped, values, at_s = self.scraped_s(time.time()), [], start_s
        while at_s <= end_s + 1e-9:
            before = [scrape_s for scrape_s in scraped if scrape_s <= at_s]
            if before:
                values.append([round(at_s, 3), f"{self.value(name, before[-1]):.6f}"])
            at_s += step_s
        return {"resultType": "matrix", "result": [{"metric": {}, "values": values}]}


@pytest.fixture
def server(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            parts = urlsplit(self.path)
            parameters = {name: values[0] for name, values in parse_qs(parts.query).items()}
            state.asked.append((parts.path, parameters.get("query")))
            status, body = 200, {"status": "success", **state.extra}
            if state.fail is not None:
                status, body = state.fail
            else:
                try:
                    body["data"] = state.answer(parts.path, parameters)
                except LookupError as error:
                    kind, message = error.args
                    status, body = 400, {"status": "error", "errorType": kind, "error": message}
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", body)
            self.end_headers()
            self.wfile.write(state.body or json.dumps(body).encode())

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        state.url = f"http://127.0.0.1:{http.server_port}"
        yield state
        http.shutdown()
        thread.join()


def opened(server, options="query=plug_power_watts"):
    meter, missing = prometheus.open_meter(f"{server.url}?{options}", None)
    assert not missing, missing
    return meter


def refused(server, options="query=plug_power_watts"):
    meter, missing = prometheus.open_meter(f"{server.url}?{options}", None)
    assert meter is None
    (gap,) = missing
    assert gap.domain == "wall"
    return gap.reason


def window(meter, pause_s):
    begin = meter.read()
    time.sleep(pause_s)
    end = meter.read()
    duration_s = (end.monotonic_ns - begin.monotonic_ns) / 1e9
    energies, missing = meter.energies(begin, end, duration_s=duration_s, cpu_s=0.0)
    assert not conformance.window_violations(meter, energies, missing, duration_s=duration_s)
    return energies, missing, true_j(begin.unix_ns / 1e9, end.unix_ns / 1e9)


@pytest.mark.parametrize(
    ("options", "provenance"),
    [
        ("query=plug_power_watts&accuracy=0.5%", Provenance.INTEGRATED_POWER),
        ("query=sum(plug_power_watts)&step=100ms&accuracy=0.5%", Provenance.INTEGRATED_POWER),
        ("query=plug_energy_joules_total&unit=J", Provenance.COUNTER),
    ],
)
def test_a_window_gives_the_joules_of_the_machine(server, options, provenance):
    meter = opened(server, options)
    assert not conformance.violations(meter)
    (energy,), missing, truth_j = window(meter, 1.2)
    assert not missing
    assert energy.low_j <= truth_j <= energy.high_j
    assert energy.energy_j == pytest.approx(truth_j, rel=0.25)
    assert (energy.domain, energy.provenance, energy.billed) == ("wall", provenance, True)
    assert meter.contains_everything
    meter.close()


def test_a_selector_is_asked_for_its_raw_samples_and_an_expression_on_a_grid(server):
    raw = opened(server)
    assert raw.info().refresh_s == pytest.approx(0.1, abs=0.01)
    assert "raw samples" in raw.info().notes[0]
    assert {path for path, _ in server.asked} == {"/api/v1/query"}
    grid = opened(server, "query=sum(plug_power_watts) + 5&step=200ms")
    assert "evaluated every 0.2 s" in grid.info().notes[0]
    assert server.asked[-1] == ("/api/v1/query_range", "sum(plug_power_watts) + 5"), "a plus stays a plus"


def test_points_that_repeat_one_scrape_are_not_taken_for_samples(server):
    server.scrape_s = 0.5
    meter = opened(server, "query=sum(plug_power_watts)&step=50ms")
    assert meter.info().refresh_s == pytest.approx(0.5, abs=0.06)
    energies, missing, _ = window(meter, 1.0)
    assert not energies
    assert "less than 3 refreshes of 0.5 s" in missing[0].reason


def test_the_servers_clock_is_compared_recorded_and_refused_where_it_is_off(server):
    server.ahead_s = 0.3
    clocks_s = float(re.search(r"clocks within ([\d.]+) s", opened(server).info().notes[1])[1])
    assert 0.3 <= clocks_s < 0.5
    server.ahead_s = -1.2
    assert "are up to 1.2" in refused(server)
    meter = opened(server, "query=plug_power_watts&clock=2s")
    server.ahead_s = 3.0
    _, missing, _ = window(meter, 0.5)
    assert "set both by NTP" in missing[0].reason


def test_several_series_are_named_and_never_added_up_silently(server):
    server.series = [{"instance": "a:80"}, {"instance": "b:80"}]
    reason = refused(server)
    assert "gives 2 series" in reason
    assert "instance=a:80" in reason
    assert "instance=b:80" in reason
    assert "sum(plug_power_watts)" in reason


def test_a_target_that_was_down_makes_the_window_missing(server):
    meter = opened(server)
    down_s = time.time() + 0.4
    server.lost = lambda at_s: down_s < at_s < down_s + 0.5
    _, missing, _ = window(meter, 1.3)
    assert "no sample came for 0." in missing[0].reason


def test_a_target_that_stays_down_is_waited_for_only_so_long(server):
    meter = opened(server, "query=plug_power_watts&wait=300ms")
    down_s = time.time() + 0.4
    server.lost = lambda at_s: at_s > down_s
    start_s = time.monotonic()
    _, missing, _ = window(meter, 0.8)
    assert "too early" in missing[0].reason
    assert time.monotonic() - start_s < 5


@pytest.mark.parametrize("value", [math.nan, math.inf, -5.0, 0.0, 60_000.0])
def test_a_value_no_machine_draws_is_missing_with_its_time(server, value):
    meter = opened(server)
    bad_s = time.time() + 0.5
    good_w = server.power_w
    server.power_w = lambda at_s: value if bad_s < at_s < bad_s + 0.2 else good_w(at_s)
    _, missing, _ = window(meter, 1.0)
    assert re.search(rf"plug_power_watts on {server.url} at \d+\.\d+: ", missing[0].reason)


def test_the_servers_own_message_is_given(server):
    meter = opened(server)
    message = "query timed out in expression evaluation"
    server.fail = (503, {"status": "error", "errorType": "timeout", "error": message})
    _, missing, _ = window(meter, 0.5)
    assert missing[0].reason == f"{server.url} says timeout: {message}"
    assert message in refused(server)
    server.fail = (401, {"message": "who are you"})
    assert "answers 401" in refused(server)


def test_a_partial_answer_is_refused(server):
    server.extra = {"warnings": ["store 2 is unavailable"]}
    assert "may not be whole: store 2 is unavailable" in refused(server)


@pytest.mark.parametrize("body", [b"<html>hello</html>", b"\xff\xfe", b'{"status": 3}', b'{"status": "success"}'])
def test_something_else_than_prometheus_is_refused(server, body):
    server.body = body
    assert "of another form than documented" in refused(server)


@pytest.mark.parametrize("target", ["http://127.0.0.1:1/metrics", "file:///etc/hostname", "ftp://127.0.0.1/x"])
def test_a_redirect_is_not_followed(server, target):
    server.fail = (302, target)
    assert f"redirects to {target}" in refused(server)


def test_a_server_that_is_not_there_is_missing(server):
    server.url = "http://127.0.0.1:9"
    assert "is the server running" in refused(server)


def test_no_series_and_a_dead_series_are_missing(server):
    assert "gives no series" in refused(server, "query=no_such_metric")
    server.lost = lambda at_s: at_s > server.started_s + 5
    assert "the logger has stopped" in refused(server)


def test_a_slow_scrape_says_how_long_to_wait(server):
    server.started_s, server.scrape_s = time.time() - 280, 15.0
    assert "which take up to 30 s; write wait=3" in refused(server)
    server.started_s, server.scrape_s = time.time() - 280, 5.0
    assert "which take up to 15 s" in refused(server, "query=sum(plug_power_watts)&step=5s")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("", "no query"),
        ("query=plug_power_watts&stepp=5s", "did you mean 'step'"),
        ("query=plug_energy_joules_total", "write unit=J"),
        ("query=plug_power_watts&unit=J", "write unit=W"),
        ("query=sum(plug_power_watts)", "the slowest scrape interval"),
        ("query=rate(plug_energy_joules_total[30s])&step=1s", "write step=30s or more"),
        ("query=avg_over_time(plug_power_watts[1m30s])&step=60s", "write step=90s or more"),
        ("query=sum(plug_power_watts offset 5m)&step=1s", "asks for another time"),
        ("query=sum(plug_power_watts @ 1790000000)&step=1s", "asks for another time"),
        ("query=plug_power_watts&step=0s", "longer than zero"),
    ],
)
def test_a_question_that_makes_no_sense_says_what_would(server, options, words):
    with pytest.raises(UsageError, match=words):
        prometheus.open_meter(f"{server.url}?{options}", None)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("localhost:9090", "is no address"),
        ("file:///etc/passwd", "is no address"),
        ("ftp://host/x", "is no address"),
        ("http://me:secret@host:9090", "no credentials"),
        ("", "needs an argument"),
    ],
)
def test_an_address_that_is_no_server_is_refused_before_anything_is_asked(url, words):
    with pytest.raises(UsageError, match=words):
        prometheus.open_meter(f"{url}?query=up", None)
