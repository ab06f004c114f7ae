"""Continuations of one prompt as one tree: what they share is computed once.

Tokens are stored in preorder: the prompt, then each continuation from where it leaves the previous
one. One number per token encodes the attention mask. `subtree_end[j]` is the index after the
last token that has j before it in some continuation, so

    token i sees token j   if and only if   j ≤ i < subtree_end[j].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Tree:
    """N tokens in preorder; the first P of them are the prompt.

    `ids`, `subtree_end`, `depth` int64 [N]; `depth` is a token's index in its own sequence.
    `paths[i]` int64 [T_i + 1]: the token that predicts answer i's token t, t = 0 … T_i.
    """

    ids: np.ndarray
    subtree_end: np.ndarray
    depth: np.ndarray
    paths: tuple[np.ndarray, ...]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def prompt(self) -> np.ndarray:
        """The prompt that all answers share, int64 [P]."""
        return self.ids[: int(self.paths[0][0]) + 1]

    def sequence(self, answer: int) -> np.ndarray:
        """Prompt and answer as a plain sequence, int64 [P + T_i]."""
        return np.concatenate([self.prompt, self.ids[self.paths[answer][1:]]])


def build_tree(prompt_ids: np.ndarray, answers: Sequence[np.ndarray]) -> Tree:
    """The tree of all answers (int64 [T_i], T_i ≥ 0) to one prompt (int64 [P], P > 0)."""
    start = len(prompt_ids)
    ids: list[int] = []
    depth: list[int] = []
    subtree_end: list[int] = []
    open_nodes: list[int] = []  # the tokens of the branch being written, root first
    paths: list[np.ndarray] = [np.empty(0)] * len(answers)
    previous: list[int] = []
    for i in sorted(range(len(answers)), key=lambda i: answers[i].tolist()):
        answer = answers[i].tolist()
        shared = _common_prefix(previous, answer)
        for node in open_nodes[shared:]:
            subtree_end[node] = len(ids)
        del open_nodes[shared:]
        for step in range(shared, len(answer)):
            open_nodes.append(len(ids))
            ids.append(answer[step])
            depth.append(start + step)
            subtree_end.append(-1)
        paths[i] = np.asarray([-1, *open_nodes], dtype=np.int64) + start
        previous = answer
    for node in open_nodes:
        subtree_end[node] = len(ids)
    total = start + len(ids)
    answers_end = np.asarray(subtree_end, dtype=np.int64) + start
    return Tree(
        ids=np.concatenate([prompt_ids, np.asarray(ids, dtype=np.int64)]),
        subtree_end=np.concatenate([np.full(start, total), answers_end]),
        depth=np.concatenate([np.arange(start), np.asarray(depth, dtype=np.int64)]),
        paths=tuple(paths),
    )


def _common_prefix(a: Sequence[int], b: Sequence[int]) -> int:
    """Length of the longest common prefix."""
    for length, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return length
    return min(len(a), len(b))
