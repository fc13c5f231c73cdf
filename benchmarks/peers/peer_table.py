"""From answers to figures (p05, p50, p95), and from figures to a Markdown table and a JSON document."""

from statistics import median

from peer_rows import Call, Row, Section

TOOLS = ("ours", "zeus", "codecarbon")
LONG = 200
"""A list of values longer than this goes into the document as its figures only."""

Answers = dict[Call, list[dict]]


def figures(row: Row, answers: Answers) -> dict[str, dict]:
    """Return, for every tool of a row, its percentiles over all values of all rounds, and what failed."""
    found = {}
    for tool, call in row.calls.items():
        values: list[float] = []
        told: list[str] = []
        for answer in answers[call]:
            if "error" in answer:
                told.append(f"failed: {answer['error']}")
            elif row.figure == "value" and "values" in answer:
                values += answer["values"]
            elif answer.get(row.figure) is None:
                told.append(answer.get("reason", f"gives no {row.figure}"))
            else:
                values.append(answer[row.figure])
        others = [answer["others_percent"] for answer in answers[call] if answer.get("others_percent") is not None]
        found[tool] = percentiles(values) | {
            "rounds": len(answers[call]),
            "told": sorted({f"{text} ({told.count(text)} of {len(answers[call])} rounds)" for text in told}),
            "others_percent_p50": median(others) if others else None,
        }
    return found


def percentiles(values: list[float]) -> dict:
    """Return p05, p50 and p95 (linear interpolation between neighbours), the least, the greatest and the number."""
    if not values:
        return {"n": 0, "p05": None, "p50": None, "p95": None, "min": None, "max": None}
    ordered = sorted(values)

    def at(share: float) -> float:
        place = share * (len(ordered) - 1)
        low = int(place)
        high = min(low + 1, len(ordered) - 1)
        return ordered[low] + (place - low) * (ordered[high] - ordered[low])

    ends = {"min": ordered[0], "max": ordered[-1]}
    return {"n": len(ordered), "p05": at(0.05), "p50": at(0.5), "p95": at(0.95)} | ends


def met(row: Row, found: dict[str, dict]) -> bool | None:
    """Return whether ours meets the target of the row by the medians; a probe of ours that failed does not."""
    if found["ours"]["told"] and row.target != "–":
        return False
    return row.met({tool: found.get(tool, {}).get("p50") for tool in TOOLS})


def document(sections: list[Section], answers: Answers) -> list[dict]:
    """Return rows, figures and answers in values that JSON can hold."""
    rows = []
    for section in sections:
        for row in section.rows:
            found = figures(row, answers)
            rows.append({
                "section": section.letter, "about": section.title, "title": row.title, "unit": row.unit,
                "target": row.target, "met": met(row, found), "figures": found,
                "answers": {tool: [_thinned(answer) for answer in answers[call]] for tool, call in row.calls.items()},
                "calls": {tool: [call.probe, dict(call.settings)] for tool, call in row.calls.items()},
            })  # fmt: skip
    return rows


def markdown(rows: list[dict], notes: list[str]) -> str:
    """Return the notes and one table a section."""
    lines = [f"- {note}" for note in notes]
    letter = None
    for row in rows:
        if row["section"] != letter:
            letter = row["section"]
            lines += ["", f"**{letter}. {row['about'][0].upper()}{row['about'][1:]}**", ""]
            lines += [
                "| metric | ours | zeus | codecarbon | target | met? | others' load |",
                "|---|---|---|---|---|---|---|",
            ]
        unit = f", {row['unit']}" if row["unit"] else ""
        cells = [_cell(row["figures"].get(tool)) for tool in TOOLS]
        verdict = {None: "–", True: "yes", False: "**no**"}[row["met"]]
        lines.append(f"| {row['title']}{unit} | {' | '.join(cells)} | {row['target']} | {verdict} | {_loads(row)} |")
    return "\n".join(lines) + "\n"


def _cell(found: dict | None) -> str:
    if found is None:
        return "–"
    parts = []
    if found["n"]:
        parts.append(" / ".join(_short(found[name]) for name in ("p05", "p50", "p95")))
        parts[0] += f" (n={found['n']})"
    parts += [text.replace("|", "/") for text in found["told"]]
    return "; ".join(parts) or "no value"


def _short(value: float) -> str:
    if value == 0:
        return "0"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _loads(row: dict) -> str:
    loads = [found["others_percent_p50"] for found in row["figures"].values()]
    known = [load for load in loads if load is not None]
    return f"{max(known):.0f} %" if known else "unknown"


def _thinned(answer: dict) -> dict:
    values = answer.get("values", ())
    return answer if len(values) <= LONG else answer | {"values": percentiles(values)}
