"""Steps of the four families: they learn, their gradients add up, their heads are the published ones."""

import math

import pytest

from harness.errors import InvalidMeasurement, UsageError
from harness.workloads.architectures.steps import Steps, StepSpec, departures, model_length

torch = pytest.importorskip("torch")

OPTIMIZERS = {"bert": "Adam with decoupled weight decay", "gpt2": "AdamW", "translate": "Adam", "elmo": "Adagrad"}
FAMILIES = tuple(OPTIMIZERS)


def spec(workload, **more):
    return StepSpec(
        **{"workload": workload, "size": "tiny", "optimizer": OPTIMIZERS[workload], "precision": "float32", **more}
    )


def gradients(steps):
    return [each.grad.to_dense().clone() for each in steps.model.parameters() if each.grad is not None]


@pytest.mark.parametrize("workload", FAMILIES)
def test_repeating_a_batch_lowers_its_loss(workload):
    rate = 0.2 if workload == "elmo" else 2e-3
    steps = Steps(spec(workload, learning_rate=rate))
    steps.model.eval()  # without dropout, so that a loss can be set beside another
    batch = steps.batch(2, 12)
    losses = []
    for _ in range(12):
        steps.forward_backward(batch)
        losses.append(steps.loss())
        steps.update()
        steps.forget()
    assert losses[-1] < losses[0] - 0.3


@pytest.mark.parametrize("workload", FAMILIES)
def test_two_micro_batches_of_half_a_batch_have_its_gradients(workload):
    steps = Steps(spec(workload))
    steps.model.eval()
    batch = steps.batch(4, 12)
    steps.forward_backward(batch)
    whole = gradients(steps)
    steps.forget()
    for half in (slice(0, 2), slice(2, 4)):
        steps.forward_backward(cut(batch, half, 12), share=0.5)
    assert whole
    for one, two in zip(whole, gradients(steps), strict=True):
        torch.testing.assert_close(two, one, rtol=1e-3, atol=1e-6)


def cut(batch, rows, length):
    """Return some sequences of a micro-batch of four."""
    made = {}
    for name, tensor in batch.items():
        by_sequence = tensor.reshape(4, -1, *tensor.shape[2:]) if name.endswith("_N") else tensor
        part = by_sequence[rows]
        if name == "places_N":
            part = part - rows.start * length
        made[name] = part.flatten() if name.endswith("_N") else part
    return made


@pytest.mark.parametrize("workload", FAMILIES)
def test_losses_start_at_chance(workload):
    steps = Steps(spec(workload))
    steps.forward_backward(steps.batch(4, 32))
    words = steps.preset.vocabulary
    chance = math.log(words) + (math.log(2) if workload == "bert" else 0)
    assert steps.loss() == pytest.approx(chance, rel=0.2)


