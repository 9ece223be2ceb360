"""What an operator reads when it is done: what came along, what did not and why, and who sees less than before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from taxii_server.migrate.credentials import Login
from taxii_server.migrate.losses import Lost
from taxii_server.migrate.moving import Moved
from taxii_server.migrate.old import OldServer
from taxii_server.times import format_position


@dataclass(slots=True)
class Report:
    """All of it. `took_s`: seconds that the objects took. `written`: files of the configuration."""

    server: OldServer
    is_rehearsal: bool
    moved: Moved = field(default_factory=Moved)
    lost: Sequence[Lost] = ()
    logins: Sequence[Login] = ()
    notes: Sequence[str] = ()
    written: Sequence[str] = ()
    took_s: float = 0.0

    @property
    def is_whole(self) -> bool:
        """Whether every object came along, was there, or waits in the quarantine."""
        total = self.moved.total()
        return not (total.refused or total.unreadable)

    def sums_of_losses(self) -> list[tuple[str, str, str, int]]:
        """Partner, collection, reason, how many versions: most first."""
        sums = Counter((lost.partner, lost.collection, lost.why) for lost in self.lost)
        return [(*key, count) for key, count in sorted(sums.items(), key=lambda each: (-each[1], each[0]))]

    def to_json(self) -> dict[str, Any]:
        """The whole report for a script. No secret is in it."""
        moved = self.moved
        return {
            "source": self.server.kind,
            "dry_run": self.is_rehearsal,
            "collections": {name: asdict(tally) for name, tally in moved.tallies.items()},
            "total": asdict(moved.total()),
            "seconds": round(self.took_s, 3),
            "oldest": format_position(moved.first) if moved.first else None,
            "newest": format_position(moved.last) if moved.last else None,
            "left": [asdict(each) for each in moved.left],
            "lost": [asdict(each) for each in self.lost],
            "users": [asdict(each) for each in self.logins],
            "notes": list(self.notes),
            "files": list(self.written),
        }

    def to_text(self) -> str:
        """The whole report for a person."""
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        what = "What moving in would do" if self.is_rehearsal else "What was moved in"
        yield f"{what}: {self.server.kind}, '{self.server.title}'"
        yield ""
        yield from _table(
            ("collection", "stored", "present", "refused", "quarantined", "unreadable", "served again"),
            (
                (name, *map(str, (t.stored, t.present, t.refused, t.quarantined, t.unreadable, t.again)))
                for name, t in self.moved.tallies.items()
            ),
        )
        yield from _section("To know", self.notes)
        yield from _section("Files", self.written)
        yield from _section("Users", (f"{each.user} ({each.partner or '-'}): {each.words}" for each in self.logins))
        yield from _section(
            f"Not taken ({len(self.moved.left)})",
            (f"{e.collection}\t{e.id}\t{e.version}\t{e.date_added}\t{e.what}\t{e.why}" for e in self.moved.left),
        )
        yield from _section(
            "Who reads less than on the old server",
            (f"{partner}\t{name}\t{count}\t{why}" for partner, name, why, count in self.sums_of_losses()),
        )
        yield from _section(
            f"Versions that somebody does not read any more ({len(self.lost)})",
            (f"{each.partner}\t{each.collection}\t{each.id}\t{each.version}\t{each.why}" for each in self.lost),
        )


def _section(title: str, lines: Iterable[str]) -> Iterator[str]:
    for number, line in enumerate(lines):
        if not number:
            yield from ("", title)
        yield f"  {line}"


def _table(titles: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    every = [titles, *rows]
    widths = [max(len(row[place]) for row in every) for place in range(len(titles))]
    for row in every:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
