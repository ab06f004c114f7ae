"""Many branches as a few rows of trees: one forward pass instead of one per branch.

A branch is one answer to one prompt under its images. Branches under the same images share one
tree, if their prompts are the same up to the last image: what they have in common is computed once,
be it the template, the question, or the beginning of an answer. A tree that would be so long that
attention within it costs more than it saves is several. A row holds several trees. The last
token that is read and all tokens after it are left out, because no value that is read depends on
them.

Shapes: R rows of L tokens; U positions whose hidden states are read, N log-probabilities read
there; K positions at which KL is computed, for E branch tokens; P tokens of a prompt, T of an
answer. A flat position is row · L + column.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from medray.policy.architectures import Architecture
from medray.policy.scoring.rows import cheapest_rows, cheapest_trees, common_length, row_length
from medray.policy.scoring.tree import Tree, build_tree

Directions = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Branch:
    """One answer (int64 [T]) to one prompt (int64 [P], placeholders expanded), under the images of
    these keys, in the order of their placeholders.

    `logp_mask` and `kl_mask` bool [T]: the tokens whose log-probability is read, and those
    whose KL is read in each of `directions`.
    """

    prompt_ids: np.ndarray
    image_keys: tuple[str, ...]
    answer_ids: np.ndarray
    logp_mask: np.ndarray
    kl_mask: np.ndarray
    directions: Directions = ()


@dataclass(frozen=True, slots=True)
class Layout:
    """What a model requires of the rows it is given.

    `trees` is false if its layers take no mask of their own: each branch is then a row.
    `break_even`: the row length at which attention costs as much as all other layers.
    `window`: tokens that a sliding layer sees, None if none slides; `masks_by_kind`: whether
    layers that slide and layers that do not take masks of their own.
    """

    architecture: Architecture
    image_token: int
    break_even: float
    trees: bool = True
    row_tokens: int | None = None
    window: int | None = None
    masks_by_kind: bool = False


@dataclass(frozen=True, slots=True)
class ReadIndex:
    """Which positions are read, each once, and which branch token every value belongs to.

    positions [U]: flat positions, ascending. Log-probability n is that of token `targets[n]` at
    `positions[logp_index[n]]`; it belongs to token `logp_steps[n]` of branch `logp_branches[n]`.
    KL is computed at `positions[kl_index]` [K]; of these K values, entry e takes number
    `kl_value_index[e]` and belongs to token `kl_steps[e]` of branch `kl_branches[e]`.
    """

    positions: np.ndarray
    logp_index: np.ndarray
    targets: np.ndarray
    logp_branches: np.ndarray
    logp_steps: np.ndarray
    kl_index: np.ndarray
    kl_value_index: np.ndarray
    kl_branches: np.ndarray
    kl_steps: np.ndarray
    directions: Directions


@dataclass(frozen=True, slots=True)
class Forest:
    """R rows of L tokens, and what is read at which positions.

    ids, subtree_end [R, L] (padding sees only itself); depth [R, L]: a token's index in its own
    sequence, whatever the row holds before it; position_ids [axes, R, L]; used bool [R, L];
    image_keys: the distinct ones, by first use; tree_images: indices into `image_keys` of the
    images of one tree after the other; image_positions [M]: flat positions of all image tokens,
    ascending.
    """

    ids: np.ndarray
    subtree_end: np.ndarray
    depth: np.ndarray
    position_ids: np.ndarray
    used: np.ndarray
    image_keys: tuple[str, ...]
    tree_images: tuple[int, ...]
    image_positions: np.ndarray
    read_index: ReadIndex

    @property
    def tokens(self) -> int:
        """Tokens that are not padding."""
        return int(self.used.sum())


def build_forest(
    branches: Sequence[Branch], shapes: Mapping[str, tuple[int, ...]], layout: Layout
) -> Forest:
    """The forest of `branches`; `shapes` are those of the pictures under their image keys."""
    groups = _group_by_tree(branches, layout)
    trees = [_tree([branches[i] for i in group]) for group in groups]
    keys = [branches[group[0]].image_keys for group in groups]
    lengths = [len(tree) for tree in trees]
    rows = _rows(lengths, layout)
    tree_order = [number for row in rows for number in row]
    shape = (len(rows), row_length(lengths, rows))
    starts = _tree_starts(rows, lengths, shape[1])
    ids, used = np.zeros(shape, np.int64), np.zeros(shape, bool)
    subtree_end, depth = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    subtree_end[:] = np.arange(shape[1]) + 1
    position_ids: np.ndarray | None = None
    image_positions = []
    for number in tree_order:
        tree, start = trees[number], starts[number]
        row, column = divmod(start, shape[1])
        cells = (row, slice(column, column + len(tree)))
        ids[cells], subtree_end[cells], used[cells] = tree.ids, tree.subtree_end + column, True
        depth[cells] = tree.depth
        tree_position_ids = _tree_position_ids(tree, [shapes[key] for key in keys[number]], layout)
        if position_ids is None:
            position_ids = np.zeros((len(tree_position_ids), *shape), np.int64)
        position_ids[:, *cells] = tree_position_ids
        image_positions.append(np.nonzero(tree.prompt == layout.image_token)[0] + start)
    assert position_ids is not None, "a forest has at least one tree"
    placed = [key for number in tree_order for key in keys[number]]
    image_keys = tuple(dict.fromkeys(placed))
    return Forest(
        ids=ids,
        subtree_end=subtree_end,
        depth=depth,
        position_ids=position_ids,
        used=used,
        image_keys=image_keys,
        tree_images=tuple(image_keys.index(key) for key in placed),
        image_positions=np.concatenate(image_positions),
        read_index=_build_read_index(branches, groups, trees, starts),
    )


def count_tokens(branches: Sequence[Branch], layout: Layout) -> int:
    """Tokens of the forest of `branches`, without padding."""
    return sum(_tree_lengths(branches, layout))


def count_cells(branches: Sequence[Branch], layout: Layout) -> int:
    """R · L of the forest of `branches`: its tokens, and the padding of its rows."""
    lengths = _tree_lengths(branches, layout)
    rows = _rows(lengths, layout)
    return len(rows) * row_length(lengths, rows)


def _tree_lengths(branches: Sequence[Branch], layout: Layout) -> list[int]:
    groups = _group_by_tree(branches, layout)
    return [len(_tree([branches[i] for i in group])) for group in groups]


def _rows(lengths: Sequence[int], layout: Layout) -> list[list[int]]:
    """Trees of these lengths by row."""
    if not layout.trees:
        return [[i] for i in range(len(lengths))]
    return cheapest_rows(lengths, layout.break_even, layout.row_tokens)


def tree_key(
    prompt_ids: np.ndarray, image_keys: tuple[str, ...], image_token: int
) -> tuple[tuple[str, ...], bytes]:
    """Equal for what can share a tree: the images, and the prompt up to their last token."""
    image_tokens = np.nonzero(prompt_ids == image_token)[0]
    head = int(image_tokens[-1]) + 1 if len(image_tokens) else len(prompt_ids)
    return image_keys, prompt_ids[:head].tobytes()


def _group_by_tree(branches: Sequence[Branch], layout: Layout) -> list[list[int]]:
    """Indices of the branches of each tree; without `trees`, every branch is its own tree.

    Branches that could share one are several trees where that is less work.
    """
    if not layout.trees:
        return [[i] for i in range(len(branches))]
    groups: dict[tuple[tuple[str, ...], bytes], list[int]] = {}
    for i, branch in enumerate(branches):
        key = tree_key(branch.prompt_ids, branch.image_keys, layout.image_token)
        groups.setdefault(key, []).append(i)
    sequences = [np.concatenate([b.prompt_ids, _needed_ids(b)]) for b in branches]
    trees = []
    for group in groups.values():
        parts = cheapest_trees([sequences[i] for i in group], layout.break_even, layout.row_tokens)
        trees += [[group[member] for member in part] for part in parts]
    return trees


def _tree(branches: Sequence[Branch]) -> Tree:
    """The tree of one group: its root is what all prompts have in common."""
    prompts = [branch.prompt_ids for branch in branches]
    root = min(common_length(prompts[0], prompt) for prompt in prompts)
    tails = [np.concatenate([b.prompt_ids[root:], _needed_ids(b)]) for b in branches]
    return build_tree(prompts[0][:root], tails)


def _needed_ids(branch: Branch) -> np.ndarray:
    """The answer's tokens that a read value depends on: all before the last one read."""
    read = np.nonzero(branch.logp_mask | branch.kl_mask)[0]
    return branch.answer_ids[: int(read[-1])] if len(read) else branch.answer_ids[:0]


