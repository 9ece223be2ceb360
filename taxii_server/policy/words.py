"""Texts compared as a reader takes them: by words, whatever their case, width, accents or invisible characters.

Why words and not patterns: an operator's regular expression can need exponential time on a stranger's text. What is
here reads every text once, whatever is looked for.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from urllib.parse import unquote

#: The most words of one phrase: what bounds the work per word of a text.
PHRASE_MAX_WORDS = 16

#: Letters that nobody sees, though Unicode counts them as letters.
_FILLERS = frozenset("\u115f\u1160\u3164\uffa0")
#: What stands in a text without being read: format characters, accents and other marks.
_UNREAD = frozenset({"Cf", "Mn", "Me"})
#: Scripts that write no spaces between words, or let endings grow on them: each of their letters is a word.
_UNSPACED = (
    "\u0e00-\u0fff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u3040-\u312f\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff"
    "\U00020000-\U0003ffff"
)
#: Stands between two texts as a word of its own, so that no phrase reaches from one into the next.
_BREAK = "\x1e"
_WORD = re.compile(f"(?=[^\\W_])[{_UNSPACED}]|[^\\W_{_UNSPACED}]+|{_BREAK}")
#: The control characters that are seen: as space.
_SPACES = "\t\n\v\f\r\x85"


class _Letters(dict[int, str | None]):
    """What remains of a character; filled as characters are met, so that str.translate stays in C."""

    def __init__(self, kept: str = "") -> None:
        """`kept`: characters that remain though nobody sees them."""
        super().__init__()
        self.kept = kept

    def __missing__(self, code: int) -> str | None:
        char = chr(code)
        category = unicodedata.category(char)
        unread = category in _UNREAD or char in _FILLERS or (category == "Cc" and char not in _SPACES)
        self[code] = char if char in self.kept or not unread else None
        return self[code]


_letters = _Letters()
_letters_and_breaks = _Letters(_BREAK)


def folded(text: str) -> str:
    """The text in lower case, with usual letters for full-width and other variants, without accents and without
    anything invisible."""
    return _folded(text, _letters)


def _folded(text: str, letters: _Letters) -> str:
    if not text.isascii():
        text = unicodedata.normalize("NFKD", text)
    text = text.translate(letters).casefold()
    return text if text.isascii() else unicodedata.normalize("NFKC", text)


def plain(text: str) -> str:
    """The text folded, with single spaces between its parts and none around it: for comparing values as a whole."""
    return " ".join(folded(text).split())


def words(text: str) -> list[str]:
    """The words of a text, folded. Everything but letters and digits stands between words."""
    return _WORD.findall(folded(text))


def words_of(texts: Iterable[str]) -> list[str]:
    """The words of several texts, which is quicker than one by one. No phrase is found across two of them."""
    joined = _BREAK.join([text.replace(_BREAK, "") for text in texts])
    return _WORD.findall(_folded(joined, _letters_and_breaks))


def texts_in(value: Any) -> Iterator[str]:
    """Every text at any depth: names of members, texts, whole numbers; what is percent-encoded also decoded."""
    todo = [value]
    while todo:
        each = todo.pop()
        if isinstance(each, str):
            yield each
            if "%" in each:
                yield unquote(each)
        elif isinstance(each, dict):
            todo += each
            todo += each.values()
        elif isinstance(each, list):
            todo += each
        elif isinstance(each, int) and not isinstance(each, bool):
            yield str(each)


class Phrases:
    """Phrases of one or more words to look for, all at once. Immutable.

    The time of a search grows with the text and not with the number of phrases.
    """

    __slots__ = ("_root", "phrases")

    def __init__(self, phrases: Iterable[str]) -> None:
        """Each phrase needs a word, and has at most PHRASE_MAX_WORDS."""
        self.phrases = tuple(phrases)
        self._root: dict[str, Any] = {}
        for phrase in self.phrases:
            node = self._root
            for word in words(phrase):
                node = node.setdefault(word, {})
            # No word is empty, so this key is free.
            node[""] = phrase

    def first_in(self, found: Sequence[str]) -> str | None:
        """A phrase whose words stand in this order, next to each other, among these words; None without one."""
        for start, word in enumerate(found):
            node = self._root.get(word)
            at = start
            while node is not None:
                if "" in node:
                    return str(node[""])
                at += 1
                node = node.get(found[at]) if at < len(found) else None
        return None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Phrases) and self.phrases == other.phrases

    def __hash__(self) -> int:
        return hash(self.phrases)
