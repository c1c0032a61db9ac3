"""Quotas, money, capacity and presence: what happens offline, who confirms, whom a rule locks out."""

from __future__ import annotations

import re

from entitlements.explain.words import counted, humanise, money, plural
from entitlements.lint.findings import Findings
from entitlements.service import (
    MAX_SPEND_PENCE,
    Age,
    All,
    Any,
    Balance,
    Capacity,
    Confirm,
    Expression,
    Holds,
    Not,
    Offline,
    Quota,
    ResidentOf,
    ServiceDocument,
)

MONEY_WORDS = frozenset(
    (
        *("cash", "money", "currency", "pence", "penny", "pennies", "pound", "sterling", "quid", "cent", "dollar"),
        *("euro", "gbp", "eur", "usd", "£", "€", "$", "¥"),
    )
)
"""In whichever part of a unit's name one of these stands, the unit is money by another name."""
MONEY_ALONE = frozenset(
    (
        *("p", "coin", "credit", "fund", "aud", "cad", "chf", "cny", "czk", "dkk", "hkd", "huf", "inr", "isk", "jpy"),
        *("nok", "nzd", "pkr", "pln", "ron", "sek", "sgd", "zar"),
    )
)
"""Words that are money only where they are the whole name: an hour for credit is none, nor one at a CAD desk. Of the
codes of currencies (ISO 4217) those that are words are left out: nobody pays with a CUP or a TRY."""
_UNIT_WORDS = re.compile(r"[A-Z]+s?(?![a-z])|[A-Z]?[a-z]+|[£€$¥]")


def limits(document: ServiceDocument, findings: Findings) -> None:
    """Every limit, and what the document says about the network being down."""
    quotas = {limit.account for limit in document.limits if isinstance(limit, Quota)}
    for index, limit in enumerate(document.limits):
        pointer = f"/limits/{index}"
        if isinstance(limit, Quota):
            _quota(limit, f"{pointer}/quota", document, findings)
        elif isinstance(limit, Balance):
            _balance(limit, f"{pointer}/balance", document, quotas, findings)
        elif isinstance(limit, Capacity):
            _capacity(limit, f"{pointer}/capacity", document, findings)
    if document.kind == "spend" and not any(isinstance(limit, Balance) for limit in document.limits):
        findings.error(
            "spend_without_confirmation",
            "/limits",
            "This service is for spending, but has no balance, so nothing is ever confirmed or counted.",
            "Add a balance with a confirmation, or choose another kind of service.",
        )
    _staleness(document, findings)


def _quota(quota: Quota, pointer: str, document: ServiceDocument, findings: Findings) -> None:
    offline = document.offline
    leases = dict(offline.lease)
    units = plural(humanise(quota.unit), 2)
    if quota.max == 0:
        findings.warn("quota_of_nothing", f"{pointer}/max", f"Nobody may have any {units}.", "Raise the limit.")
    if quota.counts == "used" and quota.account not in leases and offline.mode != "staff_only":
        if _silent_on_quota(offline):
            findings.error(
                "quota_without_offline_rule",
                pointer,
                f"Nothing says what happens to {units} (“{quota.account}”) when a site’s network is down.",
                f"Under “offline”, add a lease: how many {units} a site may give out meanwhile, for example "
                f'"lease": {{"{quota.account}": 1}}. Write 0 to refuse everyone, or "mode": "staff_only".',
            )
        else:
            findings.warn(
                "quota_refused_offline",
                pointer,
                f"When the network is down, everyone is refused: no {units} (“{quota.account}”) are leased to sites.",
                f'If people should still be let in, add "lease": {{"{quota.account}": 1}} under “offline”.',
            )
    if leases.get(quota.account, 0) > quota.max:
        findings.warn(
            "lease_beyond_quota",
            f"/offline/lease/{quota.account}",
            f"A site may give out {counted(leases[quota.account], humanise(quota.unit))} offline, "
            f"more than the limit of {quota.max}.",
            "Lower the lease.",
        )
    if _is_money(quota.unit) and leases.get(quota.account, 0):
        _spendable(f"/offline/lease/{quota.account}", quota.account, findings)
    if quota.scope in ("vehicle", "permit") and not _asks_permit(document.who):
        findings.warn(
            "scope_without_permit",
            f"{pointer}/scope",
            f"The limit is kept by {quota.scope}, but “who” asks for no permit: who has none counts by person.",
            "Ask for a permit under “who”, or keep the limit by person or household.",
        )


def _silent_on_quota(offline: Offline) -> bool:
    """Whether nothing says what becomes of a quota that is not leased itself. A document that leases others has thought
    of them and not of this one; one that leases nothing and says how old data may be has thought of being cut off.
    """
    return bool(offline.lease) or offline.max_stale is None


