"""The four families at their published sizes: counted without memory, run at tiny."""

from __future__ import annotations

import math

import pytest

from harness.errors import ModelError
from harness.workloads.architectures import building, counting, presets
from harness.workloads.architectures.building import Fitting, SpecialIds

torch = pytest.importorskip("torch")


def tiny(family, **options):
    return building.build(presets.attention_preset(family, "tiny"), seed=1, **options)


def ids(*shape, below=1000):
    return torch.randint(3, below, shape, generator=torch.Generator().manual_seed(0))


def test_every_published_count_is_met_or_the_difference_is_explained(capsys):
    counts = [counting.parameters(preset) for preset in presets.PRESETS]
    with capsys.disabled():
        print()  # noqa: T201
        for count in counts:
            published = f"{count.published / 1e6:10.1f}M {count.ratio:7.4f}" if count.published else "   (ours)"
            print(f"  {count.name:18}{count.parameters:15,} {published}")  # noqa: T201
    for count, preset in zip(counts, presets.PRESETS, strict=True):
        if preset.published is None:
            assert count.ratio is None
            assert preset.size == "tiny"
            continue
        assert abs(count.ratio - 1) <= preset.published.within, count
        assert count.source
        assert len(count.note) > 40
    beyond = [count.name for count in counts if count.ratio and abs(count.ratio - 1) > 0.01]
    assert beyond == ["transformer@base", "bert@large"]


def test_counts_are_those_known_to_the_last_parameter():
    def count(family, size):
        return counting.parameters(presets.preset(family, size)).parameters

    assert count("bert", "base") == 110_106_428
    assert count("gpt2", "small") == 124_439_808
    assert count("gpt2", "xl") == 1_557_611_200
    # One bias vector a layer and direction fewer is the published ELMo, from its own layer sizes.
    assert count("elmo", "original") - 4 * 4 * 4096 == 93_600_864


def test_the_published_table_of_the_transformer_fits_no_single_vocabulary():
    """What the note on the 65M says: rows of Vaswani et al.'s Table 3 less the weights of their layers."""

    def rows(published_millions, layers, hidden, feed_forward):
        attention = 4 * hidden * hidden
        inner = 2 * hidden * feed_forward
        return (1e6 * published_millions - layers * (3 * attention + 2 * inner)) / hidden

    base = [rows(36, 2, 512, 2048), rows(50, 4, 512, 2048), rows(65, 6, 512, 2048), rows(80, 8, 512, 2048)]
    base += [rows(53, 6, 512, 1024), rows(90, 6, 512, 4096)]
    assert min(base) > 40_000
    assert max(base) < 42_500
    assert 35_500 < rows(213, 6, 1024, 4096) < 36_500


@pytest.mark.parametrize("head", ["pretraining", "masked", "classes"])
def test_bert_runs_forward_and_backward(head):
    model = tiny("bert", head=head, fitting=Fitting(vocabulary=1000, positions=40, classes=3))
    tokens_BT = ids(2, 40)
    labels = {"labels": torch.tensor([0, 2]) if head == "classes" else tokens_BT}
    if head == "pretraining":
        labels["next_sentence_label"] = torch.tensor([0, 1])
    found = model(input_ids=tokens_BT, **labels)
    found.loss.backward()
    chance = {"pretraining": math.log(1000) + math.log(2), "masked": math.log(1000), "classes": math.log(3)}[head]
    assert float(found.loss.detach()) == pytest.approx(chance, rel=0.15)


@pytest.mark.parametrize("family", ["gpt2", "transformer"])
def test_decoders_run_forward_and_backward_and_start_at_chance(family):
    model = tiny(family, fitting=Fitting(vocabulary=1000, positions=32))
    loss = model(input_ids=ids(2, 32), labels=ids(2, 32)).loss
    loss.backward()
    assert float(loss.detach()) == pytest.approx(math.log(1000), rel=0.2)


def test_the_transformer_writes_and_stops_within_its_positions():
    model = tiny("transformer", fitting=Fitting(vocabulary=50, positions=16, special=SpecialIds(pad=0, start=1, end=2)))
    written = model.eval().generate(ids(2, 5, below=50), max_new_tokens=6, do_sample=False)
    assert written.shape[0] == 2
    assert written.shape[1] <= 7
    assert (written[:, 0] == 1).all()


def test_masked_positions_change_nothing():
    for family in ("bert", "transformer"):
        model = tiny(family, fitting=Fitting(vocabulary=1000)).eval()
        tokens_BT, mask_BT = ids(1, 9), torch.tensor([[1] * 6 + [0] * 3])
        encoder = model.get_encoder() if family == "transformer" else model.bert
        with torch.no_grad():
            long = encoder(input_ids=tokens_BT, attention_mask=mask_BT).last_hidden_state[:, :6]
            short = encoder(input_ids=tokens_BT[:, :6]).last_hidden_state
        torch.testing.assert_close(long, short, rtol=1e-4, atol=1e-5)