def test_bert_predicts_fifteen_percent_of_each_sequence_and_both_heads_learn():
    steps = Steps(spec("bert"))
    batch = steps.batch(3, 128)
    places_BN = batch["places_N"].reshape(3, -1)
    assert places_BN.shape[1] == batch["words_N"].numel() / 3 == round(0.15 * 128)
    assert all(len(set(row.tolist())) == len(row) for row in places_BN)
    assert all((row // 128 == number).all() for number, row in enumerate(places_BN))
    assert set(batch["segments_BT"].unique().tolist()) == {0, 1}
    steps.forward_backward(batch)
    assert steps.model.cls.seq_relationship.weight.grad.abs().sum() > 0
    assert steps.model.cls.predictions.transform.dense.weight.grad.abs().sum() > 0
    assert steps.model.cls.predictions.decoder.weight is steps.model.bert.embeddings.word_embeddings.weight


def test_the_masked_places_alone_give_the_loss_of_the_whole_head():
    steps = Steps(spec("bert"))
    steps.model.eval()
    batch = steps.batch(2, 16)
    labels_BT = torch.full((2, 16), -100)
    labels_BT.view(-1)[batch["places_N"]] = batch["words_N"]
    steps.forward_backward(batch)
    with torch.no_grad():
        theirs = steps.model(
            input_ids=batch["ids_BT"],
            token_type_ids=batch["segments_BT"],
            labels=labels_BT,
            next_sentence_label=batch["next_B"],
        ).loss
    assert steps.loss() == pytest.approx(float(theirs), rel=1e-5)


def test_the_decoder_of_a_translation_sees_the_words_before():
    steps = Steps(spec("translate"))
    batch = steps.batch(2, 9)
    assert batch["source_BT"].shape == batch["target_BT"].shape == (2, 9)
    assert torch.equal(batch["before_BT"][:, 1:], batch["target_BT"][:, :-1])
    assert (batch["before_BT"][:, 0] == steps.model.config.decoder_start_token_id).all()


def test_elmo_reads_one_word_more_so_that_as_many_are_predicted_each_way():
    steps = Steps(spec("elmo"))
    batch = steps.batch(2, 20)
    assert batch["words_BT"].shape == (2, 21)
    assert batch["chars_BTC"].shape == (2, 21, 50)
    assert (batch["chars_BTC"] > 0).all()
    assert model_length(steps.preset, 20) == 21
    assert model_length(Steps(spec("bert")).preset, 20) == 20


def test_sparse_gradients_of_the_sampled_softmax_are_the_dense_ones():
    from harness.workloads.architectures.softmax import WordSoftmax

    dense, sparse = (WordSoftmax(8, 500, negatives=40) for _ in range(2))
    sparse.load_state_dict(dense.state_dict())
    sparse.use_sparse_gradients()
    states_NP, words_N = torch.randn(30, 8), torch.randint(500, (30,))
    losses = []
    for head in (dense, sparse):
        torch.manual_seed(4)
        loss = head(states_NP, words_N)
        loss.backward()
        losses.append(float(loss.detach()))
    assert losses[0] == losses[1]
    assert sparse.weight.grad.is_sparse
    torch.testing.assert_close(sparse.weight.grad.to_dense(), dense.weight.grad)


def test_a_sampled_softmax_accumulates_and_steps_sparsely():
    from harness.workloads.architectures import presets

    found = presets.elmo_preset("tiny")
    steps = Steps(spec("elmo"))
    steps.model.softmax.negatives = 50
    assert found.vocabulary == steps.model.softmax.vocabulary
    batch = steps.batch(2, 10)
    for _ in range(2):
        for _ in range(2):
            steps.forward_backward(batch, share=0.5)
        assert steps.model.softmax.weight.grad.is_sparse
        steps.update(2)
    steps.loss()


@pytest.mark.parametrize("workload", ["gpt2", "bert", "translate"])
def test_mixed_precision_runs_near_the_full_one(workload):
    full, mixed = (Steps(spec(workload, precision=precision)) for precision in ("float32", "bfloat16"))
    for steps in (full, mixed):
        steps.model.eval()
        steps.forward_backward(steps.batch(2, 16))
    assert mixed.loss() == pytest.approx(full.loss(), rel=0.02)
    assert mixed.loss() != full.loss()
    assert all(each.grad.dtype is torch.float32 for each in mixed.model.parameters() if each.grad is not None)


def test_an_update_leaves_the_gradients_and_forgetting_lets_them_go():
    steps = Steps(spec("gpt2"))
    steps.forward_backward(steps.batch(1, 8))
    before = gradients(steps)
    steps.update()
    assert before
    assert all(torch.equal(one, two) for one, two in zip(before, gradients(steps), strict=True))
    steps.forget()
    assert gradients(steps) == []


def test_several_updates_are_so_many_steps_on_the_same_gradients():
    once, thrice = (Steps(spec("translate", learning_rate=1e-3)) for _ in range(2))
    for steps in (once, thrice):
        steps.model.eval()
        steps.forward_backward(steps.batch(1, 8))
    before = once.model.get_encoder().layers[0].fc1.bias.detach().clone()
    once.update(1)
    thrice.update(3)
    moved = [
        float((each.model.get_encoder().layers[0].fc1.bias - before).abs().max().detach()) for each in (once, thrice)
    ]
    assert moved[1] == pytest.approx(3 * moved[0], rel=0.05)


def test_the_same_seed_gives_the_same_steps():
    losses = []
    for seed in (1, 1, 2):
        steps = Steps(spec("bert", seed=seed))
        steps.model.eval()
        steps.forward_backward(steps.batch(2, 8))
        losses.append(steps.loss())
    assert losses[0] == losses[1] != losses[2]


def test_a_loss_that_is_no_number_is_refused():
    steps = Steps(spec("gpt2"))
    with pytest.raises(InvalidMeasurement, match="the loss is nan"):
        steps.loss()
    with torch.no_grad():
        steps.model.transformer.wte.weight.fill_(float("nan"))
    steps.forward_backward(steps.batch(1, 4))
    with pytest.raises(InvalidMeasurement, match="not steps of a training"):
        steps.loss()


def test_running_out_of_memory_says_what_to_do(monkeypatch):
    from harness.errors import ModelError

    steps = Steps(spec("gpt2"))

    def full(*_):
        raise torch.OutOfMemoryError("no more")

    steps._run = full
    with pytest.raises(ModelError, match="gpt2@tiny: cpu ran out of memory in a micro-batch; take a smaller one"):
        steps.forward_backward(steps.batch(1, 4))


@pytest.mark.parametrize(("field", "value"), [("optimizer", "SGD"), ("precision", "int8")])
def test_what_has_no_code_is_refused(field, value):
    with pytest.raises(UsageError, match=f"the {field} '{value}' cannot be run; known are"):
        spec("bert", **{field: value})


@pytest.mark.parametrize("workload", FAMILIES)
def test_departures_say_what_differs(workload):
    said = " ".join(departures(spec(workload)))
    assert "drawn at random" in said
    assert "the learning rate is 0 throughout" in said
    assert "dropout 0.1" in said
    assert ("both directions" in said) is (workload == "elmo")
    assert ("15 %" in said) is (workload == "bert")


def test_importing_it_loads_no_torch():
    import subprocess
    import sys

    code = "import sys, harness.workloads.architectures.steps, harness.sampling; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
