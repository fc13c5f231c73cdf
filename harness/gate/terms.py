"""What the configuration says of one case, in the words of the deciding and of the results."""

from __future__ import annotations

from harness.gate.findings import Terms
from harness.gate.model import CaseResult, Verdict
from harness.gate.targets import GateConfig, accepted, advisory, policy_of


def terms_of(config: GateConfig, name: str) -> Terms:
    """Return the policy of a case, whether it is advisory, and the cost that is accepted of it."""
    entry = accepted(config, name)
    return Terms(
        policy=policy_of(config, name),
        advisory=advisory(config, name),
        accepted=None if entry is None else entry.label,
        up_to=0.0 if entry is None else float(entry.up_to),
    )


def expired_notes(config: GateConfig) -> tuple[str, ...]:
    """Return a note on every entry that accepts nothing any more."""
    return tuple(f"the entry that accepts {e.case} expired on {e.expires} and is ignored" for e in config.expired)


def result_without_blocks(config: GateConfig, name: str, verdict: Verdict, reason: str) -> CaseResult:
    """Return the result of a case that was not measured, or not soundly."""
    held = terms_of(config, name)
    return CaseResult(
        name=name,
        verdict=verdict,
        reason=reason,
        looks=config.policy.looks,
        blocks_allowed=config.policy.most_blocks,
        advisory=held.advisory,
        accepted=held.accepted,
    )
