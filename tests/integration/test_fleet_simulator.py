"""The fleet simulator: whether an operator may believe what it says."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.benchmarks import fleet
from tests.benchmarks.fleet_readers import Fleet, StreamReader, delays, percentile
from tests.benchmarks.fleet_world import Council
from tests.support.service import Service

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
BEAT = b'event: beat\ndata: {"server_time":1,"heads":{}}\n\n'


def change(number: int) -> bytes:
    body = {"t": "card", "n": number, "tn": 9, "at": 1, "index": 3, "tag": 7, "state": "revoked", "profile": []}
    text = json.dumps({"feed": "wcc/leisure", "change": body}, separators=(",", ":")).encode()
    return b"event: change\ndata: " + text + b"\n\n"


def chunk(octets: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(octets), octets)


def arrive(numbers: Sequence[int], cuts: Sequence[int]) -> StreamReader:
    """A reader that had change 0, after these changes in two chunks and in pieces cut at these places."""
    half = len(numbers) // 2
    octets = (
        HEAD + chunk(BEAT) + b"".join(chunk(b"".join(map(change, part))) for part in (numbers[:half], numbers[half:]))
    )
    reader = StreamReader(Fleet(number=0), b"")
    places = [0, *sorted(cut % len(octets) for cut in cuts), len(octets)]
    for begin, end in itertools.pairwise(places):
        reader.data_received(octets[begin:end])
    return reader


@given(st.integers(1, 12), st.lists(st.integers(0, 1 << 20), max_size=8))
def test_however_the_network_cuts_it_every_change_is_counted_once(count: int, cuts: list[int]) -> None:
    reader = arrive(range(1, count + 1), cuts)
    assert (reader.number, reader.gaps) == (count, 0)
    assert sum(delays([reader], dict.fromkeys(range(1, count + 1), time.time() * 1000), 1)) == count


@given(st.integers(2, 12), st.data())
def test_a_change_that_is_missing_or_comes_twice_is_told(count: int, data: st.DataObject) -> None:
    at = data.draw(st.integers(1, count - 1), label="the change before the fault")
    cuts = data.draw(st.lists(st.integers(0, 1 << 20), max_size=8), label="cuts")
    numbers = list(range(1, count + 1))
    fault = data.draw(st.sampled_from(("missing", "twice")), label="fault")
    assert arrive(numbers[: at - 1] + numbers[at:] if fault == "missing" else [*numbers, numbers[-1]], cuts).gaps > 0


def test_the_slowest_hundredth_is_what_it_says() -> None:
    counts = [0] * 1001
    for milliseconds in range(100):
        counts[milliseconds] += 1
    counts[1000] += 1
    assert [percentile(counts, share) for share in (0.5, 0.99, 1.0)] == [50, 99, 1000]


@pytest.mark.parametrize("rate", [20, 200])
async def test_a_fleet_of_readers_gets_every_change_one_by_one_and_in_bulk(service: Service, rate: int) -> None:
    council = Council(url=service.url, tenant="wcc", token=await service.token())
    found = await fleet.measure(council, service.settings, readers=12, stalled=2, rate=rate, seconds=0.5)
    assert found.changes == rate * 0.5
    assert (found.missing, found.gaps, found.pulls, list(found.lost)) == (0, 0, 0, [])
    assert found.p50 <= found.p99 <= found.longest


async def test_a_live_service_is_not_written_to_in_bulk(service: Service) -> None:
    council = Council(url=service.url, tenant="wcc", token=await service.token())
    with pytest.raises(ValueError, match="own service"):
        await fleet.measure(council, None, readers=1, rate=1000, seconds=1)


async def _states(service: Service) -> list[str]:
    return [reader["state"] for reader in (await service.call("GET", "/v1/readers"))[1]["items"]]


@pytest.mark.parametrize("fails", [False, True])
async def test_simulated_readers_are_no_gates_afterwards(
    service: Service, monkeypatch: pytest.MonkeyPatch, *, fails: bool
) -> None:
    council = Council(url=service.url, tenant="wcc", token=await service.token())
    if fails:
        monkeypatch.setattr(fleet, "CONNECT_SECONDS", -10.0)
        with pytest.raises(TimeoutError):
            await fleet.measure(council, None, readers=3, rate=10, seconds=0.2)
    else:
        await fleet.measure(council, None, readers=3, rate=10, seconds=0.2)
    assert await _states(service) == ["revoked"] * 3


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--url", "http://127.0.0.1:1"], "127.0.0.1"),
        (["--url", "http://127.0.0.1:1", "--rate", "100"], "own service"),
        (["--url", "no address"], "no address"),
    ],
)
def test_what_cannot_be_measured_is_said_in_one_line(
    arguments: list[str], why: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RESCARD_TOKEN", "a token of nobody")
    assert fleet.main(arguments) == 2
    told = capsys.readouterr().err
    assert why in told
    assert told.count("\n") == 1
