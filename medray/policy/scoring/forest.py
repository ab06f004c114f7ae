"""Many branches as a few rows of trees: one forward pass instead of one per branch.

A branch is one answer under one picture. Branches with the same picture and prompt grow into
one tree; several trees stand in one row. What lies behind the last token that is read is left
out, since nothing that is read depends on it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from medray.policy.architectures import Architecture
from medray.policy.scoring.rows import cheapest_rows, row_length
from medray.policy.scoring.tree import Tree, grow

Directions = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Branch:
    """One answer (ids int64 [T]) to one prompt (int64 [P], placeholders expanded).

    `read` and `kl_read` bool [T]: tokens whose log-probability, and whose KL, is read.
    """

    prompt_ids: np.ndarray
    picture: str
    ids: np.ndarray
    read: np.ndarray
    kl_read: np.ndarray
    kl: Directions = ()


@dataclass(frozen=True, slots=True)
class Layout:
    """What a model needs of the rows it is given.

    `trees` is false where its attention takes no mask of its own: each branch then is a row.
    `break_even`: the row length at which attention costs as much as all other layers.
    """

    architecture: Architecture
    image_token: int
    break_even: float
    trees: bool = True
    row_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Readings:
    """What is read where: each place once, however many branches read there.

    places [U]: flat places (row · L + column), ascending. Reading n of a log-probability belongs
    to token `steps[n]` of branch `branches[n]` and is made at `places[of[n]]`. KL is read at
    `places[kl]`; reading n of it belongs to `kl_branches`, `kl_steps`, at `places[kl[kl_of[n]]]`.
    """

    places: np.ndarray
    of: np.ndarray
    targets: np.ndarray
    branches: np.ndarray
    steps: np.ndarray
    kl: np.ndarray
    kl_of: np.ndarray
    kl_branches: np.ndarray
    kl_steps: np.ndarray
    directions: Directions


@dataclass(frozen=True, slots=True)
class Forest:
    """R rows of L tokens, and what is read where.

    ids, end [R, L] (padding sees itself alone); positions [axes, R, L]; used bool [R, L];
    pictures: the distinct ones, by first use; order: a picture's number per tree;
    image_places [M]: flat places of all image tokens, tree by tree.
    """

    ids: np.ndarray
    end: np.ndarray
    positions: np.ndarray
    used: np.ndarray
    pictures: tuple[str, ...]
    order: tuple[int, ...]
    image_places: np.ndarray
    readings: Readings

    @property
    def tokens(self) -> int:
        """Tokens that are not padding."""
        return int(self.used.sum())


def build_forest(
    branches: Sequence[Branch], shapes: Mapping[str, tuple[int, ...]], layout: Layout
) -> Forest:
    """The forest of `branches`; `shapes` are those of the pictures they name."""
    groups = _groups(branches, layout.trees)
    trees = [
        grow(branches[group[0]].prompt_ids, [_needed(branches[i]) for i in group])
        for group in groups
    ]
    names = [branches[group[0]].picture for group in groups]
    lengths = [len(tree) for tree in trees]
    rows = [[i] for i in range(len(trees))]
    if layout.trees:
        rows = cheapest_rows(lengths, layout.break_even, layout.row_tokens)
    shape = (len(rows), row_length(lengths, rows))
    starts = _starts(rows, lengths, shape[1])
    ids, end, used = np.zeros(shape, np.int64), np.zeros(shape, np.int64), np.zeros(shape, bool)
    end[:] = np.arange(shape[1]) + 1
    positions: np.ndarray | None = None
    image_places = []
    for number in (number for row in rows for number in row):
        tree, start = trees[number], starts[number]
        row, column = divmod(start, shape[1])
        here = (row, slice(column, column + len(tree)))
        ids[here], end[here], used[here] = tree.ids, tree.end + column, True
        placed = _positions(tree, shapes[names[number]], layout)
        if positions is None:
            positions = np.zeros((len(placed), *shape), np.int64)
        positions[:, *here] = placed
        image_places.append(np.nonzero(tree.prompt == layout.image_token)[0] + start)
    assert positions is not None, "a forest has at least one tree"
    planted = [number for row in rows for number in row]
    pictures = tuple(dict.fromkeys(names[number] for number in planted))
    return Forest(
        ids=ids,
        end=end,
        positions=positions,
        used=used,
        pictures=pictures,
        order=tuple(pictures.index(names[number]) for number in planted),
        image_places=np.concatenate(image_places),
        readings=_read(branches, groups, trees, starts),
    )


def count_tokens(branches: Sequence[Branch], layout: Layout) -> int:
    """Tokens of the forest of `branches`, without padding."""
    groups = _groups(branches, layout.trees)
    return sum(
        len(grow(branches[group[0]].prompt_ids, [_needed(branches[i]) for i in group]))
        for group in groups
    )


def _groups(branches: Sequence[Branch], share: bool) -> list[list[int]]:
    """Branches that grow on one tree."""
    if not share:
        return [[i] for i in range(len(branches))]
    groups: dict[tuple[str, bytes], list[int]] = {}
    for i, branch in enumerate(branches):
        groups.setdefault((branch.picture, branch.prompt_ids.tobytes()), []).append(i)
    return list(groups.values())


def _needed(branch: Branch) -> np.ndarray:
    """The answer's tokens that something read depends on: all before the last one read."""
    read = np.nonzero(branch.read | branch.kl_read)[0]
    return branch.ids[: int(read[-1])] if len(read) else branch.ids[:0]


