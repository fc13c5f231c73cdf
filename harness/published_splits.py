"""What others have published about how much of machine learning is inference, beside which a run can be laid."""

from __future__ import annotations

from harness.records import Frozen


class PublishedSplit(Frozen, frozen=True, kw_only=True):
    """A published share of inference, with what it is a share *of*: never mix unlike quantities.

    `evidence`: `quoted` = the primary source's words were seen, `secondary` = reported by others.
    """

    source: str
    year: str
    share_of: str
    inference_share_low: float
    inference_share_high: float
    evidence: str


PUBLISHED_SPLITS = (
    PublishedSplit(
        source="NVIDIA, by HPCwire (cited in Patterson et al. 2021)",
        year="2019",
        share_of="ML workload",
        inference_share_low=0.80,
        inference_share_high=0.90,
        evidence="secondary",
    ),
    PublishedSplit(
        source="Amazon Web Services blog (Barr)",
        year="2019",
        share_of="ML demand in the cloud",
        inference_share_low=0.90,
        inference_share_high=0.90,
        evidence="secondary",
    ),
    PublishedSplit(
        source="Google (Patterson et al. 2022)",
        year="2019–2021",
        share_of="measured energy of all ML, research included",
        inference_share_low=0.60,
        inference_share_high=0.60,
        evidence="quoted",
    ),
    PublishedSplit(
        source="Meta (Wu et al. 2022)",
        year="2022",
        share_of="power capacity for AI (20 % training, 10 % experiments)",
        inference_share_low=0.70,
        inference_share_high=0.70,
        evidence="quoted",
    ),
)
"""Splits that are quoted side by side although they are shares of unlike quantities."""
