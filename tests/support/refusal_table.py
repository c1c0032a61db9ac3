"""The guide's table of refusals, made from the sentences that gates show.

``python -m tests.support.refusal_table`` writes it into the page again after a sentence was changed.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from entitlements.compiled import REFERRED
from entitlements.model import Decision, Instant, Outcome, Reason, Step, deciding_step
from entitlements.sentences import Sentences, describe
from tests.support.refusal_advice import ADVICE, FAMILIES

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "guide" / "refusals.md"
BEGIN: Final = "<!-- made by python -m tests.support.refusal_table: do not write between these two lines -->"
END: Final = "<!-- end of what is made -->"

STEPS: Final[tuple[tuple[Step, str], ...]] = (
    (Step.CREDENTIAL, "The code could not be used"),
    (Step.CARD_STATE, "The card itself"),
    (Step.FRESHNESS, "The gate cannot be sure"),
    (Step.BLOCK, "Somebody has blocked the person"),
    (Step.PLACE, "The wrong place"),
    (Step.DATES, "Before the first day or after the last"),
    (Step.DELEGATE, "Acting for someone else"),
    (Step.WHO, "Who can use it"),
    (Step.REQUIRES, "Something else is needed"),
    (Step.WHEN, "Opening hours"),
    (Step.LIMITS, "Limits"),
)
"""Steps of a decision in their order, as headings."""
NO_REFUSALS: Final = frozenset((Reason.OK, Reason.REPEAT_SCAN))


def refusals() -> str:
    """All reasons as Markdown: a heading and a table for each step that refuses."""
    blocks = []
    for step, heading in STEPS:
        rows = [_row(reason, f"`{reason}`", ADVICE[reason]) for reason in Reason if _belongs(reason, step)]
        if step is Step.REQUIRES:
            rows += [_row(example, f"`{example}` ({made})", advice) for example, made, advice in FAMILIES]
        head = [
            "| What the resident sees | What staff see | What staff can do | Name in reports |",
            "|---|---|---|---|",
        ]
        blocks.append("\n".join([f"## {heading}", "", *head, *rows]))
    return "\n\n".join(blocks)


def page_with(table: str, page: str) -> str:
    """The page with the table between its two marks.

    Raises:
        ValueError: the page does not have both marks once, in order.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in after or END in after:
        raise ValueError(f"{PAGE.name} needs the two marks once, in order")
    return f"{before}{BEGIN}\n\n{table}\n\n{END}{after}"


def _belongs(reason: Reason, step: Step) -> bool:
    return reason not in NO_REFUSALS and deciding_step(reason) is step


def _row(reason: str, name: str, advice: str) -> str:
    outcome = Outcome.CONFIRM if reason == Reason.NEEDS_CONFIRMATION else Outcome.DENY
    said = describe(Decision(outcome=outcome, reason=reason), at=Instant(0), timezone="Europe/London")
    return f"| {' | '.join(_cells(said, reason))} | {advice} | {name} |"


def _cells(said: Sentences, reason: str) -> Iterable[str]:
    light = "Amber" if reason in REFERRED or reason == Reason.NEEDS_CONFIRMATION else "Red"
    shown = f"**{said.public}** {said.next_step}".strip()
    if reason == Reason.OUTSIDE_HOURS:
        shown += " Then the next opening, such as “Opens Monday at 07:00”."
    yield f"{light}: {shown}"
    yield said.staff


if __name__ == "__main__":
    PAGE.write_text(page_with(refusals(), PAGE.read_text(encoding="utf-8")), encoding="utf-8")
