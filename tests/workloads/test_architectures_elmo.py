"""ELMo: what each direction may know, what padding may not change, and its two word losses."""

from __future__ import annotations

import math

import pytest

from harness.errors import DataError
from harness.workloads.architectures import characters, counting, presets

torch = pytest.importorskip("torch")

PRESET = presets.elmo_preset("tiny")
SENTENCES = [["a", "rather", "long", "sentence", "of", "words"], ["short"], ["naïve", "日本", "x" * 90]]


@pytest.fixture(scope="module")
def model():
    from harness.workloads.architectures import elmo

    return elmo.build(PRESET, seed=3, vocabulary=200).eval()


def states(model, sentences):
    with torch.no_grad():
        return model.model(characters.batch(sentences, PRESET.max_characters))


def test_words_are_their_utf8_bytes_between_marks():
    assert characters.word_ids("hé", 8) == [259, 105, 196, 170, 260, 261, 261, 261]
    long = characters.word_ids("y" * 90, 50)
    assert len(long) == 50
    assert long[-1] == characters.END_WORD
    assert long[1:-1] == [ord("y") + 1] * 48
    assert characters.word_ids("\ud800", 5) == [259, 260, 261, 261, 261]
    rows = characters.sentence_ids(["a"], 4)
    assert [row[1] for row in rows] == [characters.BEGIN_SENTENCE, ord("a") + 1, characters.END_SENTENCE]
    assert max(max(row) for row in rows) < characters.CHARACTERS == PRESET.characters
    with pytest.raises(DataError):
        characters.batch([], 50)


def test_a_sentence_does_not_see_the_padding_of_its_batch(model):
    together = states(model, SENTENCES)
    for number, words in enumerate(SENTENCES):
        alone, length = states(model, [words]), len(words) + 2
        for layer, own in zip(together.layers(), alone.layers(), strict=True):
            torch.testing.assert_close(layer[number, :length], own[0], rtol=1e-4, atol=1e-6)
            assert not layer[number, length:].any()


def test_forward_sees_no_later_word_and_backward_no_earlier_one(model):
    one, other = states(model, [["a", "b", "c", "d"]]), states(model, [["a", "b", "other", "d"]])
    changed = 3  # the sentence's begin mark comes first
    for layer_one, layer_other in zip(one.forward, other.forward, strict=True):
        assert torch.equal(layer_one[:, :changed], layer_other[:, :changed])
        assert not torch.allclose(layer_one[:, changed:], layer_other[:, changed:], atol=1e-5)
    for layer_one, layer_other in zip(one.backward, other.backward, strict=True):
        assert torch.equal(layer_one[:, changed + 1 :], layer_other[:, changed + 1 :])
        assert not torch.allclose(layer_one[:, : changed + 1], layer_other[:, : changed + 1], atol=1e-5)


def test_backward_is_forward_of_the_sentence_turned_round(model):
    from harness.workloads.architectures import elmo

    turned = elmo.build(PRESET, seed=3, vocabulary=200).eval()
    turned.model.backwards.load_state_dict(turned.model.forwards.state_dict())
    chars_BTC = characters.batch([["one", "two", "three"]], PRESET.max_characters)
    with torch.no_grad():
        ahead, behind = turned.model(chars_BTC), turned.model(chars_BTC.flip(1))
    torch.testing.assert_close(ahead.forward[-1], behind.backward[-1].flip(1), rtol=1e-5, atol=1e-6)


def test_the_second_layer_adds_its_input_and_the_first_does_not(model):
    direction = model.model.forwards
    tokens_BTP = states(model, [["a", "b"]]).tokens_BTP
    with torch.no_grad():
        first, second = direction(tokens_BTP)
        read = direction.layers[0](tokens_BTP)[0]
        torch.testing.assert_close(first, read)
        torch.testing.assert_close(second, direction.layers[1](read)[0] + read)


def test_the_mix_is_equation_one():
    from harness.workloads.architectures.elmo import ScalarMix

    mix = ScalarMix(3)
    layers = tuple(torch.full((1, 2, 4), value) for value in (1.0, 2.0, 6.0))
    torch.testing.assert_close(mix(layers), torch.full((1, 2, 4), 3.0))
    with torch.no_grad():
        mix.weights.copy_(torch.tensor([0.0, math.log(3.0), -1e9]))
        mix.gamma.fill_(2.0)
    torch.testing.assert_close(mix(layers), torch.full((1, 2, 4), 2.0 * (0.25 + 1.5)))


