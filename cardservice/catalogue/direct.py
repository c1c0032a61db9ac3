"""Documents put in force, and services taken out of it, without a draft: here, or by a job where many are concerned."""

from __future__ import annotations

from typing import Any

from cardservice.api.call import Work
from cardservice.api.server import audit
from cardservice.background.beginning import begin
from cardservice.catalogue.models import Publication, ServicePublished
from cardservice.catalogue.services import Intent, Withdrawal, intend, intend_withdrawal, publish, withdraw
from cardservice.settings import Settings


async def publish_directly(call: Work, settings: Settings, service_id: str, wanted: Publication) -> ServicePublished:
    """Put a document in force, or begin to.

    Raises:
        ApiProblem: as :func:`cardservice.catalogue.services.publish`; 409 ``publication_running``.
    """
    wish = await intend(call, service_id, wanted.document, wanted.shared_with)
    begun = await _begin(call, settings, wish, "service.publication_begun")
    return begun or await publish(call, service_id, wanted.document, wanted.shared_with)


async def withdraw_directly(call: Work, settings: Settings, service_id: str) -> ServicePublished:
    """Take a service out of force, or begin to.

    Raises:
        ApiProblem: as :func:`cardservice.catalogue.services.withdraw`; 409 ``publication_running``.
    """
    wish = await intend_withdrawal(call, service_id)
    begun = await _begin(call, settings, wish, "service.withdrawal_begun")
    return begun or await withdraw(call, service_id)


async def _begin(call: Work, settings: Settings, wish: Intent | Withdrawal, what: str) -> ServicePublished | None:
    request: dict[str, Any] = {}
    job = await begin(call, wish, settings=settings, draft_id=None, request=request)
    if job is None:
        return None
    await audit(call, what, wish.service_id, area=wish.area, job=str(job))
    return ServicePublished(
        service_id=wish.service_id, version=None, area=wish.area, changed=False, feeds={}, job_id=job
    )
