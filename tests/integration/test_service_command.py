"""Two managers take a service from a file to the gates and back on the command line."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.support.life import AUTHOR, COLLEAGUE, GYM, gym, text_of
from tests.support.reader import add_site, enrolled_reader
from tests.support.service import Service


class _Manager:
    """Somebody with a token at a terminal."""

    def __init__(self, service: Service, token: str) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("RESCARD_")}
        self._environment: Mapping[str, str] = kept | {"RESCARD_URL": service.url, "RESCARD_TOKEN": token}

    async def run(self, *arguments: str, expect: int = 0) -> str:
        """What the command says."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "cardservice", "service", *arguments),
            env=self._environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        out, _ = await process.communicate()
        assert process.returncode == expect, out.decode()
        return out.decode()


async def test_a_service_goes_to_the_gates_and_back_from_a_terminal(service: Service, tmp_path: Path) -> None:
    await add_site(service)
    await enrolled_reader(service)
    ann = _Manager(service, await service.token(roles=AUTHOR))
    bob = _Manager(service, await service.token(roles=COLLEAGUE))
    file = tmp_path / "gym.json"
    file.write_text(text_of(gym()))
    said = await ann.run("submit", str(file), "--why", "for January")
    assert f"{GYM}: waits for a second person" in said
    draft = re.findall(r"draft ([0-9a-f-]{36})", said)[0]
    assert "You wrote this draft" in await ann.run("approve", draft, "--why", "mine", expect=1)
    said = await bob.run("approve", draft, "--why", "read it")
    assert "they are 16 or over" in said
    assert f"{GYM}: approved, not published yet" in said
    assert "published as version 1" in await ann.run("publish", draft, "--why", "today")
    assert f"{GYM}: Gym" in await ann.run("list")
    file.write_text(text_of(gym(title="Gym and sauna")))
    assert "now called “Gym and sauna”" in await ann.run("diff", str(file))
    assert "There are no taps to replay." in await ann.run("simulate", str(file), "--days", "3")
    listed = await ann.run("list", "--drafts")
    assert listed.count(GYM) == 2
    draft = re.findall(r"being written\n    draft ([0-9a-f-]{36})", listed)[0]
    problem = await ann.run("publish", draft, expect=1)
    assert "The draft is still being written, so it cannot be published." in problem
    said = await ann.run("submit", str(file))
    draft = re.findall(r"draft ([0-9a-f-]{36})", said)[0]
    assert "Compared with version 1, in force:" in await bob.run("approve", draft, "--why", "ok")
    assert "approved and scheduled for 1 January 2099" in await ann.run("publish", draft, "--at", "2099-01-01T06:00")
    assert "sent back to its author" in await bob.run("approve", draft, "--why", "not yet", "--reject")
    assert "only one version" in await ann.run("rollback", GYM, "--why", "oh", expect=1)
    said = await ann.run("submit", str(file))
    draft = re.findall(r"draft ([0-9a-f-]{36})", said)[0]
    await bob.run("approve", draft, "--why", "now")
    await ann.run("publish", draft)
    said = await bob.run("rollback", GYM, "--why", "no sauna")
    assert said == f"{GYM}: version 3 is in force, with the rules of version 1.\n"
    said = await ann.run("list", "--versions", GYM)
    assert "why: no sauna" in said
    assert "approved by test-manager,operator: now" in said
    assert said.index("version 3 (published): Gym\n") < said.index("version 2 (superseded): Gym and sauna")
    assert "Nobody has tapped since version 3" in await ann.run("watch", GYM)
    assert json.loads(file.read_text())["title"] == "Gym and sauna"
