"""What people see when they are asked, reminded, and told how it ended. Pure."""

from __future__ import annotations

from typing import Any, Dict, List, Sequence, Tuple

from kubestorm.core.naming import GROUP, Identity
from kubestorm.kinds.common.approval import EXPIRED, GRANTED, REFUSED, WAITING
from kubestorm.people.approval.plan import approvers_text
from kubestorm.people.approval.proposal import Proposal
from kubestorm.people.approval.record import NO, YES, Record
from kubestorm.people.approval.settings import DELETE, Rule
from kubestorm.people.chat.formatting import slack_escape
from kubestorm.people.notifications.slack_blocks import MAX_BLOCKS, cut, facts, section

APPROVE_ACTION, REFUSE_ACTION = "approval_approve", "approval_refuse"
COMMENT_INPUT = "approval_comment"
_MARKS = {
    WAITING: ":raised_hand:",
    GRANTED: ":white_check_mark:",
    REFUSED: ":no_entry:",
    EXPIRED: ":hourglass:",
}
_WORDS = {
    GRANTED: "Approved by {by}",
    REFUSED: "Refused by {by}",
    EXPIRED: "Nobody answered in time",
}
VOID = "void"

Block = Dict[str, Any]


def button_value(identity: Identity, number: str) -> str:
    """What a button stands for: which object's question, and which one of them."""
    kind = identity.plural if identity.group == GROUP else f"{identity.plural}.{identity.group}"
    return f"{kind}/{identity.namespace}/{identity.name}/{number}"


def read_button(value: str) -> Tuple[str, str, str, str]:
    """Kind (its plural, with the group where that is not ours), namespace, name, number; ValueError
    otherwise.
    """
    parts = value.split("/")
    if len(parts) != 4 or not all(parts):
        raise ValueError("not a button of ours")
    return parts[0], parts[1], parts[2], parts[3]


def ask_blocks(identity: Identity, proposal: Proposal, record: Record, rule: Rule) -> List[Block]:
    """The question with its form: what, the differences, who may answer, a comment, two buttons."""
    blocks = [section(f":raised_hand: *Approval {record.number}:* {slack_escape(proposal.title)}")]
    blocks += _content(proposal)
    blocks += _votes(record)
    blocks.append(
        {
            "type": "input",
            "block_id": "comment",
            "optional": True,
            "label": {"type": "plain_text", "text": "Comment"},
            "element": {"type": "plain_text_input", "action_id": COMMENT_INPUT, "max_length": 300},
        }
    )
    value = button_value(identity, record.number)
    approve = _button("Approve", APPROVE_ACTION, value, "primary")
    if record.what == DELETE:
        approve["confirm"] = {
            "title": {"type": "plain_text", "text": "Destroy the data?"},
            "text": {"type": "plain_text", "text": cut(proposal.title, 290)},
            "confirm": {"type": "plain_text", "text": "Yes, approve"},
            "deny": {"type": "plain_text", "text": "No"},
            "style": "danger",
        }
    refuse = _button("Refuse", REFUSE_ACTION, value, "danger")
    blocks.append({"type": "actions", "block_id": "buttons", "elements": [approve, refuse]})
    return [*blocks, *facts(_small_print(record, rule))][:MAX_BLOCKS]


def closed_blocks(proposal: Proposal, record: Record, state: str) -> List[Block]:
    """The same without the form, and how it ended."""
    if state == VOID:
        ending = ":arrows_counterclockwise: What was to happen has changed; this question is void."
    else:
        ending = f"{_MARKS[state]} {_WORDS[state].format(by=slack_escape(record.by))}."
    blocks = [
        section(f"*Approval {record.number}:* {slack_escape(proposal.title)}"),
        *_content(proposal),
        *_votes(record),
    ]
    return [*blocks, section(ending)][:MAX_BLOCKS]


def ask_text(proposal: Proposal, record: Record, rule: Rule) -> str:
    """The question for where there are no buttons."""
    lines = [f"Approval {record.number}: {proposal.title}"]
    lines += [f"{label}: {value}" for label, value in proposal.facts]
    lines += list(proposal.changes)
    lines.append(f"Say `approve {record.number}` or `refuse {record.number} because REASON`.")
    lines += [f"{label}: {value}" for label, value in _small_print(record, rule)]
    return "\n".join(lines)


def reminder_text(record: Record, minutes_left: int) -> str:
    """To be said again."""
    left = f"{minutes_left} minutes" if minutes_left < 120 else f"{minutes_left // 60} hours"
    return f"Approval {record.number} still waits for an answer; it expires in {left}."


def ended_text(record: Record) -> str:
    """How it ended, in a sentence."""
    return f"Approval {record.number}: {_WORDS[record.state].format(by=record.by)}."


def _content(proposal: Proposal) -> List[Block]:
    blocks = facts(proposal.facts)
    if proposal.changes:
        text = "\n".join(proposal.changes).replace("```", "'''")
        blocks.append(section(f"```{slack_escape(cut(text, 2400))}```"))
    return blocks


def _votes(record: Record) -> List[Block]:
    words = {YES: "approved", NO: "refused"}
    lines = [
        f"{slack_escape(vote.by)} {words.get(vote.decision, '?')} by {slack_escape(vote.via)}"
        + (f": {slack_escape(vote.comment)}" if vote.comment else "")
        for vote in record.answers
    ]
    return [section("\n".join(lines))] if lines else []


def _small_print(record: Record, rule: Rule) -> Sequence[Tuple[str, str]]:
    needed = [("needed", f"{record.quorum} of them")] if record.quorum > 1 else []
    return [("may answer", approvers_text(rule)), *needed, ("expires", record.expires_at)]


def _button(text: str, action: str, value: str, style: str) -> Block:
    label = {"type": "plain_text", "text": text}
    return {"type": "button", "text": label, "action_id": action, "value": value, "style": style}
