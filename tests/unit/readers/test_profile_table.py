"""Packed profiles: a gate must unpack exactly the rights that the service compiled, under the number the rows name."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entitlements.model import Instant, ServiceId
from entitlements.profile import Profile, Segment, Verdict
from readers.profiles import Kept, ProfileTable, empty_table, pack_profiles
from readers.records import Records, pack, reader_of

names = st.sampled_from(["wcc.leisure.gym", "wcc.leisure.swim", "bi.library.open-plus", "Ünïcode", "*", ""])
instants = st.none() | st.integers(-(2**40), 2**40).map(Instant)
segments = st.builds(Segment, instants, instants, st.sampled_from(Verdict)) | st.builds(
    Segment, instants, instants, st.sampled_from(Verdict), names, st.none() | st.integers(0, 2**40)
)
runs = st.lists(segments, min_size=1, max_size=3).map(tuple)
profiles = st.builds(
    lambda grants, prerequisites, blocks: Profile(
        grants=[(ServiceId(name), run) for name, run in grants.items()],
        prerequisites=prerequisites.items(),
        blocks=blocks,
    ),
    st.dictionaries(names, runs, max_size=4),
    st.dictionaries(names, st.lists(names, max_size=3, unique=True).map(tuple), max_size=2),
    st.lists(names, max_size=2, unique=True),
)


@settings(max_examples=60, deadline=None)
@given(
    before=st.lists(profiles, max_size=8), later=st.lists(profiles, max_size=8), during=st.lists(profiles, max_size=4)
)
def test_profiles_keep_number_and_content_through_changes_and_new_bases(
    before: list[Profile], later: list[Profile], during: list[Profile]
) -> None:
    table = ProfileTable(reader_of(pack_profiles(before)))
    assert [table[number] for number in range(table.count)] == before
    numbers = [table.number_of(profile) for profile in later]
    folded = table.added
    part = table.packed(folded)
    numbers += [table.number_of(profile) for profile in during]
    fresh = ProfileTable(reader_of(part))
    for number, profile in zip(numbers, later, strict=False):
        assert ProfileTable(reader_of(part))[number] == profile
    fresh.adopt(table, folded)
    assert fresh.count == table.count
    for number, profile in zip(numbers, [*later, *during], strict=True):
        assert table[number] == fresh[number] == profile
        assert hash(fresh[number]) == hash(profile)
        assert table.number_of(profile) == fresh.number_of(profile) == number
    assert len(set(numbers)) == len(set(later + during))
    for profile in before:
        assert before[fresh.number_of(profile)] == profile, "known ones get no second number"


@given(records=st.lists(st.binary(max_size=6), max_size=40), more=st.lists(st.binary(max_size=6), max_size=10))
def test_records_are_found_by_number_and_by_content(records: list[bytes], more: list[bytes]) -> None:
    first = Records(reader_of(pack(records)), 0)
    assert [first[number] for number in range(len(first))] == records
    for record in more:
        assert first[first.number_of(record)] == record
    for record in records:
        assert first.number_of(record) == records.index(record)
    again = Records(reader_of(b"1234" + pack(first.added, first.packed())), 4)
    assert [again[number] for number in range(len(again))] == [first[number] for number in range(len(first))]
    assert again.end == 4 + len(pack(first.added, first.packed()))


def test_a_number_that_no_profile_has_is_refused() -> None:
    table = ProfileTable(reader_of(pack_profiles([Profile()])))
    with pytest.raises(IndexError):
        table[1]
    with pytest.raises(IndexError):
        empty_table()[0]


class Squares(Kept[int, int]):
    """What was made, counted."""

    made = 0

    def make(self, key: int) -> int:
        self.made += 1
        return key * key


def test_what_is_kept_unpacked_is_bounded_and_what_is_asked_for_often_is_not_made_again() -> None:
    kept = Squares(10)
    for key in range(1000):
        assert kept[key] == key * key
        assert kept[1] == 1
    assert kept.made < 1010
    assert len(kept) + len(kept._older) <= 20
