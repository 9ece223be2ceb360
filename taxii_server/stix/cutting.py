"""Parts taken out of a JSON object, and where the rest stands afterwards."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from taxii_server.stix.selectors import Path

#: A tree of steps. A part with an empty tree is cut out whole; with a filled one, something inside it is.
Tree = dict[str | int, "Tree"]

#: (steps to a list or object, what is left of it): whether the rest is of no use and has to go as well.
IsBroken = Callable[[Path, Any], bool]


def add(tree: Tree, path: Path) -> None:
    """Marks the part for cutting; what was marked inside it no longer matters."""
    node = tree
    for step in path[:-1]:
        known = node.get(step)
        if known is None:
            known = node[step] = {}
        elif not known:
            return
        node = known
    node[path[-1]] = {}


def is_cut(tree: Tree, path: Path) -> bool:
    """True when the part, or something around it, is cut out whole."""
    node = tree
    for step in path:
        inside = node.get(step)
        if inside is None:
            return False
        if not inside:
            return True
        node = inside
    return False


def ends(tree: Tree, path: Path = ()) -> Iterator[Path]:
    """The parts that are cut out whole."""
    for step, inside in tree.items():
        if inside:
            yield from ends(inside, (*path, step))
        else:
            yield (*path, step)


def cut(value: Mapping[str, Any], tree: Tree, is_broken: IsBroken) -> tuple[dict[str, Any], Tree]:
    """The object without these parts, and all that went: lists and objects that lost everything or broke go, too.

    What does not change is shared with the original, never copied. The steps of the tree must fit the object.
    """
    left, gone = _cut(value, tree, (), is_broken)
    return left or {}, gone


def _cut(place: Any, tree: Tree, path: Path, is_broken: IsBroken) -> tuple[Any, Tree]:
    """None when nothing of use is left."""
    members = place.items() if isinstance(place, Mapping) else enumerate(place)
    left: dict[str | int, Any] = {}
    gone: Tree = {}
    for step, member in members:
        inside = tree.get(step)
        if inside is None:
            left[step] = member
            continue
        gone[step] = {}
        if inside:
            rest, gone[step] = _cut(member, inside, (*path, step), is_broken)
            if rest is not None:
                left[step] = rest
    rest = left if isinstance(place, Mapping) else list(left.values())
    if not rest or is_broken(path, rest):
        return None, {}
    return rest, gone


class Moved:
    """Where the parts of an object stand after a cut."""

    def __init__(self, gone: Tree) -> None:
        self._gone = gone
        # The cut items of each list in order: with thousands of them, counting for each selector would take minutes.
        self._before: dict[int, list[int]] = {}

    def path(self, path: Path) -> Path | None:
        """The new steps to the part that stood there, None when it is gone."""
        node = self._gone
        steps: list[str | int] = []
        for done, step in enumerate(path):
            steps.append(step - bisect_left(self._cut_items(node), step) if isinstance(step, int) else step)
            inside = node.get(step)
            if inside is None:
                return (*steps, *path[done + 1 :])
            if not inside:
                return None
            node = inside
        return tuple(steps)

    def _cut_items(self, node: Tree) -> list[int]:
        if id(node) not in self._before:
            items = (step for step, inside in node.items() if isinstance(step, int) and not inside)
            self._before[id(node)] = sorted(items)
        return self._before[id(node)]
