"""Every output of the report: complete, deterministic, without a network, for whole and broken runs alike."""

import io
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import msgspec
import pytest
from rich.console import Console

from harness import report
from harness.errors import ResultsError
from harness.records import Failed, IdlePower, MeterInfo, Provenance, SelfTest
from harness.report import formats
from harness.report.style import spread_labels


def terminal(content, width=120):
    out = io.StringIO()
    report.render_terminal(content, Console(file=out, width=width))
    return out.getvalue()


@pytest.fixture(scope="module")
def modelled(make, tmp_path_factory):
    maker = make.Maker(provenance=Provenance.MODELLED, low=0.7, high=1.4, busy=0.05)
    return make.realistic_run(tmp_path_factory.mktemp("modelled"), maker)


@pytest.fixture(scope="module")
def content(make, modelled):
    return report.build(modelled, make.BASELINES)


@pytest.fixture(scope="module")
def page(content):
    return report.render_html(content)


def degenerate(make, folder):
    """Return name → a run that lacks something."""
    whole = make.realistic_run(folder)
    trains = tuple(each for each in whole.records if each.case.phase.value == "train")
    infers = tuple(each for each in whole.records if each.case.phase.value == "infer")
    failed = Failed(error="WorkerFailed", message="killed by signal 9 | <script>")
    broken = tuple(
        msgspec.structs.replace(each, outcome=failed, windows=(), curve=(), meters=()) for each in whole.records
    )
    one_block = make.infer_group((make.Truth("torch_eager"), make.Truth("b")), forks=1, blocks=1)
    mute = make.infer_group((make.Truth("torch_eager"), make.Truth("b", 0.5)), items=0)
    base_only = make.infer_group((make.Truth("torch_eager"),))
    runs = {"only train": trains, "only infer": infers, "all failed": broken, "one block": one_block,
            "no quality": mute, "only the baseline": base_only, "nothing yet": ()}  # fmt: skip
    return {name: make.fake_run(folder, records) for name, records in runs.items()}


@pytest.mark.parametrize(
    "name", ["only train", "only infer", "all failed", "one block", "no quality", "only the baseline", "nothing yet"]
)
def test_runs_that_lack_something_are_reported_all_the_same(make, tmp_path, name):
    content = report.build(degenerate(make, tmp_path)[name], make.BASELINES)
    assert content.sentences
    html = report.render_html(content)
    for text in (terminal(content), report.render_markdown(content), html):
        assert "joulebench: quick" in text
        assert not re.search(r"\b(nan|inf|none)\b [nµmkM]?J", text.lower())
    assert "<script" not in html


def test_one_block_gives_a_value_but_no_interval(make, tmp_path):
    content = report.build(degenerate(make, tmp_path)["one block"], make.BASELINES)
    (row, *_) = content.tables[0].rows
    assert row[1].detail == "no interval: one block"
    assert "at least two" in content.sentences[0].text


def test_the_same_run_gives_the_same_bytes(make, modelled, page):
    assert report.render_html(report.build(modelled, make.BASELINES)) == page


def test_fake_joules_are_shouted_on_every_output(make, tmp_path):
    content = report.build(make.realistic_run(tmp_path), make.BASELINES)
    for text in (terminal(content), report.render_markdown(content), report.render_html(content)):
        assert text.count("FAKE JOULES") >= 2
    assert json.loads(msgspec.json.encode(content))["banner"].startswith("FAKE JOULES")


def test_real_joules_have_no_banner(content, page):
    assert content.banner is None
    assert "FAKE" not in page


def test_the_page_needs_nothing_else(page):
    assert "http:" not in page
    assert "https:" not in page
    assert "<script" not in page
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page


def test_identifiers_in_the_page_are_unique_and_every_reference_has_one(page):
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    references = set(re.findall(r"url\(#([^)]+)\)", page)) | set(re.findall(r'href="#([^"]+)"', page))
    assert references <= set(ids)


def test_every_chart_tells_its_finding_to_a_screen_reader(page):
    labels = re.findall(r'<svg role="img" aria-label="([^"]+)"', page)
    assert len(labels) == page.count("<svg") == 4
    assert any("length_bucketing 12." in label and "% less" in label for label in labels)
    assert any("full_finetune ends at 85.2 %" in label for label in labels)


def test_the_page_is_well_formed(page):
    class Checker(HTMLParser):
        void = frozenset({"meta", "link", "br", "path", "use", "rect"})

        def __init__(self):
            super().__init__()
            self.open = []

        def handle_starttag(self, tag, attrs):
            if tag not in self.void:
                self.open.append(tag)

        def handle_startendtag(self, tag, attrs):
            pass

        def handle_endtag(self, tag):
            if tag not in self.void:
                assert self.open.pop() == tag

    checker = Checker()
    checker.feed(page)
    assert checker.open == []


def test_every_energy_has_a_unit_and_a_provenance(content, page):
    energy = content.tables[0]
    assert all(re.search(r"\d [nµmkM]?J$", row[1].text) for row in energy.rows)
    assert any("Provenance: modelled" in note for note in energy.notes)
    assert "modelled" in page.split("<svg")[1]


