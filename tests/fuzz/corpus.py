"""Every hostile body: what is no JSON, or JSON that others read differently, too much of it, or packed badly."""

from __future__ import annotations

import gzip
import json
import random
import zlib
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any

from tests.fuzz.hostile import LIMIT_BYTES, Hostile, envelope, failed, refused, taken, within
from tests.fuzz.hostile_objects import objects
from tests.web.data import observable, old_form
from tests.world import indicator, malware, new_id


def corpus() -> Iterator[Hostile]:
    """All of them, in a fixed order; names are unique."""
    yield from _not_json()
    yield from _nesting()
    yield from _numbers()
    yield from _names()
    yield from _characters()
    yield from (replace(each, heavy=True) for each in _sizes())
    yield from objects()
    yield from _codings()


def _not_json() -> Iterator[Hostile]:
    whole = envelope(indicator(name="cut \u00e9"), malware())
    for share in range(20):
        cut = whole[: len(whole) * share // 20]
        yield refused(f"cut after {len(cut)} bytes", cut, "not JSON|root of the body")
    for name, body, says in (
        ("nothing", b"", "root of the body"),
        ("a list", b"[]", "root of the body"),
        ("a text", b'"objects"', "root of the body"),
        ("a number", b"5", "root of the body"),
        ("null", b"null", "root of the body"),
        ("no objects", b'{"more": false}', "no `objects`"),
        ("objects in capitals", b'{"OBJECTS": [{}]}', "no `objects`"),
        ("objects null", b'{"objects": null}', "not a list"),
        ("objects as an object", b'{"objects": {"0": {}}}', "not a list"),
        ("objects empty", b'{"objects": []}', "empty"),
        ("two roots", b'{"objects": [{}]}{"objects": [{}]}', "not JSON: Extra data"),
        ("a comma too many", b'{"objects": [{},]}', "not JSON"),
        ("a comment", b'{"objects": [{}]} // end', "not JSON"),
        ("single quotes", b"{'objects': [{}]}", "not JSON"),
        ("a form", b"objects=%5B%5D", "root of the body"),
        ("xml", b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "root of the body"),
        ("yaml", b"objects: &a [*a]", "root of the body"),
        ("zip", b"PK\x03\x04" + bytes(100), "not JSON|not UTF-8|root of the body"),
        ("pickle", b"\x80\x04cposix\nsystem\n", "not UTF-8"),
    ):
        yield refused(name, body, says)


def _nesting() -> Iterator[Hostile]:
    for depth in (201, 10_000, 1_000_000):
        yield refused(f"lists {depth} deep", within(b"[" * depth + b"]" * depth), "nested too deeply")
        yield refused(f"objects {depth} deep", within(b'{"a":' * depth + b"1" + b"}" * depth), "nested too deeply")
        yield refused(f"{depth} lists that never close", within(b"[" * depth), "not JSON|nested too deeply")
    yield refused("lists as the root", b"[" * 1_000_000, "root of the body")
    yield refused("deep beside objects", b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b', "objects": [{}]}', "nested")
    yield refused("deep in one member", b'{"objects": [' + b"[" * 100_000 + b"]" * 100_000 + b"]}", "nested")
    yield taken("lists 190 deep", lambda: within(b"[" * 190 + b"]" * 190))
    yield taken("brackets in a text", lambda: within(b'"' + b"[{" * 100_000 + b'"'))


def _numbers() -> Iterator[Hostile]:
    for word in (b"NaN", b"Infinity", b"-Infinity"):
        yield refused(word.decode(), within(word), "not a JSON number")
    for text in (b"1e999", b"-1e999", b"1E400", b"1" + b"0" * 400):
        yield refused(f"the number {text[:8].decode()}...{len(text)}", within(text), "too large")
    for text in (b"9" * 100_000, b"0." + b"9" * 100_000, b"1e" + b"9" * 100_000, b"-" + b"9" * 9_000_000):
        yield refused(f"a number of {len(text)} digits, {text[:3].decode()}", within(text), "characters|too large")
    for text in (b"01", b"+1", b".5", b"1.", b"0x10", b"1_000", b"--1", b"1e", "\u0661".encode()):
        yield refused(f"no number: {text!r}", within(text), "not JSON")
    for text in (
        b"9223372036854775808",
        b"-9223372036854775809",
        b"18446744073709551616",
        b"1" + b"0" * 300,
        b"1e308",
        b"5e-324",
        b"-0",
        b"-0.0",
        b"1E5",
        b"0.10",
        b"1e-999",
        b"0." + b"3" * 900,
    ):
        yield taken(f"the lawful number {text[:22].decode()} of {len(text)}", lambda text=text: within(text))
    for name, value in (("confidence", 2**70), ("confidence", -1), ("confidence", 1e300), ("revoked", 1)):
        yield failed(f"{name} is {value}", lambda name=name, value=value: envelope(indicator(**{name: value})), name)


def _names() -> Iterator[Hostile]:
    says = "occurs twice"
    yield refused("objects twice", b'{"objects": [{}], "objects": [{}]}', says)
    yield refused("a name twice", within(b'{"a": 1, "a": 2}'), says)
    yield refused("a name twice, once in escapes", within(b'{"a": 1, "\\u0061": 2}'), says)
    yield refused("id twice", lambda: envelope(indicator()).replace(b'"id"', b'"id": "x", "id"', 1), says)
    yield refused("a name twice beside objects", b'{"a": {"b": 1, "b": 1}, "objects": [{}]}', says)
    yield refused("the empty name twice", within(b'{"": 1, "": 2}'), says)
    yield refused(
        "one of 100,000 names twice",
        lambda: within(b"{" + b",".join(b'"%d":1' % (n % 99_999) for n in range(100_000)) + b"}"),
        says,
    )


def _characters() -> Iterator[Hostile]:
    for name, inside in (
        ("value", b'"\\ud800"'),
        ("name", b'{"\\udfff": 1}'),
        ("pair in disorder", b'"\\udc00\\ud800"'),
    ):
        yield refused(f"a lone surrogate as {name}", within(inside), "lone surrogate")
    for inside in (
        b'"\xff"',
        b'"\xed\xa0\x80"',
        b'"\xc0\xaf"',
        b'"\xf8\x88\x80\x80\x80"',
        b'"\xe2\x82"',
        b'"\xf4\x90\x80\x80"',
    ):
        yield refused(f"no UTF-8: {inside!r}", within(inside), "not UTF-8")
    whole = envelope({"a": "\u00e9"}).decode()
    yield refused("a byte order mark", b"\xef\xbb\xbf" + whole.encode(), "byte order mark")
    for codec in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-7"):
        body = whole.encode(codec)
        yield (
            refused(codec, body, "not UTF-8|not JSON|root of the body|no `objects`")
            if codec != "utf-7"
            else failed(codec, lambda body=body: body, "type")
        )
    yield refused("latin-1", '{"objects": [{"a": "\u00e9"}]}'.encode("latin-1"), "not UTF-8")
    for code in (0, 1, 8, 10, 13, 27, 31):
        yield refused(f"control character {code} in a text", within(b'"%c"' % code), "not JSON: Invalid control")
    yield refused("NUL after the end", envelope({}) + b"\x00", "not JSON: Extra data")
    yield refused("NUL before the start", b"\x00" + envelope({}), "root of the body")
    yield refused("a million NUL", bytes(1_000_000), "root of the body")
    yield refused("a broken escape", within(b'"\\x41"'), "not JSON")
    yield refused("half an escape", within(b'"\\u00"'), "not JSON")
    for name, text in (
        ("NUL", "a\x00b"),
        ("control characters", "".join(map(chr, range(1, 32)))),
        ("line separators", "\u2028\u2029\u0085\x7f"),
        ("right to left", "\u202e gpj.exe \u2066"),
        ("beyond the plane", "\U0010ffff\U0001f480" * 100),
        ("no characters", "\ufffe\uffff\ufdd0"),
        ("combining", "e" + "\u0301" * 10_000),
        ("html", "</script><script>alert(1)</script>"),
        ("format", "%s%n{0}{self.__class__}${jndi:ldap://127.0.0.1/a}"),
    ):
        yield taken(f"a text of {name}", lambda text=text: within(json.dumps(text).encode(), name=text or "x"))
        yield taken(f"a name of {name}", lambda text=text: within(json.dumps({text: text}).encode()))


def _sizes() -> Iterator[Hostile]:
    many = 1_000_000
    yield taken("a list of a million", lambda: within(b"[" + b"1," * (many - 1) + b"1]"))
    yield taken("a list of a million lists", lambda: within(b"[" + b"[]," * (many - 1) + b"[]]"))
    yield taken("a name of a million characters", lambda: within(b'{"' + b"k" * many + b'": 1}'))
    yield taken("100,000 names", lambda: within(b"{" + b",".join(b'"k%d":1' % n for n in range(100_000)) + b"}"))
    yield taken("a text of five million", lambda: within(b'"' + b"x" * 5_000_000 + b'"'))
    yield failed("an object of nine million bytes", lambda: within(b'"' + b"x" * 9_000_000 + b'"'), "at most 7000000")
    yield refused("a body above the limit", lambda: within(b'"' + b"x" * LIMIT_BYTES + b'"'), "larger than", 413)
    for name, member in (("empty", b"{}"), ("null", b"null"), ("lists", b"[]")):
        yield failed(
            f"100,000 members: {name}",
            lambda member=member: b'{"objects": [' + b",".join([member] * 100_000) + b"]}",
            "",  # the list of failures would be too large
        )
    yield refused(
        "100,001 members", lambda: b'{"objects": [' + b",".join([b"{}"] * 100_001) + b"]}", "more than 100000"
    )
    yield failed(
        "80,000 tiny objects of a kind that is none",
        lambda: envelope(*({"type": "x-a", "id": f"x-a--{n:08x}-0000-4000-8000-00000000000g"} for n in range(80_000))),
        "",
    )
    yield failed(
        "the same object 2,000 times, its content different", lambda: envelope(*_variants(2_000)), "other content"
    )
    yield refused("white space", b" " * 9_000_000, "root of the body")
    yield refused("white space in an envelope", b'{"objects": [' + b"\n" * 9_000_000, "not JSON")
    yield refused(
        "properties beside objects",
        lambda: b"{" + b",".join(b'"x%d":0' % n for n in range(300_000)) + b"}",
        "no `objects`",
    )


def _variants(count: int) -> list[dict[str, Any]]:
    id_ = new_id()
    return [indicator(id_, name=str(number)) for number in range(count)]


def _codings() -> Iterator[Hostile]:
    gzipped = {"Content_Encoding": "gzip"}

    def packed() -> bytes:
        return gzip.compress(envelope(indicator()))

    yield Hostile("gzip as it should be", packed, 202, stored=1, headers={"Content-Encoding": "gzip"})
    yield refused("a gzip bomb of a gigabyte", _bomb, "larger than", 413, **gzipped)
    yield refused(
        "a gzip bomb of lists", lambda: gzip.compress(b"[" * (LIMIT_BYTES + 1)), "larger than", 413, **gzipped
    )
    yield refused("a bomb in a bomb", lambda: gzip.compress(_bomb()), "root of the body|not UTF-8", **gzipped)
    yield refused("gzip of gzip", lambda: gzip.compress(packed()), "not UTF-8", **gzipped)
    for cut in (0, 1, 5, 10, 40, 100):
        yield refused(f"gzip cut after {cut}", lambda cut=cut: packed()[:cut], "gzip body", **gzipped)
    yield refused("gzip without its last bytes", lambda: packed()[:-4], "gzip body", **gzipped)
    yield refused("gzip and a tail", lambda: packed() + b"tail", "gzip body", **gzipped)
    yield refused("gzip twice", lambda: packed() * 2, "gzip body", **gzipped)
    yield refused("gzip with a wrong sum", lambda: packed()[:-8] + bytes(8), "gzip body", **gzipped)
    yield refused("gzip with a broken middle", lambda: _flipped(packed()), "gzip body|not", **gzipped)
    yield refused("gzip that is none", lambda: envelope(indicator()), "gzip body", **gzipped)
    yield refused("zlib as gzip", lambda: zlib.compress(envelope(indicator())), "gzip body", **gzipped)
    yield refused(
        "gzip with a name without end", b"\x1f\x8b\x08\x08" + bytes(6) + b"n" * 1_000_000, "gzip body", **gzipped
    )
    yield refused("gzip and not said", packed, "not UTF-8")
    for coding in ("deflate", "br", "zstd", "gzip, gzip", "x" * 4000):
        yield refused(f"Content-Encoding {coding[:12]}", packed, "gzip or none", 415, Content_Encoding=coding)
    for type_ in (
        "text/plain",
        "application/json",
        "multipart/form-data; boundary=x",
        "application/x-www-form-urlencoded",
        "application/taxii+json;version=9",
        ";" * 4000,
        "a/b;" * 1000,
        '"',
    ):
        yield refused(f"Content-Type {type_[:30]}", packed, "Content-Type", 415, Content_Type=type_)


@cache
def _bomb() -> bytes:
    packer = zlib.compressobj(1, wbits=zlib.MAX_WBITS | 16)
    zeros = bytes(1_000_000)
    return b"".join(packer.compress(zeros) for _ in range(1000)) + packer.flush()


def _flipped(body: bytes) -> bytes:
    middle = len(body) // 2
    return body[:middle] + bytes(each ^ 0x55 for each in body[middle : middle + 8]) + body[middle + 8 :]


# ---- mutations


def mutated(seed: int) -> bytes:
    """An envelope with some bytes changed, taken out, doubled or moved. The same for the same seed."""
    some = random.Random(seed)
    objects = [indicator(name="one \u00e9", labels=["a", "b"]), malware(), observable(new_id("ipv4-addr")), old_form()]
    body = bytearray(envelope(*some.sample(objects, some.randint(1, 3))))
    for _ in range(some.choice((1, 1, 1, 2, 5, 20))):
        at = some.randrange(len(body)) if body else 0
        act = some.randrange(6)
        if act == 0:
            body[at : at + 1] = bytes([some.randrange(256)])
        elif act == 1:
            del body[at : at + some.choice((1, 1, 4, 50))]
        elif act == 2:
            body[at:at] = body[at : at + some.choice((1, 5, 100))] * some.choice((1, 2, 10))
        elif act == 3:
            body[at:at] = some.choice(_SPICE)
        elif act == 4:
            del body[at:]
        else:
            other = some.randrange(len(body) + 1)
            body[at:other] = body[other:at]
    return bytes(body)


_SPICE = [
    b'"',
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\x00",
    b"\xff",
    b"\xef\xbb\xbf",
    b"null",
    b"NaN",
    b"1e999",
    b'"id":',
    b'{"$gt":""}',
    b"\\ud800",
    b"\\u0000",
    b"[" * 300,
    b"9" * 2000,
    b"/*",
    b"true",
    b"\n",
    b"--",
]
