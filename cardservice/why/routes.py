"""``GET /v1/taps/{id}/why``. A look at a person's facts, so every answer is audited."""

from __future__ import annotations

from cardservice.api.call import Call, Errand
from cardservice.api.routing import Routes
from cardservice.api.server import audit
from cardservice.db import queries
from cardservice.errors import ApiProblem, not_found
from cardservice.why.models import WhyReply
from cardservice.why.replay import why
from entitlements.errors import DocumentError

routes = Routes(tag="taps")

MAY_SEE_FACTS = frozenset(("admin", "desk", "auditor"))
"""An operator sees which step decided and what the gate had; what is known of the person is not theirs to see."""


@routes.add(
    "GET",
    "/v1/taps/{tap_id}/why",
    "Replay one decision with document, facts and state as they were",
    roles=("operator", "auditor", "desk"),
    transaction=False,
)
async def explain_tap(call: Call) -> WhyReply:
    tap_id = call.path_uuid("tap_id", "tap")
    # Not the read-only transaction of other GETs: the audit row is written with the look.
    async with call.platform.db.transaction(call.tenant) as conn:
        work = Errand(conn=conn, actor=call.actor, now=call.now, request_id=call.request_id)
        tap = await queries().why.tap_to_explain(conn, tenant=call.tenant, tap_id=tap_id)
        if tap is None:
            raise not_found("tap", tap_id)
        with_facts = bool(call.actor.roles & MAY_SEE_FACTS)
        try:
            answer = await why(work, tap, with_facts=with_facts)
        except DocumentError as error:
            raise ApiProblem(409, "catalogue_broken", f"A service in force cannot be compiled: {error}") from None
        await audit(work, "tap.explained", f"tap:{tap_id}", agrees=answer.agrees, facts=with_facts)
    return answer