def test_the_tables_hold_what_was_measured(content):
    tables = {table.key: table for table in content.tables}
    assert tables["inference-energy-cpu/offline"].rows[0][0].text == "torch_eager"
    assert len(tables["lifecycle"].rows) == 5
    assert {row[1].text for row in tables["outcomes"].rows} == {"failed", "skipped"}
    assert "d0" * 32 in {cell.text for row in tables["material"].rows for cell in row}
    assert tables["meters"].rows[0][4].text == "1.20 µs"
    assert {row[3].text for row in tables["training"].rows} > {"not reached"}


def with_meters(run, *meters):
    """Return the run as if its records had been made with these meters."""
    records = tuple(msgspec.structs.replace(each, meters=meters) if each.meters else each for each in run.records)
    return type(run)(run.folder, run.info, records)


def self_test(**changes):
    values = {"tested_utc": "2026-11-23T12:00:00Z", "windows": 5, "window_s": 0.02, "monotonic": True,
              "plausible": True, "idle": (IdlePower(domain="gpu0", mean_w=20.1, sd_w=0.31),)}  # fmt: skip
    return SelfTest(**(values | changes))


def gpu_meter(**changes):
    values = {"name": "nvml", "domains": ("gpu0",), "provenance": Provenance.COUNTER, "boundary": "GPU board",
              "refresh_s": 0.1, "read_cost_s": 2e-6, "window_for_1_percent_s": 4.1,
              "self_test": self_test()}  # fmt: skip
    return MeterInfo(**(values | changes))


@pytest.fixture
def mixed(make, tmp_path):
    return make.realistic_run(tmp_path, make.MixedMaker())


def rows(run, make, key):
    (table,) = [table for table in report.build(run, make.BASELINES).tables if table.key == key]
    names = [column.name for column in table.columns]
    return [dict(zip(names, row, strict=True)) for row in table.rows]


def test_the_table_of_meters_shows_the_self_test_the_window_it_asks_for_and_what_is_billed(make, mixed):
    model = make.MixedMaker().meter()
    spare = gpu_meter(name="spare", self_test=None)
    nvml, modelled, unused = rows(with_meters(mixed, gpu_meter(), model, spare), make, "meters")
    assert nvml["provenance"].detail == modelled["provenance"].detail == "billed"
    assert nvml["refresh"].detail == "1 % from 4.10 s on"
    assert nvml["self-test"].text == "passed"
    assert nvml["self-test"].detail == (
        "monotonic; plausible; idle gpu0 20.1 ± 0.31 W; 5 windows of 20.0 ms, 2026-11-23T12:00:00Z"
    )
    assert (unused["provenance"].detail, unused["self-test"].text) == ("not billed", "not tested")


def test_a_failed_self_test_is_shown_even_where_another_fork_passed(make, mixed):
    bad = gpu_meter(self_test=self_test(monotonic=False, plausible=False, faults=("gpu0: went backwards",)))
    first, *others = (each for each in mixed.records if each.meters)
    records = (msgspec.structs.replace(first, meters=(bad,)), *(
        msgspec.structs.replace(each, meters=(gpu_meter(),)) for each in others
    ))  # fmt: skip
    (row,) = rows(type(mixed)(mixed.folder, mixed.info, records), make, "meters")
    assert row["self-test"].text == "FAILED"
    assert "NOT monotonic; NOT plausible" in row["self-test"].detail
    assert "gpu0: went backwards" in row["self-test"].detail


def test_devices_say_how_hot_they_were_and_what_held_them_down(make, mixed):
    (gpu,) = rows(mixed, make, "devices")
    assert (gpu["temperature before"].text, gpu["temperature after"].text) == ("55 °C", "61 °C")
    assert gpu["core clock after"].text == "1.20 GHz"
    assert gpu["held down by"].text == "power cap (50% of readings)"


def test_where_no_device_says_anything_there_is_no_table_of_devices(content):
    assert "devices" not in {table.key for table in content.tables}


def test_a_mixed_total_says_so_in_every_table_and_on_every_axis(make, mixed):
    content = report.build(mixed, make.BASELINES)
    label = "mixed: 80 % counter, 20 % modelled"
    for key in ("inference-energy-cpu/offline", "training"):
        for row in rows(mixed, make, key):
            assert (row["provenance"].text, row["provenance"].detail) == ("mixed", "80 % counter, 20 % modelled")
            assert "low–high of meter and model" in row
    assert all(row["build"].detail == label for row in rows(mixed, make, "inference-time-cpu/offline"))
    assert all(row["evaluations, not billed"].detail == label for row in rows(mixed, make, "training"))
    assert all(row["provenance: training, a task"].text == label for row in rows(mixed, make, "lifecycle"))
    charts = (*content.energy_charts, *content.curve_charts, *content.life_charts)
    assert {chart.provenance for chart in charts} == {label}
    assert report.render_html(content).count(label) > 10


