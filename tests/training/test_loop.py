"""The training loop: where it yields, what it learns, what it leaves alone."""

from __future__ import annotations

import pytest

from harness.errors import ConfigError, InvalidMeasurement
from harness.training import Labelled, Recipe, by_length, fit

torch = pytest.importorskip("torch")

N = 40


def problem():
    """Return features of two classes that a line separates."""
    made = torch.Generator().manual_seed(0)
    labels = [item % 2 for item in range(N)]
    features_NH = torch.randn(N, 6, generator=made) + 3 * torch.tensor(labels)[:, None]
    return features_NH, labels


def linear():
    torch.manual_seed(1)
    return torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.Dropout(0.1), torch.nn.Linear(8, 2))


def run(recipe, model=None, seed=5):
    features_NH, labels = problem()
    model = model or linear()

    def objective():
        return Labelled(lambda rows: {"input": features_NH[rows]}, labels, "cpu")

    return model, fit(model, objective, recipe, seed=seed, device="cpu")


@pytest.mark.parametrize(
    ("epochs", "batch_size", "an_epoch", "steps"),
    [
        (1, 10, 2, [0, 2, 4]),
        (2, 10, 1, [0, 4, 8]),
        (4, 10, 0.5, [0, 8, 16]),
        (1, 40, 8, [0, 1]),
        (1, 7, 100, [0, 1, 2, 3, 4, 5, 6]),
        (3, 10, 0.1, [0, 12]),
    ],
)
def test_checkpoints_are_evenly_spaced_from_zero_to_the_end(epochs, batch_size, an_epoch, steps):
    recipe = Recipe(epochs=epochs, batch_size=batch_size, checkpoints_per_epoch=an_epoch)
    _, training = run(recipe)
    checkpoints = list(training)
    assert [checkpoint.steps for checkpoint in checkpoints] == steps
    assert checkpoints[-1].examples == epochs * N
    assert [checkpoint.last for checkpoint in checkpoints] == [False] * (len(steps) - 1) + [True]


def test_it_learns_a_line():
    features_NH, labels = problem()
    model, training = run(Recipe(epochs=30, batch_size=8, learning_rate=0.01))
    first = next(training)
    with torch.no_grad():
        before = (first.model.eval()(features_NH).argmax(1) == torch.tensor(labels)).float().mean()
    for _ in training:
        pass
    with torch.no_grad():
        after = (model.eval()(features_NH).argmax(1) == torch.tensor(labels)).float().mean()
    assert after > max(before, 0.95)


def test_a_training_that_diverged_says_so_at_its_next_checkpoint():
    recipe = Recipe(epochs=6, batch_size=10, learning_rate=1e30, warmup_fraction=0, checkpoints_per_epoch=0.5)
    _, training = run(recipe)
    assert next(training).steps == 0
    with pytest.raises(
        InvalidMeasurement, match=r"the loss is (nan|inf) after 8 steps; lower learning_rate \(now 1e\+30"
    ):
        next(training)


def test_an_evaluator_may_set_eval_mode_between_chunks():
    modes = []
    model, training = run(Recipe(epochs=1, batch_size=10, checkpoints_per_epoch=4))
    next(training)
    model.register_forward_hook(lambda module, *_: modes.append(module.training))
    for checkpoint in training:
        checkpoint.model.eval()
    assert modes == [True] * 4


def test_nothing_is_encoded_before_the_first_checkpoint():
    asked = []
    model = linear()
    training = fit(model, lambda: asked.append(1), Recipe(), seed=1, device="cpu")
    assert next(training).steps == 0
    assert asked == []
    training.close()


def test_the_same_seed_gives_the_same_weights_and_another_seed_others():
    weights = []
    for seed in (5, 5, 6):
        model, training = run(Recipe(epochs=1, batch_size=8), seed=seed)
        for checkpoint in training:
            checkpoint.model.eval()
        weights.append(model[0].weight.detach())
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_frozen_parameters_stay_as_they_are():
    model = linear()
    model[0].requires_grad_(requires_grad=False)
    before = model[0].weight.clone()
    _, training = run(Recipe(epochs=2), model)
    for _ in training:
        pass
    assert torch.equal(before, model[0].weight)


def test_the_rate_rises_then_falls_to_nothing():
    from harness.training.loop import _rate

    share = _rate(Recipe(warmup_fraction=0.2), 10)
    rates = [share(step) for step in range(11)]
    assert 0 < rates[0] < rates[1] < rates[2] == 1.0
    assert rates[2:] == sorted(rates[2:], reverse=True)
    assert rates[10] == 0.0


def test_batches_by_length_hold_every_row_once():
    assert by_length([5, 1, 4, 1, 3], 2) == [[1, 3], [4, 2], [0]]


def test_a_recipe_refuses_what_makes_no_sense():
    import msgspec

    for wrong in ({"epochs": 0}, {"batch_size": 0}, {"learning_rate": 0}, {"warmup_fraction": 2}, {"rate": 1}):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(wrong, Recipe)


def test_a_device_that_is_not_there_is_refused_with_the_reason():
    from harness import device

    assert device.available("cpu") is None
    assert "joulebench knows cpu, cuda" in device.available("tpu")
    with pytest.raises(ConfigError, match="device 'tpu' cannot be used"):
        device.prepare("tpu", threads=1, seed=1)
    if not torch.cuda.is_available():
        assert "torch" in device.available("cuda")
    else:
        assert "there is no cuda:99" in device.available("cuda:99")
