"""What is sampled of a recipe, and what of it is chosen because nobody published it."""

import msgspec
import pytest

from harness.errors import ModelError, UsageError
from harness.sampling import CHOSEN, ask, find


def test_every_packaged_recipe_can_be_asked_for_once_its_steps_are_known():
    from harness.accounting import load_recipes

    for recipe in load_recipes().values():
        asked = ask(recipe, steps=None if recipe.steps.value else 1000)
        assert sum(phase.steps.number for phase in asked.phases) == (recipe.steps.value or 1000)
        assert all(phase.sequences >= 1 for phase in asked.phases)


def test_phases_share_the_published_steps():
    asked = ask(find("bert@base"))
    assert [(phase.tokens, phase.steps.number, phase.sequences) for phase in asked.phases] == [
        (128, 900_000, 256),
        (512, 100_000, 256),
    ]
    assert {phase.steps.level for phase in asked.phases} == {"quoted"}


def test_a_batch_of_tokens_is_as_many_sequences_as_they_fill():
    (phase,) = ask(find("translate@base")).phases
    assert phase.sequences == 1000
    (phase,) = ask(find("translate@base"), length=32).phases
    assert phase.sequences == 781.25
    (phase,) = ask(find("translate@base"), length=50).phases
    assert phase.sequences == 500


def test_what_nobody_published_is_chosen_and_said():
    asked = ask(find("translate@base"))
    (phase,) = asked.phases
    assert phase.length.level == CHOSEN
    assert asked.spec.precision == "float32"
    assert "sequences of 25 tokens, chosen: no length was published" in " ".join(asked.notes)
    assert "precision float32, chosen: none was published" in " ".join(asked.notes)
    assert ask(find("gpt2@small-nanogpt")).spec.precision == "bfloat16"
    assert "optimizer Adam, chosen" in " ".join(ask(find("gpt2@small"), steps=10).notes)


def test_unpublished_steps_are_refused_and_the_reproduction_is_named():
    with pytest.raises(UsageError, match="steps of gpt2@small was not published") as refused:
        ask(find("gpt2@small"))
    assert "gpt2@small-nanogpt" in str(refused.value)
    assert "--steps" in str(refused.value)
    with pytest.raises(UsageError, match="sample gpt2@small-nanogpt instead"):
        ask(find("gpt2@xl"))


def test_a_workload_with_one_recipe_needs_no_size_and_one_with_several_names_them():
    assert find("elmo").name == "elmo@original"
    with pytest.raises(UsageError, match=r"no recipe 'translate'; did you mean 'translate@base' or 'translate@big'\?"):
        find("translate")


def test_steps_of_the_user_are_said_to_be_the_user_s():
    asked = ask(find("gpt2@small"), steps=1234)
    assert asked.phases[0].steps.number == 1234
    assert asked.phases[0].steps.level == CHOSEN
    assert "1,234 steps, chosen by whoever asked; none were published" in asked.notes[-1]
    assert "the recipe has 1,000,000" in " ".join(ask(find("bert@base"), steps=10).notes)


def test_an_unknown_recipe_is_answered_with_the_nearest():
    with pytest.raises(UsageError, match="no recipe 'bert@bsae'; did you mean 'bert@base'"):
        find("bert@bsae")
    with pytest.raises(UsageError, match=r"no recipe 'zzz'\. There are translate@base"):
        find("zzz")


def test_recipes_of_the_user_are_read_from_a_file(recipes):
    assert find("bert@test", recipes).steps.value == 1000
    with pytest.raises(UsageError, match="There are bert@test, gpt2@test"):
        find("quantum", recipes)


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"length": 64}, "has sequences of 128 tokens by its recipe"),
        ({"steps": 0}, "one step or more"),
    ],
)
def test_a_wish_that_contradicts_the_recipe_is_refused(wish, message):
    with pytest.raises(UsageError, match=message):
        ask(find("bert@base"), **wish)


def test_a_published_length_may_be_given_again():
    assert ask(find("elmo@original"), length=20).phases[0].tokens == 20


@pytest.mark.parametrize(
    ("field", "value", "error", "message"),
    [
        ("optimizer", "Lion", UsageError, "the optimizer 'Lion' cannot be run; known are Adam, AdamW"),
        ("precision", "float8", UsageError, "the precision 'float8' cannot be run; known are float32, bfloat16"),
    ],
)
def test_what_has_no_code_here_is_refused(field, value, error, message):
    recipe = find("bert@base")
    fact = msgspec.structs.replace(recipe.optimizer, value=value)
    with pytest.raises(error, match=message):
        ask(msgspec.structs.replace(recipe, **{field: fact}))


def test_a_recipe_that_no_model_or_unit_fits_is_refused():
    recipe = find("translate@base")
    with pytest.raises(ModelError, match="did you mean 'base'"):
        ask(msgspec.structs.replace(recipe, size="bass"))
    with pytest.raises(UsageError, match="counts its batch in 'pages'; a sample knows sequences, target tokens"):
        ask(msgspec.structs.replace(recipe, batch_unit="pages"))
    with pytest.raises(UsageError, match="less than one sequence"):
        ask(recipe, length=30_000)
    with pytest.raises(UsageError, match="give one with --length"):
        ask(msgspec.structs.replace(recipe, workload="bert"))