def _tree_starts(
    rows: Sequence[Sequence[int]], lengths: Sequence[int], length: int
) -> dict[int, int]:
    """Flat position of each tree's first token."""
    starts = {}
    for row, members in enumerate(rows):
        position = row * length
        for number in members:
            starts[number] = position
            position += lengths[number]
    return starts


def _tree_position_ids(tree: Tree, shapes: Sequence[tuple[int, ...]], layout: Layout) -> np.ndarray:
    """Position ids int64 [axes, N]: the root's from the architecture, then counting up.

    The root holds all images entirely; behind the last, positions count up in every architecture.
    """
    length = len(tree.prompt)
    prompt, after = layout.architecture.prompt_position_ids(tree.prompt, shapes, layout.image_token)
    answers = after + tree.depth[length:] - length
    return np.concatenate([prompt, np.broadcast_to(answers, (len(prompt), len(answers)))], axis=1)


def _build_read_index(
    branches: Sequence[Branch],
    groups: Sequence[Sequence[int]],
    trees: Sequence[Tree],
    starts: Mapping[int, int],
) -> ReadIndex:
    logp_entries: list[tuple[int, int, int, int]] = []  # flat position, target, branch, step
    kl_entries: list[tuple[int, int, int]] = []  # flat position, branch, step
    for number, (group, tree) in enumerate(zip(groups, trees, strict=True)):
        for i, path in zip(group, tree.paths, strict=True):
            branch = branches[i]
            flat = path[len(branch.prompt_ids) - len(tree.prompt) :] + starts[number]
            logp_entries += [
                (int(flat[t]), int(branch.answer_ids[t]), i, int(t))
                for t in np.nonzero(branch.logp_mask)[0]
            ]
            if branch.directions:
                kl_entries += [(int(flat[t]), i, int(t)) for t in np.nonzero(branch.kl_mask)[0]]
    logps = np.asarray(sorted(logp_entries), dtype=np.int64).reshape(-1, 4)
    kls = np.asarray(sorted(kl_entries), dtype=np.int64).reshape(-1, 3)
    positions = np.unique(np.concatenate([logps[:, 0], kls[:, 0]]))
    kl_positions = np.unique(kls[:, 0])
    directions = {direction for branch in branches for direction in branch.directions}
    return ReadIndex(
        positions=positions,
        logp_index=np.searchsorted(positions, logps[:, 0]),
        targets=logps[:, 1],
        logp_branches=logps[:, 2],
        logp_steps=logps[:, 3],
        kl_index=np.searchsorted(positions, kl_positions),
        kl_value_index=np.searchsorted(kl_positions, kls[:, 0]),
        kl_branches=kls[:, 1],
        kl_steps=kls[:, 2],
        directions=tuple(sorted(directions)),
    )