def _starts(rows: Sequence[Sequence[int]], lengths: Sequence[int], length: int) -> dict[int, int]:
    """Flat place of each tree's first token."""
    starts = {}
    for row, members in enumerate(rows):
        place = row * length
        for number in members:
            starts[number] = place
            place += lengths[number]
    return starts


def _positions(tree: Tree, shape: tuple[int, ...], layout: Layout) -> np.ndarray:
    """Position ids int64 [axes, N]: the prompt's by the architecture, answers count on."""
    length = len(tree.prompt)
    prompt, after = layout.architecture.prompt_positions(tree.prompt, shape, layout.image_token)
    answers = after + tree.depth[length:] - length
    return np.concatenate([prompt, np.broadcast_to(answers, (len(prompt), len(answers)))], axis=1)


def _read(
    branches: Sequence[Branch],
    groups: Sequence[Sequence[int]],
    trees: Sequence[Tree],
    starts: Mapping[int, int],
) -> Readings:
    logp: list[tuple[int, int, int, int]] = []  # place, target, branch, step
    kl: list[tuple[int, int, int]] = []
    for number, (group, tree) in enumerate(zip(groups, trees, strict=True)):
        for i, path in zip(group, tree.paths, strict=True):
            branch = branches[i]
            at = path + starts[number]
            logp += [
                (int(at[t]), int(branch.ids[t]), i, int(t)) for t in np.nonzero(branch.read)[0]
            ]
            if branch.kl:
                kl += [(int(at[t]), i, int(t)) for t in np.nonzero(branch.kl_read)[0]]
    flat = np.asarray(sorted(logp), dtype=np.int64).reshape(-1, 4)
    flat_kl = np.asarray(sorted(kl), dtype=np.int64).reshape(-1, 3)
    places = np.unique(np.concatenate([flat[:, 0], flat_kl[:, 0]]))
    kl_places = np.unique(flat_kl[:, 0])
    named = {direction for branch in branches for direction in branch.kl}
    return Readings(
        places=places,
        of=np.searchsorted(places, flat[:, 0]),
        targets=flat[:, 1],
        branches=flat[:, 2],
        steps=flat[:, 3],
        kl=np.searchsorted(places, kl_places),
        kl_of=np.searchsorted(kl_places, flat_kl[:, 0]),
        kl_branches=flat_kl[:, 1],
        kl_steps=flat_kl[:, 2],
        directions=tuple(sorted(named)),
    )
