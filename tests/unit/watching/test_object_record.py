"""A record holds what it was given, in few bytes."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kubestorm.sources.watching.fingerprint import MAX_FIELDS, Fingerprint
from kubestorm.sources.watching.object_record import ObjectRecord, is_unsettled, pack, unpack

fingerprints = st.builds(
    lambda digest, count: Fingerprint(digest, bytes(8 * count)),
    st.binary(min_size=16, max_size=16),
    st.integers(0, MAX_FIELDS),
)
uids = st.uuids().map(str) | st.text(max_size=30).map(lambda text: f"id:{text}")
labels = st.dictionaries(st.text(max_size=10), st.text(max_size=10), max_size=4)


@given(uids, st.booleans(), st.booleans(), fingerprints, labels)
def test_unpack_reads_what_pack_wrote(
    uid: str, deleting: bool, unsettled: bool, seen: Fingerprint, names: dict[str, str]
) -> None:
    """Every part comes back, for uids of Kubernetes' form and of any other."""
    record = pack(uid, deleting, unsettled, seen, names)
    assert unpack(record) == ObjectRecord(uid, deleting, unsettled, seen, names)
    assert is_unsettled(record) is unsettled


@given(st.binary(max_size=60))
def test_damage_is_an_error_of_one_kind(data: bytes) -> None:
    """Anything at all either is a record or raises ValueError."""
    try:
        unpack(data)
    except ValueError:
        return


def test_a_record_with_a_dozen_fields_takes_less_than_200_bytes() -> None:
    """The size that 1 KB per object, with its key and the dictionary around it, rests on."""
    seen = Fingerprint(bytes(16), bytes(8 * 12))
    assert len(pack(str(uuid.uuid4()), False, True, seen, {"team": "shop"})) < 200


@pytest.mark.parametrize("uid", ["", "7", "not-a-uid", "ABCDEF00-0000-0000-0000-00000000000"])
def test_a_uid_of_another_form_is_kept_as_it_is(uid: str) -> None:
    """Not every API server makes UUIDs."""
    assert unpack(pack(uid, False, False, Fingerprint(bytes(16), b""), {})).uid == uid