def test_joules_that_are_known_otherwise_stand_in_no_chart_beside_the_baseline(make, tmp_path):
    counted = make.Maker(provenance=Provenance.COUNTER)
    records = make.infer_group((make.Truth("torch_eager"), make.Truth("b")), maker=counted)
    (odd,) = make.infer_group((make.Truth("odd", 0.1),), maker=make.Maker(provenance=Provenance.MODELLED))
    run = make.fake_run(tmp_path, (*records, odd))
    (chart,) = report.build(run, make.BASELINES).energy_charts
    assert {bar.technique for bar in chart.bars} == {"torch_eager", "b"}
    assert chart.provenance == "counter"
    found = rows(run, make, "inference-energy-cpu/offline")
    assert [row["provenance"].text for row in found] == ["counter", "counter", "modelled"]


@pytest.mark.parametrize(
    ("provenance", "heading", "words"),
    [
        (Provenance.MODELLED, "model low–high", "the model's low and high where joules are modelled"),
        (Provenance.COUNTER, "meter low–high", "its refresh at both edges of every window, not its gain"),
        (Provenance.INTEGRATED_POWER, "meter low–high", "what the meter leaves open"),
    ],
)
def test_the_bounds_are_called_what_they_are(make, tmp_path, provenance, heading, words):
    run = make.realistic_run(tmp_path, make.Maker(provenance=provenance, low=0.9, high=1.1))
    table = report.build(run, make.BASELINES).tables[0]
    assert table.columns[2].name == heading
    assert words in table.notes[0]
    assert table.rows[0][2].text.endswith("mJ")


def test_a_narrow_terminal_gets_the_essential_columns_and_is_told(content):
    narrow = terminal(content, 80)
    assert max(len(line) for line in narrow.splitlines()) <= 80
    assert "Not shown for want of width: model low–high" in narrow


def test_markdown_tables_are_whole_and_markup_in_reasons_is_harmless(make, tmp_path):
    text = report.render_markdown(report.build(degenerate(make, tmp_path)["all failed"], make.BASELINES))
    rows = [line for line in text.splitlines() if "killed by signal 9" in line and line.startswith("|")]
    assert rows
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 4 for row in rows)
    assert "<script" not in text.replace("\\<script", "")


def test_write_leaves_markdown_and_html_in_the_run_s_folder(make, modelled):
    paths = report.write(modelled, make.BASELINES)
    assert {form: path.name for form, path in paths.items()} == {"markdown": "report.md", "html": "report.html"}
    assert all(path.parent == modelled.folder and path.stat().st_size > 2000 for path in paths.values())


def test_a_folder_that_cannot_be_written_is_an_error_with_its_path(make, modelled, tmp_path):
    gone = make.FakeRun(tmp_path / "gone", modelled.info, modelled.records)
    with pytest.raises(ResultsError, match=r"cannot write .*report\.md.*records are kept"):
        report.write(gone, make.BASELINES)


def test_a_run_becomes_a_table_of_windows_whose_unknown_joules_are_missing(make, modelled):
    import pandas as pd

    frame = report.to_frame(modelled)
    assert len(frame) == sum(len(each.windows) for each in modelled.records)
    mine = frame[(frame.technique == "torch_eager") & (frame.kind == "run")]
    assert mine.energy_j.sum() / mine.tasks.sum() == pytest.approx(0.0224, rel=0.1)
    first = modelled.records[0]
    window = msgspec.structs.replace(
        first.windows[0], measured=msgspec.structs.replace(first.windows[0].measured, energies=())
    )
    torn = msgspec.structs.replace(first, windows=(window, *first.windows[1:]))
    row = report.to_frame(make.FakeRun(modelled.folder, modelled.info, (torn,))).iloc[0]
    assert pd.isna(row.energy_j)
    assert "no billed domain" in row.gap


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.0123, "12.3 mJ"), (999.6, "1.00 kJ"), (0, "0 J"), (1234567, "1.23 MJ"), (5e-7, "500 nJ"), (0.9996, "1.00 J"),
     (-0.02, "-20.0 mJ"), (1e-12, "0.00100 nJ")],
)  # fmt: skip
def test_energies_have_three_digits_and_a_prefix(value, shown):
    assert formats.si(value, "J") == shown


@pytest.mark.parametrize(
    ("value", "shown"), [(999, "999"), (12_345, "12,300"), (1_234_567, "1.23 million"), (4.2e9, "4.20 billion")]
)
def test_counts_are_readable(value, shown):
    assert formats.count(value) == shown


def test_labels_are_kept_apart_in_their_order():
    placed = spread_labels([1.0, 1.01, 5.0], 0.5)
    assert placed[1] - placed[0] >= 0.49
    assert placed[2] == 5.0


@pytest.mark.browser
@pytest.mark.slow
def test_the_page_opens_offline_without_a_console_message(make, modelled, tmp_path):
    browser = next(
        (path for path in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if path), None
    )
    if browser is None:
        pytest.skip("no Chromium on this machine")
    page = report.write(modelled, make.BASELINES)["html"]
    done = subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--disable-quic", f"--user-data-dir={tmp_path / 'profile'}",
         "--host-resolver-rules=MAP * ~NOTFOUND", "--enable-logging=stderr", "--dump-dom", page.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert "CONSOLE" not in done.stderr
    assert done.stdout.count("<svg") == 4
    assert "Use length_bucketing" in done.stdout
