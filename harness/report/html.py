"""The report as one HTML page that needs nothing else: no script, no network, light and dark, printable."""

from __future__ import annotations

from importlib import resources

from harness.records import Frozen
from harness.report import charts
from harness.report.model import Kind, Report
from harness.report.sweep_charts import sweep_svg


class Figure(Frozen, frozen=True, kw_only=True):
    """A chart with the finding it shows."""

    title: str
    svg: str


def render_html(report: Report) -> str:
    """Return the report as one offline HTML page."""
    import jinja2

    folder = resources.files("harness.report")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(folder.joinpath("report.html").read_text(encoding="utf-8"))
    return template.render(
        report=report,
        css=folder.joinpath("report.css").read_text(encoding="utf-8"),
        leads=[each.text for each in report.sentences if each.kind is Kind.RECOMMEND],
        findings=[each for each in report.sentences if each.kind is not Kind.RECOMMEND],
        figures=figures(report),
    )


def figures(report: Report) -> tuple[Figure, ...]:
    """Return the report's charts."""
    found = []
    for chart in report.energy_charts:
        found.append(Figure(title=chart.title, svg=charts.energy_svg(chart)))
        if chart.pareto_title and len(chart.bars) > 1:
            found.append(Figure(title=chart.pareto_title, svg=charts.pareto_svg(chart)))
    found += [Figure(title=chart.title, svg=sweep_svg(chart)) for chart in report.sweep_charts]
    found += [Figure(title=chart.title, svg=charts.curves_svg(chart)) for chart in report.curve_charts]
    found += [Figure(title=chart.title, svg=charts.life_svg(chart)) for chart in report.life_charts]
    return tuple(found)
