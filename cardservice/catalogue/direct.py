"""Documents put in force, and services taken out of it, without a draft: here, or by a job where many are concerned."""

from __future__ import annotations

from cardservice.api.call import Work
from cardservice.api.server import audit
from cardservice.background.beginning import begin
from cardservice.catalogue.models import Publication, ServicePublished
from cardservice.catalogue.services import Intent, Withdrawal, intend, intend_withdrawal, publish, withdraw
from cardservice.settings import Settings


async def publish_directly(call: Work, settings: Settings, service_id: str, wanted: Publication) -> ServicePublished:
    """Put a document in force, or begin to.

    Raises:
        ApiProblem: as ``intend`` and ``publish`` of :mod:`cardservice.catalogue.services`; 409 ``publication_running``.
    """
    wish = await intend(call, service_id, wanted.document, wanted.shared_with)
    begun = await _begin(call, settings, wish, "service.publication_begun")
    return begun or await publish(call, wish)


async def withdraw_directly(call: Work, settings: Settings, service_id: str) -> ServicePublished:
    """Take a service out of force, or begin to.

    Raises:
        ApiProblem: as ``intend_withdrawal`` and ``withdraw`` of :mod:`cardservice.catalogue.services`; 409
            ``publication_running``.
    """
    wish = await intend_withdrawal(call, service_id)
    begun = await _begin(call, settings, wish, "service.withdrawal_begun")
    return begun or await withdraw(call, wish)


async def _begin(call: Work, settings: Settings, wish: Intent | Withdrawal, what: str) -> ServicePublished | None:
    job = await begin(call, wish, settings=settings, draft_id=None, request={})
    if job is None:
        return None
    await audit(call, what, wish.service_id, area=wish.area, job=str(job))
    return ServicePublished(
        service_id=wish.service_id, version=None, area=wish.area, changed=False, feeds={}, job_id=job
    )
