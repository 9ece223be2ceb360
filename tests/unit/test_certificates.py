"""Whose a certificate is: its names, who has to vouch for them, and what is refused."""

from __future__ import annotations

import pytest

from taxii_server.auth.certificate import CertificateScheme, Shown, is_vouched_for
from taxii_server.certificates import names_of, normal_name
from tests.certificates import CLIENT, DAY, SERVER, Authority, Issued, authority, stranger_authority

SUBJECT = "CN=feed,O=Partner,C=FR"


def scheme(names: dict[str, str], *authorities: Issued | None) -> CertificateScheme:
    known = [each.certificate for each in authorities if each is not None]
    return CertificateScheme(lambda: names, known, is_required=False)


def partner(names: dict[str, str], shown: Issued, *authorities: Issued | None, is_verified: bool = False) -> str | None:
    actor = scheme(names, *authorities).actor(Shown(shown.der, is_verified))
    return None if actor is None else actor.partner


def test_a_certificate_has_these_names() -> None:
    issued = authority().issue(SUBJECT, "dns:Feed.Example", "uri:spiffe://x/Y", "ip:192.0.2.1")
    names = names_of(issued.certificate)
    assert names == (issued.fingerprint, f"subject:{SUBJECT}", "uri:spiffe://x/Y", "dns:feed.example")
    assert [normal_name(name) for name in names] == list(names)


def test_names_are_written_in_several_ways() -> None:
    digits = "AB:" * 31 + "CD"
    assert normal_name(f"SHA256: {digits}") == "sha256:" + "ab" * 31 + "cd"
    assert normal_name(r"subject:CN=a\2C b,O=c") == r"subject:CN=a\, b,O=c"
    assert normal_name("dns:Feed.Example") == "dns:feed.example"


@pytest.mark.parametrize(
    "text", ["", "CN=a", "sha256:abc", "sha1:" + "a" * 40, "subject:", "subject:nonsense", "dns:", "email:a@b"]
)
def test_what_names_no_certificate_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"name|fingerprint|subject"):
        normal_name(text)


def test_a_fingerprint_needs_nobody_to_vouch_for_it_and_a_subject_does() -> None:
    made = stranger_authority().issue(SUBJECT)
    assert partner({made.fingerprint: "fr"}, made) == "fr"
    assert partner({f"subject:{SUBJECT}": "fr"}, made) is None
    assert partner({f"subject:{SUBJECT}": "fr"}, made, authority().issuer) is None
    assert partner({f"subject:{SUBJECT}": "fr"}, made, stranger_authority().issuer) == "fr"
    assert partner({f"subject:{SUBJECT}": "fr"}, made, is_verified=True) == "fr"


def test_a_certificate_out_of_time_is_nobodys_also_when_tls_has_let_it_through() -> None:
    for since, until in ((-3 * DAY, -DAY), (DAY, 3 * DAY)):
        made = authority().issue(SUBJECT, since=since, until=until)
        assert partner({made.fingerprint: "fr"}, made, is_verified=True) is None


def test_names_of_two_partners_are_nobodys_and_two_names_of_one_are_his() -> None:
    made = authority().issue(SUBJECT, "uri:urn:x")
    names = {f"subject:{SUBJECT}": "fr", "uri:urn:x": "de"}
    assert partner(names, made, authority().issuer) is None
    assert partner(dict.fromkeys(names, "fr"), made, authority().issuer) == "fr"


@pytest.mark.parametrize("der", [b"", b"nonsense", b"\x30\x03\x02\x01\x01"])
def test_what_is_no_certificate_is_nobodys(der: bytes) -> None:
    assert scheme({}).actor(Shown(der, is_verified=True)) is None


def test_only_a_ca_vouches_and_only_for_clients() -> None:
    ca = authority()
    leaf = ca.issue("CN=leaf")
    below = Authority("below", above=ca)
    assert ca.issuer is not None
    assert below.issuer is not None

    def vouched(issued: Issued, *authorities: Issued) -> bool:
        return is_vouched_for(issued.certificate, [each.certificate for each in authorities])

    assert vouched(ca.issue(SUBJECT, usage=CLIENT), ca.issuer)
    assert not vouched(ca.issue(SUBJECT, usage=SERVER), ca.issuer)
    assert not vouched(ca.issue(SUBJECT), leaf)
    assert vouched(leaf, leaf)  # named alone
    assert vouched(below.issue(SUBJECT), below.issuer)
    assert not vouched(below.issue(SUBJECT), ca.issuer)  # the one between has to be in the file
