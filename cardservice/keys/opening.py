"""At start, everything sealed that a process will need is opened once: what cannot be is told before the first card."""

from __future__ import annotations

import asyncio

from cardservice.db import ALL_TENANTS
from cardservice.errors import SettingError, UnsealError
from cardservice.platform import Platform


async def open_sealed(platform: Platform) -> None:
    """Ask the tokens, make this process's data keys, open the keys that may sign. Closes the database where it fails.

    Raises:
        SettingError: a token does not answer, or what is stored is sealed under a key that the settings do not name.
    """
    try:
        await asyncio.to_thread(platform.encryption.open)
        async with platform.db.transaction(ALL_TENANTS, read_only=True) as conn:
            await platform.keys.open(conn)
        # Only now, when the key is known to be the right one, is anything sealed with it.
        await platform.cookies.open()
        for sealer in (platform.replies, platform.tenant_secrets):
            await asyncio.to_thread(sealer.open)
    except UnsealError as error:
        await platform.db.close()
        raise SettingError(setting=platform.settings.key_places()[0].setting, detail=str(error)) from error
    except BaseException:
        await platform.db.close()
        raise
