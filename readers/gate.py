"""The decision for one presentation at one lane, from what is in memory: no device, no network, no disk.

Verify the presentation, find the card's row in the feeds of its issuer that the lane works with, decide each service
that the lane offers. The first service that allows wins; otherwise the refusal that got furthest in the order of the
entitlements page, since it is the one the person can do something about. A card that its holder may present for
somebody else is tried by its holder's own rights first, in all feeds, then for each of those others.

A presentation is taken once (:meth:`Gate.take`), by which a one-time code is used up, and may be judged again after
a pull or a PIN. No lane has a way to say how many children come along: none accompany anybody.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Literal

import msgspec
import structlog

from entitlements.credential.claims import (
    UNKNOWN_KEY,
    CardClaims,
    Refused,
    UnverifiedPresentation,
    VerifiedCard,
)
from entitlements.credential.errors import InvalidKeyError
from entitlements.credential.keys import KeySet
from entitlements.credential.presentation import VerifiedMemory, verify_presentation
from entitlements.credential.sitesecrets import NO_SECRETS, SiteSecrets
from entitlements.decide import EXIT, Moment, State, Subject, TapInput, decide
from entitlements.model import CardState, Decision, Instant, Outcome, Reason, ServiceId, TenantId
from entitlements.situation import Acting
from entitlements.wire.rows import card_tag
from readers.background import Party, SiteState, acting_for, own_of, state_for
from readers.catalogue import Offered
from readers.clock import TrustedClock
from readers.feed import Feed
from readers.judgement import REQUIRES, Judgement, Place, furthest, kind_of, refer
from readers.own import Own
from readers.presence import Visitor, VisitorKey, card_key, scope_key

TIME_REASONS: Final = frozenset({Reason.CARD_EXPIRED, Reason.EXPIRED_CODE})
"""What a wrong clock of ours would say of a good card."""

_log = structlog.get_logger(__name__)


class Shown(msgspec.Struct, frozen=True):
    """A presentation that was taken; ``replayed`` is why the code of a good card is no good any more, if so."""

    found: VerifiedCard | Refused
    replayed: Refused | None = None

    @property
    def once(self) -> bool:
        """Whether it is a code that may be shown only once."""
        return not isinstance(self.found, Refused) and self.found.sequence is not None


class Gate:
    """Decides for all lanes of the site, which share the feeds, the site's state and the memory of verified cards."""

    def __init__(self, feeds: Mapping[str, Feed], clock: TrustedClock, site: SiteState) -> None:
        self._feeds = feeds
        self._clock = clock
        self._site = site
        self._memory = VerifiedMemory()
        self._keys = KeySet()
        self.secrets: SiteSecrets = NO_SECRETS
        self._by_tenant: dict[str, tuple[object, KeySet]] = {}

    def rekey(self) -> None:
        """Take over the card keys of the feeds; call after changes were applied.

        A tenant's keys come from that of its feeds which is furthest, so that a key taken out in an emergency is out.
        """
        changed = False
        newest: dict[str, Feed] = {}
        for feed in self._feeds.values():
            if feed.cache is None:
                continue
            other = newest.get(feed.tenant)
            if other is None or other.cache is None or feed.cache.issue_number > other.cache.issue_number:
                newest[feed.tenant] = feed
        for tenant, feed in newest.items():
            document = feed.cache.contents.keys if feed.cache is not None else {}
            known = self._by_tenant.get(tenant)
            if known is not None and known[0] is document:
                continue
            try:
                self._by_tenant[tenant] = (document, KeySet.from_jwks(TenantId(tenant), document))
                changed = True
            except InvalidKeyError as error:
                if known is not None:
                    self._by_tenant[tenant] = (document, _still_named(known[1], document))
                    changed = True
                _log.error(
                    "the card keys of a feed cannot be used; the last good ones that it names stay",
                    feed=feed.name,
                    problem=str(error),
                )
        if changed:
            self._keys = _merge(keys for _, keys in self._by_tenant.values())

    def wipe(self) -> None:
        """Forget keys and cards, after this reader was revoked."""
        self._keys = KeySet()
        self.secrets = NO_SECRETS
        self._by_tenant.clear()
        self._memory = VerifiedMemory()

    def judge(self, data: bytes, media: str, place: Place, *, at_ms: int | None = None) -> Judgement:
        """Take a presentation on the way in and decide it. Never raises, never waits."""
        return self.judge_shown(self.take(data, media, at_ms=at_ms), place, at_ms=at_ms)

    def take(self, data: bytes, media: str, *, at_ms: int | None = None) -> Shown:
        """Verify a presentation; a one-time code counts as shown from here on. Never raises, never waits."""
        found = self._verify(data, media, at_ms)
        return Shown(found, None if isinstance(found, Refused) else self._site.replay.take(found))

    def owner(self, data: bytes, media: str) -> CardClaims | None:
        """Whose card it is; None if it is no card of ours. Nothing is decided and no code is used up."""
        card = self._verify(data, media, None)
        return None if isinstance(card, Refused) else card.claims

    def leaving(self, data: bytes, media: str) -> Judgement:
        """What a presentation on the way out leads to: the gate opens for all, and who presents a card of theirs has
        left. A code that was shown before is somebody's picture of it, so it says nothing of its holder.
        """
        shown = self.take(data, media)
        if isinstance(shown.found, Refused):
            return Judgement(decision=EXIT)
        if shown.replayed is not None:
            return Judgement(decision=EXIT, detail=f"{shown.replayed.detail}; nobody is counted as gone by it")
        return Judgement(decision=EXIT, claims=shown.found.claims)

    def _verify(self, data: bytes, media: str, at_ms: int | None) -> VerifiedCard | Refused:
        now = (self._clock.now_ms() if at_ms is None else at_ms) // 1000
        presentation = UnverifiedPresentation(data=data, media=media)
        return verify_presentation(presentation, self._keys, now, self._memory, secrets=self.secrets)

    def judge_shown(
        self, shown: Shown, place: Place, *, at_ms: int | None = None, pin: Literal["right", "wrong"] | None = None
    ) -> Judgement:
        """Decide what was taken. Never raises, never waits.

        Args:
            shown: by :meth:`take`, at any time before.
            place: of the lane.
            at_ms: now, by the corrected clock.
            pin: how the PIN typed at the lane was found, if one was.
        """
        now = Instant((self._clock.now_ms() if at_ms is None else at_ms) // 1000)
        trusted = self._clock.trusted
        card = shown.found
        if isinstance(card, Refused):
            return self._not_good(card, None, place, trusted=trusted)
        tap = TapInput(presentation=kind_of(card), pin=pin)
        if shown.replayed is not None:
            judgement = self._not_good(shown.replayed, card.claims, place, trusted=trusted)
        else:
            judgement = self._judge_card(card, tap, place, now, trusted=trusted)
        return msgspec.structs.replace(judgement, presentation=tap.presentation)

    def _judge_card(self, card: VerifiedCard, tap: TapInput, place: Place, now: Instant, *, trusted: bool) -> Judgement:
        claims = card.claims
        feeds = [feed for area in place.lane.areas if (feed := self._feeds.get(f"{claims.issuer}/{area}")) is not None]
        best: Judgement | None = None
        own: list[Judgement] = []
        for feed in feeds:
            judgement = self._judge_in(feed, card, tap, place, now, trusted=trusted)
            if judgement.decision.outcome is Outcome.ALLOW:
                return judgement
            own.append(judgement)
            if best is None or judgement.rank > best.rank:
                best = judgement
        if best is None:
            return Judgement(
                decision=Decision(outcome=Outcome.DENY, reason=Reason.UNKNOWN_CARD),
                claims=claims,
                detail=f"this lane works with no feed of {claims.issuer}",
            )
        for refused in own:
            for judgement in self._for_others(refused, card, tap, place):
                if judgement.decision.outcome is Outcome.ALLOW:
                    return judgement
                if judgement.rank > best.rank:
                    best = judgement
        stale = tuple(
            feed for feed in feeds if feed.cache is not None and claims.issue_number > feed.cache.issue_number
        )
        if best.decision.reason == Reason.UNKNOWN_CARD and stale:
            return msgspec.structs.replace(best, stale=stale)
        return best

    def own_of(self, judgement: Judgement) -> tuple[Own, ...]:
        """What an allowed tap takes here, for the book of the site's own entries."""
        party, offered, moment = judgement.party, judgement.offered, judgement.moment
        if party is None or offered is None or offered.compiled is None or moment is None:
            return ()
        return own_of(party, offered.compiled, offered.needs, judgement.decision, moment, self._site.own)

    def visitor(self, judgement: Judgement) -> Visitor | None:
        """Whose visit a tap on the way in begins, by every key that they have here; None if it is not known."""
        claims, party = judgement.claims, judgement.party
        if claims is None:
            return None
        presenter = self.keys_of(claims)
        if party is None:
            return Visitor(keys=presenter, by=presenter[0])
        keys = [*(self._person_keys(party.feed, party.index, party.key) if judgement.acting else presenter)]
        offered = judgement.offered
        if offered is not None:
            account_keys = party.keys(offered.compiled) if offered.needs.holder else {}
            keys += party.visitor_keys(offered.needs.scopes, account_keys)
        # The person if known, so that leaving on a renewed card ends what the old one began.
        return Visitor(keys=tuple(dict.fromkeys(keys)), by=presenter[-1])

    def keys_of(self, claims: CardClaims) -> tuple[VisitorKey, ...]:
        """Keys under which a card's holder is or was inside: the card, then the person in each feed of the council."""
        tag = card_tag(claims.card_id)
        card = card_key(claims.issuer, claims.index, tag)
        known = [feed.name for feed in self._feeds.values() if feed.tenant == claims.issuer]
        keys = [card]
        for name in known:
            if self._feeds[name].lookup(claims.index, tag) is not None:
                keys += self._person_keys(name, claims.index, card)[1:]
        return tuple(keys)

    def _person_keys(self, name: str, index: int, card: VisitorKey) -> list[VisitorKey]:
        cache = self._feeds[name].cache if name in self._feeds else None
        holder = None if cache is None else cache.contents.holdings.holder(index)
        person = None if holder is None else holder.keys.get("person")
        return [card] if person is None else [card, scope_key(name, "person", person)]

    def _judge_in(
        self, feed: Feed, card: VerifiedCard, tap: TapInput, place: Place, now: Instant, *, trusted: bool
    ) -> Judgement:
        claims = card.claims
        tag = card_tag(claims.card_id)
        found = feed.lookup(claims.index, tag)
        cache = feed.cache
        if cache is None:
            return refer(feed, claims, Reason.CACHE_TOO_OLD, "this gate has no data of the feed yet")
        if found is None:
            return Judgement(
                decision=Decision(outcome=Outcome.DENY, reason=Reason.UNKNOWN_CARD),
                claims=claims,
                feed=feed,
                number=cache.number,
            )
        if now >= cache.contents.horizon.ends:
            # Beyond the horizon nothing was compiled: birthdays and last days are not known there.
            return refer(feed, claims, Reason.CACHE_TOO_OLD, "the time for which rights were compiled is over")
        state, profile = found
        party = Party(feed.name, cache.contents.holdings, index=claims.index, tag=tag, card=state, profile=profile)
        moment = Moment(
            at=now,
            site=place.site,
            zone=place.zone,
            online=feed.online,
            cache_age=feed.age_seconds(),
            clock_trusted=trusted,
        )
        best = self._best(feed, card, party, moment, tap, place, acting=None)
        if best is None:
            return Judgement(
                decision=Decision(outcome=Outcome.DENY, reason=Reason.WRONG_SITE),
                claims=claims,
                feed=feed,
                number=cache.number,
                party=party,
                moment=moment,
                detail="no service is offered at this lane",
            )
        return best

    def _for_others(self, refused: Judgement, card: VerifiedCard, tap: TapInput, place: Place) -> Iterator[Judgement]:
        """The same presentation for those whom the card may be presented for, in the feed where it was refused."""
        feed, presenter, moment = refused.feed, refused.party, refused.moment
        if feed is None or presenter is None or moment is None or presenter.card is not CardState.ACTIVE:
            return
        if not feed.catalogue.acts_for or presenter.holder is None:
            return
        for other in presenter.holder.acts_for:
            found = feed.lookup(other.index, other.tag)
            # The delegation hangs on the holder's card as well: a lost or revoked one lends nobody anything.
            if found is None or found[0] is not CardState.ACTIVE:
                continue
            party = Party(
                feed.name, presenter.holdings, index=other.index, tag=other.tag, card=presenter.card, profile=found[1]
            )
            acting = acting_for(other, presenter.profile)
            best = self._best(feed, card, party, moment, tap, place, acting=acting)
            if best is not None:
                yield best

    def _best(
        self,
        feed: Feed,
        card: VerifiedCard,
        party: Party,
        moment: Moment,
        tap: TapInput,
        place: Place,
        *,
        acting: Acting | None,
    ) -> Judgement | None:
        """The first service that allows, or the refusal that got furthest; None where no service is offered."""
        cache = feed.cache
        if cache is None:
            return None  # found damaged a moment ago
        best: Judgement | None = None
        for offered in feed.catalogue.offered(place.lane.services):
            if acting is not None and not offered.needs.acts_for:
                continue
            needs = offered.needs
            keys = party.keys(offered.compiled) if needs.holder else {}
            subject = Subject(card=party.card, profile=party.profile, keys=keys, acting=acting)
            state = state_for(party, needs, keys, moment, site=self._site, lane=place.lane.lane, zone=place.zone)
            judgement = Judgement(
                decision=_decide(offered, subject, moment, tap, state),
                claims=card.claims,
                feed=feed,
                number=cache.number,
                offered=offered,
                party=party,
                acting=acting is not None,
                moment=moment,
                detail=offered.unsupported,
            )
            if judgement.decision.outcome is Outcome.ALLOW:
                return judgement
            if best is None or judgement.rank > best.rank:
                best = judgement
        return best

    def _not_good(self, refused: Refused, claims: CardClaims | None, place: Place, *, trusted: bool) -> Judgement:
        reason = refused.reason
        if reason in TIME_REASONS and not trusted:
            decision = Decision(outcome=Outcome.REFER, reason=Reason.CLOCK_UNTRUSTED)
            return Judgement(decision=decision, claims=claims, detail=refused.detail)
        if refused is UNKNOWN_KEY:
            empty = [feed for feed in self._feeds.values() if feed.area in place.lane.areas and feed.cache is None]
            if empty:
                return refer(empty[0], None, Reason.CACHE_TOO_OLD, "this gate has no keys of the feed yet")
        return Judgement(
            decision=Decision(outcome=refused.outcome, reason=reason), claims=claims, detail=refused.detail
        )


def _decide(offered: Offered, subject: Subject, moment: Moment, tap: TapInput, state: State) -> Decision:
    """Decide one service, as far as this reader can."""
    service = offered.compiled
    if service is None:
        if subject.card is not CardState.ACTIVE and subject.card is not None:
            reason = Reason(f"card_{subject.card.value}")
            return Decision(outcome=Outcome.DENY, reason=reason, service=ServiceId(offered.id))
    else:
        decision = decide(service, subject, moment, tap, state)
        # Up to what is asked at the gate it rests on what this reader holds; from there on staff must look.
        if offered.unsupported is None or furthest(decision.reason) < REQUIRES:
            return decision
    return Decision(outcome=Outcome.REFER, reason=Reason.OFFLINE_STAFF_ONLY, service=ServiceId(offered.id))


def _merge(sets: Iterable[KeySet]) -> KeySet:
    merged = KeySet()
    for keys in sets:
        try:
            merged = merged.merged(keys)
        except InvalidKeyError:
            merged = _one_by_one(merged, keys)
    return merged


def _one_by_one(merged: KeySet, keys: KeySet) -> KeySet:
    """Leave out the clashing keys alone: nobody's key may put all of a neighbour's cards out of use."""
    for key in keys:
        try:
            merged = merged.merged(KeySet([key]))
        except InvalidKeyError as error:
            _log.error("a key has the name of another council's; what it signed is refused", problem=str(error))
    return merged


def _still_named(keys: KeySet, document: Mapping[str, Any]) -> KeySet:
    """Of the last good keys those that a key set which cannot be used still names: one taken out is out all the same.

    A document that does not even name keys says nothing of any.
    """
    members = document.get("keys")
    if not isinstance(members, list) or not all(isinstance(member, Mapping) and "kid" in member for member in members):
        return keys
    named = [member["kid"] for member in members]
    return KeySet(key for key in keys if key.kid in named)