def _is_money(unit: str) -> bool:
    """Whether a unit is money, however it is written: ``GBP``, ``p``, ``10p``, ``pound_sterling``, ``EuroCents``."""
    words = [word.lower() for word in _UNIT_WORDS.findall(unit)]
    if any(word in MONEY_WORDS or word.removesuffix("s") in MONEY_WORDS for word in words):
        return True
    return bool(words) and all(word in MONEY_ALONE or word.removesuffix("s") in MONEY_ALONE for word in words)


def _spendable(pointer: str, account: str, findings: Findings) -> None:
    findings.error(
        "balance_spendable_offline",
        pointer,
        f"Money (“{account}”) could be spent while the network is down.",
        "Remove this. Money is never spent offline, because two sites could spend the same pound.",
    )


def _balance(balance: Balance, pointer: str, document: ServiceDocument, quotas: set[str], findings: Findings) -> None:
    # Format 1 knows no other word, so this only guards a format that would.
    if str(document.offline.spend) != "deny":
        _spendable("/offline/spend", balance.account, findings)
    if balance.account in quotas and dict(document.offline.lease).get(balance.account):
        _spendable(f"/offline/lease/{balance.account}", balance.account, findings)
    confirm = balance.confirm
    if confirm is None:
        findings.error(
            "spend_without_confirmation",
            pointer,
            f"Money can be spent from “{balance.account}” without anybody confirming it.",
            'Say from what amount a payment is confirmed and by whom, for example "confirm": {"over_pence": 5000}.',
        )
        return
    _confirmed_in_time(balance, confirm, f"{pointer}/confirm/over_pence", findings)
    scopes = frozenset() if document.delegation.acts_for is None else document.delegation.acts_for.scopes
    able = [word for word in confirm.by if word == "holder" or (word == "delegate" and scopes)]
    able += [word for word in confirm.by if word.startswith("delegate:") and word.partition(":")[2] in scopes]
    for index, word in enumerate(confirm.by):
        if word not in able:
            told = (findings.warn if able else findings.error, "the others still can" if able else "so nobody can")
            told[0](
                "nobody_to_confirm",
                f"{pointer}/confirm/by/{index}",
                f"“{word}” cannot confirm a payment, because nobody may act for the cardholder in that way; {told[1]}.",
                "Add the scope under delegation, or remove the word.",
            )


def _confirmed_in_time(balance: Balance, confirm: Confirm, pointer: str, findings: Findings) -> None:
    most, why = MAX_SPEND_PENCE, "no payment can be more than {} at once"
    if balance.cap is not None and balance.cap.max_pence < most:
        most, why = balance.cap.max_pence, "nobody may spend more than {} in the period"
    if confirm.over_pence >= most:
        findings.error(
            "spend_without_confirmation",
            pointer,
            f"No payment is ever confirmed: payments over {money(confirm.over_pence)} would be, but "
            f"{why.format(money(most))}.",
            "Lower the amount from which a payment is confirmed.",
        )


def _capacity(capacity: Capacity, pointer: str, document: ServiceDocument, findings: Findings) -> None:
    zones = document.where.zones if document.where is not None else ()
    if capacity.max == 0:
        findings.error(
            "never_opens", f"{pointer}/max", "Nobody fits in: the limit on numbers is 0.", "Raise the limit."
        )
    if capacity.zone is not None and zones and capacity.zone not in zones:
        findings.warn(
            "capacity_elsewhere",
            f"{pointer}/zone",
            f"The limit on numbers is for “{capacity.zone}”, which this service does not open.",
            "Use one of the service’s own zones.",
        )


def _asks_permit(who: Expression | None) -> bool:
    if isinstance(who, (All, Any)):
        return any(_asks_permit(item) for item in who.items)
    if isinstance(who, (Not, Age, ResidentOf)):
        return False
    return isinstance(who, Holds) and who.statement == "permit"


def _staleness(document: ServiceDocument, findings: Findings) -> None:
    offline, rule = document.offline, document.presence
    if offline.max_stale is None and offline.mode != "staff_only":
        findings.warn(
            "no_max_stale",
            "/offline",
            "Nothing says how old a gate’s information may be, so a gate that is cut off goes on letting people in "
            "for ever, also with cards reported lost since.",
            'Add "max_stale" under “offline”, for example "PT24H" for 24 hours.',
        )
    if rule.anti_passback is not None and rule.reset is None and rule.max_stay is None:
        findings.warn(
            "locked_out_for_ever",
            "/presence",
            "Someone who leaves without tapping out can never come in again.",
            'Add "reset": "local_midnight", or a longest stay ("max_stay").',
        )
    if rule.one_at_a_time in ("vehicle", "permit") and not _asks_permit(document.who):
        findings.warn(
            "scope_without_permit",
            "/presence/one_at_a_time",
            f"One at a time by {rule.one_at_a_time}, but “who” asks for no permit: who has none counts by person.",
            "Ask for a permit under “who”, or use person or household.",
        )