def test_the_loss_counts_real_words_only_and_starts_at_chance(model):
    chars_BTC = characters.batch(SENTENCES, PRESET.max_characters)
    words_BT = torch.randint(200, chars_BTC.shape[:2], generator=torch.Generator().manual_seed(1))
    otherwise_BT = torch.where((chars_BTC > 0).any(-1), words_BT, 7)
    with torch.no_grad():
        loss, same = model(chars_BTC, words_BT), model(chars_BTC, otherwise_BT)
    assert torch.equal(loss, same)
    assert float(loss) == pytest.approx(math.log(200), rel=0.1)


def test_it_learns_to_predict_both_ways():
    from harness.workloads.architectures import elmo

    model = elmo.build(PRESET, seed=1, vocabulary=8)
    chars_BTC = characters.batch([["a", "b", "c", "d"], ["d", "c", "a"]], PRESET.max_characters)
    words_BT = torch.tensor([[0, 2, 3, 4, 5, 1], [0, 5, 4, 2, 1, 0]])
    steps = torch.optim.AdamW(model.parameters(), lr=0.01)
    torch.manual_seed(0)
    for _ in range(60):
        loss = model(chars_BTC, words_BT)
        steps.zero_grad()
        loss.backward()
        steps.step()
    assert float(loss.detach()) < 0.4  # chance is 2.08; the word after the begin mark stays a coin's throw


def test_drawn_words_are_different_and_as_likely_as_said():
    from harness.workloads.architectures import softmax

    torch.manual_seed(0)
    vocabulary, number, estimates, hits = 300, 40, [], torch.zeros(300)
    for _ in range(400):
        words, threshold = softmax.draw(vocabulary, number, torch.device("cpu"))
        assert len(set(words.tolist())) == number
        hits[words] += 1
        estimates.append(float((1 / softmax._inclusion(words, vocabulary, threshold)).sum()))
    # Each drawn word stands for 1/probability words, so they add up to the vocabulary on average.
    error = torch.tensor(estimates).std() / math.sqrt(len(estimates))
    assert abs(sum(estimates) / len(estimates) - vocabulary) < 4 * float(error)
    assert hits[0] > 3 * hits[100]


def test_training_on_the_sampled_softmax_lowers_the_full_one():
    from harness.workloads.architectures.softmax import WordSoftmax

    torch.manual_seed(0)
    head = WordSoftmax(8, 500, negatives=50)
    truth = 1.0 / torch.arange(1, 501)
    truth /= truth.sum()
    entropy = float(-(truth * truth.log()).sum())
    states_NP = torch.ones(4000, 8)
    words_N = torch.multinomial(truth, 4000, replacement=True)
    steps = torch.optim.Adam(head.parameters(), lr=0.01)
    before = float(head.eval()(states_NP, words_N).detach())
    head.train()
    for _ in range(300):
        loss = head(states_NP[:256], words_N[torch.randint(4000, (256,))])
        steps.zero_grad()
        loss.backward()
        steps.step()
    with torch.no_grad():
        after = float(head.eval()(states_NP, words_N))
    assert before > entropy + 0.5
    assert after < entropy + 0.05


def test_the_full_softmax_is_the_same_in_chunks(monkeypatch):
    from harness.workloads.architectures import softmax

    head = softmax.WordSoftmax(4, 30, negatives=5).eval()
    states_NP, words_N = torch.randn(11, 4), torch.arange(11)
    whole = head(states_NP, words_N)
    monkeypatch.setattr(softmax, "_CHUNK_ELEMENTS", 90)
    with torch.no_grad():
        torch.testing.assert_close(head(states_NP, words_N), whole.detach())
    assert softmax.WordSoftmax(4, 30, negatives=30).negatives is None


def test_the_traced_memory_is_near_what_the_cpu_holds():
    from harness.workloads.architectures import elmo, tracing

    estimate = counting.memory_bytes(PRESET, phase="train", batch=4, length=30)
    model = elmo.build(PRESET, seed=0).train()
    chars_BTC = characters.batch([["w"] * 28] * 4, PRESET.max_characters)
    words_BT = torch.zeros(4, 30, dtype=torch.int64)
    real = tracing.training_peak(model, "adam", lambda: model(chars_BTC, words_BT))
    assert estimate.tensors_bytes == pytest.approx(real, rel=0.1)


def test_the_published_softmax_is_sampled_and_counted_apart():
    original = presets.preset("elmo", "original")
    assert original.negatives == 8192
    infer = counting.memory_bytes(original, phase="infer", batch=1, length=32)
    train = counting.memory_bytes(original, phase="train", batch=1, length=32)
    # The softmax of 793,471 words has 407M parameters, four copies of which training keeps.
    assert train.tensors_bytes > 16 * (407_000_000 + 93_600_000)
    assert 4 * 500_000_000 < infer.tensors_bytes < 4 * 550_000_000
