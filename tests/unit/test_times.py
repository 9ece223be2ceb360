"""Positions, instants and version keys."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taxii_server.model import POSITION_MAX
from taxii_server.times import (
    asked_instant_key,
    format_position,
    instant_key,
    now_position,
    parse_instant,
    parse_position,
)

YEAR_1 = parse_position("0001-01-01T00:00:00.000000Z")
YEAR_9999 = parse_position("9999-12-31T23:59:59.999999Z")
positions = st.integers(YEAR_1, YEAR_9999)

BROKEN = [
    "",
    "now",
    "2020-01-01",
    "2020-01-01T00:00:00",
    "2020-01-01T00:00:00.Z",
    "2020-01-01 00:00:00Z",
    "2020-1-1T00:00:00Z",
    "02020-01-01T00:00:00Z",
    "0000-01-01T00:00:00Z",
    "2020-00-01T00:00:00Z",
    "2020-13-01T00:00:00Z",
    "2020-02-30T00:00:00Z",
    "2021-02-29T00:00:00Z",
    "2020-01-01T24:00:00Z",
    "2020-01-01T00:60:00Z",
    "2016-12-31T23:59:60Z",
    "2020-01-01T00:00:00Z\n",
    " 2020-01-01T00:00:00Z",
    "2020-01-01T00:00:00,5Z",
    "2020-01-01T00:00:00-Z",
    "\uff12\uff10\uff12\uff10-01-01T00:00:00Z",
]


def test_a_position_is_written_with_exactly_six_digits() -> None:
    assert format_position(0) == "1970-01-01T00:00:00.000000Z"
    assert format_position(1_600_000_000_000_001) == "2020-09-13T12:26:40.000001Z"
    assert format_position(-1) == "1969-12-31T23:59:59.999999Z"
    assert format_position(YEAR_1) == "0001-01-01T00:00:00.000000Z"


@pytest.mark.parametrize("us", [POSITION_MAX, YEAR_9999 + 1, YEAR_1 - 1])
def test_a_position_outside_the_calendar_is_refused(us: int) -> None:
    with pytest.raises(ValueError, match="years 0001 to 9999"):
        format_position(us)


@given(positions)
def test_a_position_comes_back_from_its_text(us: int) -> None:
    assert parse_position(format_position(us)) == us
    assert parse_instant(format_position(us)) == us


@given(positions, positions)
def test_texts_of_positions_sort_as_the_positions_do(a: int, b: int) -> None:
    assert (format_position(a) < format_position(b)) == (a < b)


@pytest.mark.parametrize(
    "text", [*BROKEN, "2020-01-01T00:00:00Z", "2020-01-01T00:00:00.12345Z", "2020-01-01T00:00:00.1234567Z"]
)
def test_only_six_digits_and_z_are_a_position(text: str) -> None:
    with pytest.raises(ValueError, match="is not a"):
        parse_position(text)


@pytest.mark.parametrize(
    ("text", "us"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01t00:00:00z", 0),
        ("1970-01-01T00:00:00.5Z", 500_000),
        ("1970-01-01T00:00:00.000001Z", 1),
        ("1970-01-01T00:00:00.0000019999999999Z", 1),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1969-12-31T19:30:00.25-04:30", 250_000),
        ("1969-12-31T23:59:59.9999999Z", -1),
        ("2020-02-29T00:00:00-00:00", 1_582_934_400_000_000),
    ],
)
def test_any_rfc_3339_timestamp_is_an_instant_cut_to_microseconds(text: str, us: int) -> None:
    assert parse_instant(text) == us


@pytest.mark.parametrize(
    "text", [*BROKEN, "2020-01-01T00:00:00+24:00", "2020-01-01T00:00:00+01:60", "2020-01-01T00:00:00+0100"]
)
def test_what_is_not_rfc_3339_or_does_not_exist_is_no_instant(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a|offset"):
        parse_instant(text)


@given(st.datetimes(min_value=datetime(2, 1, 1), max_value=datetime(9998, 12, 31)), st.integers(-1439, 1439))
def test_offsets_are_taken_into_account_as_datetime_does(naive: datetime, minutes: int) -> None:
    sign, size = ("-", -minutes) if minutes < 0 else ("+", minutes)
    text = f"{naive.isoformat(timespec='microseconds')}{sign}{size // 60:02}:{size % 60:02}"
    expected = naive.replace(tzinfo=UTC) - timedelta(minutes=minutes)
    assert parse_instant(text) == (expected - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("2020-01-01T00:00:00Z", "2020-01-01T00:00:00"),
        ("2020-01-01T00:00:00.000Z", "2020-01-01T00:00:00"),
        ("2020-01-01T00:00:00.100Z", "2020-01-01T00:00:00.1"),
        ("2020-01-01T00:00:10.010Z", "2020-01-01T00:00:10.01"),
        ("2020-01-01T00:00:00.12345678901234567890Z", "2020-01-01T00:00:00.1234567890123456789"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00"),
    ],
)
def test_a_version_key_keeps_every_digit_that_matters(text: str, key: str) -> None:
    assert instant_key(text) == key


@pytest.mark.parametrize("text", [*BROKEN, "2020-01-01t00:00:00z", "2020-01-01T00:00:00+00:00"])
def test_only_a_stix_timestamp_has_a_version_key(text: str) -> None:
    with pytest.raises(ValueError, match="is not a"):
        instant_key(text)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("2020-01-01T00:00:00.10Z", "2020-01-01T00:00:00.1"),
        ("2020-01-01t00:00:00z", "2020-01-01T00:00:00"),
        ("2020-01-01T00:00:00.1234567890+00:00", "2020-01-01T00:00:00.123456789"),
        ("2020-01-01T00:30:00-00:45", "2020-01-01T01:15:00"),
        ("0001-01-01T01:00:00+01:00", "0001-01-01T00:00:00"),
    ],
)
def test_a_query_may_name_an_instant_with_an_offset(text: str, key: str) -> None:
    assert asked_instant_key(text) == key


@pytest.mark.parametrize("text", [*BROKEN, "0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01"])
def test_what_is_no_instant_has_no_key(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a|outside|does not exist"):
        asked_instant_key(text)


#: mostly such as exist
two_digits = (st.integers(1, 12) | st.integers(0, 31) | st.integers(0, 99)).map("{:02}".format)


@given(st.sampled_from([0, 1, 1900, 2000, 2023, 2024, 9999]), *[two_digits] * 5, st.sampled_from(["", ".5", ".050"]))
def test_a_version_key_is_of_an_instant_that_exists(
    year: int, month: str, day: str, hour: str, minute: str, second: str, fraction: str
) -> None:
    seconds = f"{year:04}-{month}-{day}T{hour}:{minute}:{second}"
    try:
        datetime(year, int(month), int(day), int(hour), int(minute), int(second))
    except ValueError as error:
        with pytest.raises(ValueError, match=f"is not a date and time that exists: {error}"):
            instant_key(f"{seconds}{fraction}Z")
    else:
        assert instant_key(f"{seconds}{fraction}Z") == seconds + fraction.rstrip("0")


digits = st.text("0123456789", max_size=9)


@given(positions, digits, positions, digits)
def test_version_keys_sort_as_instants(a: int, more_a: str, b: int, more_b: str) -> None:
    def text(us: int, more: str) -> str:
        return format_position(us)[:-1] + more + "Z"

    def value(us: int, more: str) -> tuple[int, str]:
        return us, more.rstrip("0")

    assert (instant_key(text(a, more_a)) < instant_key(text(b, more_b))) == (value(a, more_a) < value(b, more_b))


def test_an_error_does_not_repeat_a_very_long_text() -> None:
    with pytest.raises(ValueError, match="is not a timestamp") as caught:
        instant_key("x" * 10_000)
    assert len(str(caught.value)) < 200


def test_the_present_is_a_position_of_this_century() -> None:
    assert "2020" < format_position(now_position()) < "2100"
