"""Answers to one prompt as one tree: what they share is computed once.

Tokens stand in preorder: the prompt, then each answer from where it leaves the one before it.
One number per token tells who may look at whom. `end[j]` is the place after the last token that
has j before it in some answer, so

    token i sees token j   exactly where   j ≤ i < end[j].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Tree:
    """N tokens in preorder; the first P of them are the prompt.

    `ids`, `end`, `depth` int64 [N]; `depth` is a token's place in its own sequence.
    `paths[i]` int64 [T_i + 1]: the token that predicts answer i's token t, t = 0 … T_i.
    """

    ids: np.ndarray
    end: np.ndarray
    depth: np.ndarray
    paths: tuple[np.ndarray, ...]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def prompt(self) -> np.ndarray:
        """The tokens that all answers share, int64 [P]."""
        return self.ids[: int(self.paths[0][0]) + 1]

    def sequence(self, answer: int) -> np.ndarray:
        """Prompt and answer as the plain sequence they stand for, int64 [P + T_i]."""
        return np.concatenate([self.prompt, self.ids[self.paths[answer][1:]]])


def grow(prompt_ids: np.ndarray, answers: Sequence[np.ndarray]) -> Tree:
    """The tree of all answers (int64 [T_i], T_i ≥ 0) behind one prompt (int64 [P], P > 0)."""
    start = len(prompt_ids)
    ids: list[int] = []
    depth: list[int] = []
    end: list[int] = []
    open_: list[int] = []  # the tokens of the branch that is being written, root first
    paths: list[np.ndarray] = [np.empty(0)] * len(answers)
    before: list[int] = []
    for i in sorted(range(len(answers)), key=lambda i: answers[i].tolist()):
        answer = answers[i].tolist()
        kept = _common(before, answer)
        for node in open_[kept:]:
            end[node] = len(ids)
        del open_[kept:]
        for place in range(kept, len(answer)):
            open_.append(len(ids))
            ids.append(answer[place])
            depth.append(start + place)
            end.append(-1)
        paths[i] = np.asarray([-1, *open_], dtype=np.int64) + start
        before = answer
    for node in open_:
        end[node] = len(ids)
    total = start + len(ids)
    return Tree(
        ids=np.concatenate([prompt_ids, np.asarray(ids, dtype=np.int64)]),
        end=np.concatenate([np.full(start, total), np.asarray(end, dtype=np.int64) + start]),
        depth=np.concatenate([np.arange(start), np.asarray(depth, dtype=np.int64)]),
        paths=tuple(paths),
    )


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    """Length of the longest common beginning."""
    for place, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return place
    return min(len(a), len(b))
