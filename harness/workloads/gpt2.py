"""Generate n tokens: GPT-2 at its published sizes; one task is n tokens after a prompt.

Radford et al. 2019: `tiny` (ours), `small` (124M), `medium` (355M), `large` (774M), `xl` (1,558M). Trained on running
text: the embedded documentation, or files such as WikiText-2 by path.
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from harness.records import Frozen
from harness.workloads.causal_generation import CausalGeneration, Settings
from harness.workloads.language import DocumentationData, TextData
from harness.workloads.params import Count
from harness.workloads.sources import Sized
from harness.workloads.strict import convert, spelled
from harness.workloads.vocabularies import FEWEST


class Params(Frozen, frozen=True, kw_only=True):
    """All parameters of the workload.

    `vocabulary` is the number of tokens (None: the published 50,257; `tiny`: 4,096). A training example holds
    `max_length` tokens; `new_tokens` are generated after a prompt of `prompt_words` words.
    """

    data: TextData = DocumentationData()
    size: str = "tiny"
    vocabulary: Annotated[int, Meta(ge=FEWEST)] | None = None
    max_length: Annotated[int, Meta(ge=16)] = 64
    prompt_words: Count = 12
    new_tokens: Count = 16


def load(params: dict[str, Any], seed: int) -> CausalGeneration:
    """Return the workload; nothing is read yet.

    Raises: ConfigError: a parameter is not valid.
    """
    parsed = convert(params, Params)
    settings = Settings(
        seed=seed,
        max_length=parsed.max_length,
        prompt_words=parsed.prompt_words,
        new_tokens=parsed.new_tokens,
        vocabulary=parsed.vocabulary,
    )
    return CausalGeneration("gpt2", parsed.data, Sized("gpt2", parsed.size, "causal"), settings)


def settle(params: dict[str, Any]) -> tuple[dict[str, Any], None]:
    """Return the parameters spelled out; nothing is ever replaced.

    Raises: ConfigError: a parameter is not valid.
    """
    load(params, 0)
    return spelled(params, Params), None
