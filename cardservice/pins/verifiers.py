"""Making verifiers: argon2id (RFC 9106), costly on purpose, so done in few threads of their own.

A verifier takes 19 MiB and some 35 ms. Gates are small computers and check at the same cost, which is why it is OWASP's
minimum and not more. What protects four digits is that attempts are limited and that verifiers are kept sealed.
"""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

MEMORY_KIB: Final = 19_456
PASSES: Final = 2
LANES: Final = 1
"""OWASP Password Storage Cheat Sheet, argon2id: 19 MiB, 2 passes, 1 lane."""
SALT_BYTES: Final = 16
"""RFC 9106 section 3.1."""
TAG_BYTES: Final = 32
AT_ONCE: Final = 2
"""Verifiers made at the same time by a process: 38 MiB and two cores, whatever a desk's software sends."""


class Verifiers:
    """Makes verifiers, at most :data:`AT_ONCE` at a time; others wait their turn."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="pin")

    async def make(self, pin: str) -> str:
        """The verifier of a PIN in PHC form; two of one PIN differ by their salt.

        Args:
            pin: ASCII digits, as a keypad will give them.
        """
        return await asyncio.get_running_loop().run_in_executor(self._threads, derive, pin)

    def close(self) -> None:
        """Let the threads go."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def derive(pin: str) -> str:
    """The verifier of a PIN; blocks for some 35 ms."""
    kdf = Argon2id(
        salt=os.urandom(SALT_BYTES), length=TAG_BYTES, iterations=PASSES, lanes=LANES, memory_cost=MEMORY_KIB
    )
    return kdf.derive_phc_encoded(pin.encode("ascii"))
