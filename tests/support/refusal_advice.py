"""What staff can do about each refusal: the one part of the guide's table that the code does not know."""

from __future__ import annotations

from typing import Final

from entitlements.model import Reason

ADVICE: Final[dict[Reason, str]] = {
    Reason.OK: "Nothing to do.",
    Reason.REPEAT_SCAN: "Nothing to do. Let them through; the first tap was the visit.",
    Reason.NEEDS_CONFIRMATION: (
        "Ask the person the rule names to confirm: the cardholder, or someone they have chosen to manage their money. "
        "Do not confirm for them."
    ),
    Reason.CACHE_TOO_OLD: (
        "Check the card by hand and decide yourself. Tell whoever looks after the gates; the gates page shows how old "
        "the information is."
    ),
    Reason.CLOCK_UNTRUSTED: "Check the card by hand and decide yourself. Tell whoever looks after the gates.",
    Reason.OFFLINE_STAFF_ONLY: (
        "Check the card by hand and decide yourself. The gate decides again once it is connected."
    ),
    Reason.CARD_SUSPENDED: (
        "Look up why the card is on hold. If the reason is over, end the hold; the same card then works again."
    ),
    Reason.CARD_LOST: (
        "Ask who is holding it. If it is the cardholder, replace the card: a lost card never works again. "
        "If it is not, keep it."
    ),
    Reason.CARD_REPLACED: "Ask for the newer card. If they never got it, replace that one.",
    Reason.CARD_EXPIRED: "Issue a new card. An expired card cannot be renewed.",
    Reason.CARD_REVOKED: (
        "Look up why it was revoked, away from the queue. It never works again; issue a new card if that is right."
    ),
    Reason.UNKNOWN_CARD: (
        "Ask which council it is from. If it was issued minutes ago, wait a moment and try again. Otherwise look the "
        "person up."
    ),
    Reason.BAD_SIGNATURE: (
        "Try again with more light or a cleaner screen. If it fails again, look the person up: the card may be damaged "
        "or may be a copy that somebody made."
    ),
    Reason.EXPIRED_CODE: "Ask them to open the card on the phone again, so that it shows a fresh code.",
    Reason.REPLAYED_CODE: (
        "Ask them to open the card on the phone again. A screenshot or a passed-on code does not work twice."
    ),
    Reason.PRESENTATION_NOT_ACCEPTED: "Ask for the phone or the plastic card, whichever this service takes.",
    Reason.BLOCKED: "Look up the block, away from the queue, and ask whoever set it when it ends.",
    Reason.WRONG_SITE: "Tell them which sites the service is at. If this site should be one, tell the service manager.",
    Reason.WRONG_ZONE: "Show them the right entrance. If this one should count, tell the service manager.",
    Reason.SERVICE_NOT_STARTED: "Tell them the first day.",
    Reason.SERVICE_ENDED: "Tell them what is offered instead. If the service goes on, tell the service manager.",
    Reason.NOT_DELEGATE: (
        "Look up whom the cardholder has chosen, what for and until when. Record it if they ask for it and show what "
        "is needed."
    ),
    Reason.DELEGATE_BLOCKED: (
        "Look up the block of the person in front of you. The cardholder can still come themselves."
    ),
    Reason.DELEGATE_LIMIT: "Suggest a smaller amount, or ask the cardholder to come or to raise what they allowed.",
    Reason.NOT_ELIGIBLE: (
        "Look the person up and compare with the read-back of the service. If something has changed (an address, a "
        "proof), record it; the gate knows within moments."
    ),
    Reason.ELIGIBILITY_UNKNOWN: (
        "Look up which detail is missing, such as a date of birth or an address, and record it."
    ),
    Reason.NEEDS_ADULT_CARD: "Ask for the adult. The adult taps and brings the child in.",
    Reason.TOO_MANY_CHILDREN: "Ask for a second adult with a card, or let the children come in turns.",
    Reason.PIN_REQUIRED: "Ask them to type their PIN at the keypad. Never ask them to tell you.",
    Reason.PIN_WRONG: (
        "Let them try again. After three wrong ones the card is locked here for a while; you can unlock it once they "
        "have shown who they are. If they have forgotten it, they set a new one; do not let them in on your own."
    ),
    Reason.OUTSIDE_HOURS: (
        "Tell them when it opens. If the times are wrong, or a closing day is missing, tell the service manager."
    ),
    Reason.ALREADY_INSIDE: (
        "Ask whether they left without tapping, or whether someone else has their card. If they had simply gone out, "
        "let them in yourself."
    ),
    Reason.QUOTA_USED: (
        "Look up what was used and when the next period starts. If a visit was counted wrongly, correct the count and "
        "say why."
    ),
    Reason.OFFLINE_ALLOWANCE_USED: (
        "Look at the gate's connection. Until it is back, decide yourself and write it down."
    ),
    Reason.NO_OFFLINE_SPEND: (
        "Look at the connection. Do not take the money another way and enter it later as this service."
    ),
    Reason.ITEM_NOT_IN_PLAN: (
        "Show them what is on the list, quietly. If something is missing, tell the service manager."
    ),
    Reason.INSUFFICIENT: "Tell them privately what is left. Never say it in front of others.",
    Reason.WEEKLY_LIMIT: "Tell them privately what is left and when the next period starts.",
    Reason.NO_BOOKING: "Look up the booking: it may be for another day, another room or another card.",
    Reason.TOO_EARLY: "Tell them from when the door opens for them.",
    Reason.BOOKING_RELEASED: "If the room is still free, book it for them again; the old booking needs nothing.",
    Reason.BOOKING_OVER: "If the room is free, book it for them again.",
    Reason.OVERDUE_BLOCK: "Take them aside, say which item is late, and take it back.",
    Reason.LOAN_LIMIT: "Take something back first.",
    Reason.FULL: "Ask them to wait. If people have left without being counted, tell whoever looks after the gates.",
}
"""By reason. Said to somebody who stands beside the gate and has the desk's screen."""

FAMILIES: Final[tuple[tuple[str, str, str], ...]] = (
    (
        "needs_open-plus-induction",
        "needs_ and the name of the step",
        "Say which step it is, away from the queue, and help them do it. Record it when it is done.",
    ),
    (
        "library_blocked",
        "the name of the system, then _blocked",
        "Look the person up in that system, away from the queue. What is decided there counts here.",
    ),
    (
        "library_check_unavailable",
        "the name of the system, then _check_unavailable",
        "Look them up in that system yourself, if you can reach it. Tell whoever looks after the connection.",
    ),
)
"""An example, how the name is made, and advice, of the three families that carry a name of their own."""