def test_decoders_see_no_later_token():
    for family in ("gpt2", "transformer"):
        model = tiny(family, fitting=Fitting(vocabulary=1000)).eval()
        one_BT = ids(1, 8)
        other_BT = one_BT.clone()
        other_BT[0, 5] = 999
        name = "decoder_input_ids" if family == "transformer" else "input_ids"
        source = {"input_ids": ids(1, 4)} if family == "transformer" else {}
        with torch.no_grad():
            one, other = (model(**source, **{name: tokens}).logits for tokens in (one_BT, other_BT))
        torch.testing.assert_close(one[:, :5], other[:, :5], rtol=1e-4, atol=1e-5)
        assert not torch.allclose(one[:, 5:], other[:, 5:], atol=1e-3)


def test_positions_of_the_transformer_are_the_paper_s_sinusoids_with_dimensions_reordered():
    model = tiny("transformer")
    table = model.get_encoder().embed_positions.weight
    width = table.shape[1]
    for position in (0, 1, 7, 255):
        for pair in (0, 1, 31, width // 2 - 1):
            angle = position / 10_000 ** (2 * pair / width)
            assert float(table[position, pair]) == pytest.approx(math.sin(angle), abs=1e-5)
            assert float(table[position, width // 2 + pair]) == pytest.approx(math.cos(angle), abs=1e-5)
    assert not table.requires_grad


def test_one_matrix_serves_input_output_and_decoder_of_the_transformer():
    model = tiny("transformer")
    shared = model.model.shared.weight
    assert model.lm_head.weight is shared
    assert model.get_encoder().embed_tokens.weight is shared
    assert model.get_decoder().embed_tokens.weight is shared
    assert model.get_encoder().embed_scale == math.sqrt(128)


def test_a_seed_gives_its_weights_and_leaves_the_random_state_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one, same = (tiny("gpt2") for _ in range(2))
    assert torch.equal(torch.rand(3), expected)
    other = building.build(presets.attention_preset("gpt2", "tiny"), seed=2)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters(), strict=True))
    assert not torch.equal(one.transformer.wte.weight, other.transformer.wte.weight)


@pytest.mark.parametrize("family", ["bert", "gpt2", "transformer"])
def test_the_traced_memory_of_a_training_step_is_what_the_cpu_holds(family):
    """The same mode over real tensors: meta operations must keep what real ones keep."""
    from harness.workloads.architectures import tracing

    preset = presets.attention_preset(family, "tiny")
    estimate = counting.memory_bytes(preset, phase="train", batch=3, length=64)
    model = building.build(preset, seed=0).train()
    inputs = {"input_ids": ids(3, 64), "labels": ids(3, 64)}
    if family == "bert":
        inputs["next_sentence_label"] = torch.tensor([0, 1, 0])
    real = tracing.training_peak(model, "adam", lambda: model(**inputs).loss)
    # Without dropout in attention (transformer) the CPU fuses it and keeps less than what is traced.
    assert 0.99 * real < estimate.tensors_bytes < 1.05 * real


def test_memory_grows_with_the_batch_and_training_needs_more_than_inference():
    preset = presets.preset("bert", "mini")
    infer = counting.memory_bytes(preset, phase="infer", batch=1, length=128)
    one, four = (counting.memory_bytes(preset, phase="train", batch=batch, length=128) for batch in (1, 4))
    plain = counting.memory_bytes(preset, phase="train", batch=1, length=128, optimizer="sgd")
    assert infer.tensors_bytes < plain.tensors_bytes < one.tensors_bytes < four.tensors_bytes
    # Weights, gradients and Adam's two moments: 16 bytes a parameter.
    assert one.tensors_bytes > 16 * 11_200_000
    assert infer.weights_bytes == pytest.approx(4 * 11_267_900, rel=1e-3)


def test_a_size_that_does_not_fit_is_refused_with_both_numbers():
    preset = presets.preset("gpt2", "xl")
    with pytest.raises(ModelError, match=r"gpt2@xl: inference with 4 x 1024 tokens needs about \d+\.\d GB .* 4\.0 GB"):
        counting.refuse_unless_fits(preset, phase="infer", batch=4, length=1024, free_bytes=4_000_000_000)
    small = presets.preset("bert", "tiny")
    found = counting.refuse_unless_fits(small, phase="infer", batch=1, length=16)
    assert found.free_bytes is None or found.free_bytes > found.needed_bytes


def test_what_cannot_be_built_is_refused():
    bert = presets.attention_preset("bert", "tiny")
    with pytest.raises(ModelError, match="longer than its 512 positions"):
        counting.memory_bytes(bert, phase="infer", batch=1, length=513)
    with pytest.raises(ModelError, match="is empty"):
        counting.memory_bytes(bert, phase="infer", batch=0, length=5)
    with pytest.raises(ModelError, match="do not lie within 2 tokens"):
        building.config(bert, Fitting(vocabulary=2))
    with pytest.raises(ModelError, match="has no head 'causal'; it has pretraining"):
        building.build(bert, seed=0, head="causal")
    with pytest.raises(ModelError, match="did you mean 'base'"):
        presets.preset("bert", "bsae")
    with pytest.raises(ModelError, match="did you mean 'gpt2'"):
        presets.preset("gpt", "small")
