import pytest

from harness.accounting import Level, load_recipes, published_overhead
from harness.accounting.recipes import load_book
from harness.errors import ConfigError, NotMeasured

PUE_2018 = 1.58


def facts(node):
    from msgspec import Struct

    from harness.accounting.recipes import Fact

    if isinstance(node, Fact):
        yield node
    elif isinstance(node, Struct):
        for name in node.__struct_fields__:
            yield from facts(getattr(node, name))
    elif isinstance(node, tuple):
        for each in node:
            yield from facts(each)


def test_every_system_of_the_original_table_has_a_recipe():
    assert {
        "translate@base",
        "translate@big",
        "elmo@original",
        "bert@base",
        "bert@large",
        "gpt2@small",
        "gpt2@xl",
    } <= set(load_recipes())


def test_every_figure_has_a_source_or_says_that_it_was_not_published():
    sources = load_book().sources
    found = [fact for recipe in load_recipes().values() for fact in facts(recipe)]
    assert len(found) > 100
    for fact in found:
        assert fact.source in sources if fact.value is not None else fact.level is Level.UNPUBLISHED and fact.note


def test_every_source_is_used():
    used = {fact.source for recipe in load_recipes().values() for fact in facts(recipe)}
    assert set(load_book().sources) <= used


def test_bert_spends_nine_tenths_of_its_steps_at_128_tokens():
    bert = load_recipes()["bert@base"]
    steps = {phase.sequence_length.value: phase.share.value * bert.steps.value for phase in bert.phases}
    assert steps == pytest.approx({128: 9e5, 512: 1e5})


def test_what_was_never_published_is_never_a_number():
    with pytest.raises(NotMeasured, match="steps of gpt2@small was not published"):
        load_recipes()["gpt2@small"].steps.required("the number of steps of gpt2@small")


def test_a_reproduction_is_named_as_one():
    assert "not OpenAI's" in load_recipes()["gpt2@small-nanogpt"].title


def test_the_steps_of_elmo_follow_from_its_epochs():
    elmo = load_recipes()["elmo@original"]
    assert elmo.steps.level is Level.DERIVED
    assert elmo.steps.value == round(768_648_884 * elmo.epochs.value / elmo.tokens_per_step.value)


@pytest.mark.parametrize("name", ["translate@base", "translate@big", "elmo@original", "bert@base"])
def test_published_energy_is_power_times_hours_times_pue(name):
    rows = [run for run in load_recipes()[name].runs if run.power_w and run.energy_kwh]
    assert rows
    for run in rows:
        computed = run.power_w.value * run.duration_h.value * PUE_2018 / 1000
        assert computed == pytest.approx(run.energy_kwh.value, rel=0.007)  # 79 h is 79.2 h rounded: 0.3 %; 26.84 is 27


def test_the_overhead_is_what_two_trainings_took_beyond_their_steps():
    overhead = published_overhead()
    assert (overhead.low, overhead.high) == (pytest.approx(0.008), pytest.approx(0.08))
    assert "translate@base 8.0 %" in overhead.source


PLAIN = """
version: 1
sources: {s: {title: t, where: w}}
recipes:
  - name: a
    title: t
    workload: w
    size: s
    parameters: {value: 10, level: primary, source: s}
    data: {value: d, level: primary, source: s}
    steps: {value: 100, level: primary, source: s}
    batch: {value: 8, level: primary, source: s}
    batch_unit: sequences
    optimizer: {value: Adam, level: primary, source: s}
    precision: {value: float32, level: primary, source: s}
    phases:
      - name: all
        share: {value: 1.0, level: primary, source: s}
        sequence_length: {value: 8, level: primary, source: s}
    runs: []
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("title: t\n", "titel: t\n", "unknown field `titel`"),
        ("value: 100,", "value: many,", r"Expected `int \| null`"),
        ("value: 100,", "value: -1,", "must be positive"),
        ("{value: 100, level: primary, source: s}", "{level: primary, source: s}", "unpublished"),
        ("{value: 100, level: primary, source: s}", "{level: unpublished}", "needs a note"),
        ("{value: 100, level: primary, source: s}", "{value: 100, level: primary}", "id of its source"),
        ("{value: 100, level: primary, source: s}", "{value: 100, level: derived, source: s}", "how it was derived"),
        ("{value: 100, level: primary, source: s}", "{value: 100, level: primary, source: x}", "unknown sources x"),
        ("{value: 1.0,", "{value: 0.9,", "add up to 0.9, not 1"),
        ("level: primary", "level: rumour", "Invalid enum value 'rumour'"),
        ("version: 1", "version: 2", "reads version 1"),
        ("version: 1", "version: [", "cannot be read"),
    ],
)
def test_a_broken_file_is_refused_with_its_reason(tmp_path, old, new, message):
    path = tmp_path / "recipes.yaml"
    path.write_text(PLAIN, encoding="utf-8")
    assert list(load_recipes(path)) == ["a"]
    broken = tmp_path / "broken.yaml"
    broken.write_text(PLAIN.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        load_recipes(broken)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.yaml cannot be read"):
        load_recipes(tmp_path / "nowhere.yaml")


def test_a_name_that_stands_twice_is_refused(tmp_path):
    path = tmp_path / "twice.yaml"
    path.write_text(PLAIN + PLAIN.split("recipes:\n")[1], encoding="utf-8")
    with pytest.raises(ConfigError, match="more than one a"):
        load_recipes(path)
