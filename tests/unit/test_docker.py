"""Images and compose file, as far as they can be checked without an engine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"
TOOLS = Path(sys.executable).parent


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text())
    return loaded


def test_an_operator_can_start_the_compose_file_because_it_follows_the_specification() -> None:
    checker, file = str(TOOLS / "check-jsonschema"), str(DOCKER / "compose.yaml")
    command = [checker, "--builtin-schema", "vendor.compose-spec", file]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["service.Dockerfile", "reader.Dockerfile"])
def test_an_image_is_built_by_good_practice(name: str) -> None:
    done = subprocess.run([TOOLS / "hadolint", DOCKER / name], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["service.Dockerfile", "reader.Dockerfile"])
def test_an_image_runs_as_nobody_special_and_says_whether_it_is_well(name: str) -> None:
    final_stage = (DOCKER / name).read_text().rpartition("\nFROM ")[2]
    assert "\nUSER 10001\n" in final_stage
    assert "\nHEALTHCHECK " in final_stage
    for source in (
        line.split()[1] for line in (DOCKER / name).read_text().splitlines() if line.startswith("COPY docker/")
    ):
        assert (ROOT / source).exists(), f"{name} copies {source}, which is not there"


def test_no_part_waits_for_something_that_is_not_there(compose: dict[str, Any]) -> None:
    services = compose["services"]
    for name, service in services.items():
        for other in service.get("depends_on", {}):
            assert other in services, f"{name} waits for {other}"
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            assert source in compose["volumes"] or (DOCKER / source).exists(), f"{name} mounts {source}"


def test_the_schema_is_not_applied_to_the_server_that_only_sets_the_image_up(compose: dict[str, Any]) -> None:
    # That first server has no TCP address; asked through its socket it looks ready, and then it goes away.
    check = compose["services"]["postgres"]["healthcheck"]["test"]
    assert check[check.index("-h") + 1] == "127.0.0.1"
    assert compose["services"]["migrate"]["depends_on"]["postgres"]["condition"] == "service_healthy"


def test_lock_files_name_no_address_and_pin_every_package_by_hash() -> None:
    for lock in (ROOT / "requirements.lock", *DOCKER.glob("*.lock")):
        text = lock.read_text()
        assert "://" not in text, f"{lock.name} names an address"
        pins = [line for line in text.splitlines() if line and line[0].isalnum()]
        assert pins, f"{lock.name} is empty"
        for block in text.split("\n\n")[0].replace("\\\n", " ").splitlines():
            assert "--hash=sha256:" in block, f"{lock.name}: {block.split()[0]} has no hash"
