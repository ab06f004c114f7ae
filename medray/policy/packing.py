"""Pairs as arrays: what travels from the editor to the learners.

The tokens of the side that is the policy's own response are the sampled ones; the other side
is encoded from its text. Pixels are kept once per picture, by digest, however many pairs
share it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from medray.editing.alignment import edit_mask, encode_answer, token_offsets
from medray.editing.relevance import normalise
from medray.errors import ItemError
from medray.policy.model.chat import ChatCodec
from medray.records import Pair, Response, Span


@dataclass(frozen=True, slots=True)
class Side:
    """One answer: token ids int64 [T], end-of-turn included; edited bool [T].

    behaviour: float32 [T] in nats, how likely each token was to the policy that sampled it;
    None where the side was written.
    """

    ids: np.ndarray
    edited: np.ndarray
    behaviour: np.ndarray | None = None


@dataclass(frozen=True, slots=True)
class PackedPair:
    """One pair ready for scoring; `corrupted_key` is "" where it has no v'.

    `relevance` is raw from the editor, and normalised over the step's pairs by `merge_batches`.
    """

    pair_id: str
    prompt_ids: np.ndarray  # int64 [P], image placeholder expanded
    chosen: Side
    rejected: Side
    image_key: str
    corrupted_key: str
    relevance: float

    def side(self, name: str) -> Side:
        return self.chosen if name == "chosen" else self.rejected


@dataclass(frozen=True, slots=True)
class PackedBatch:
    """Pairs and the pixels they name, each float32 [3, h, w]."""

    pairs: tuple[PackedPair, ...]
    pixels: dict[str, np.ndarray]


def merge_batches(batches: Sequence[PackedBatch]) -> list[PackedPair]:
    """All pairs by their id, relevance normalised over them, however they came in batches."""
    pairs = sorted((p for batch in batches for p in batch.pairs), key=lambda p: p.pair_id)
    weights = normalise([pair.relevance for pair in pairs], "window")
    return [replace(pair, relevance=weight) for pair, weight in zip(pairs, weights, strict=True)]


def pack_reference(
    codec: ChatCodec,
    pair: Pair,
    response: Response,
    prompt_ids: np.ndarray,
    image_key: str,
    *,
    context: int,
) -> PackedPair:
    """The reference answer as y+ (`pair.chosen`), for objectives that imitate it; no edits."""
    told = token_ids(codec, pair.chosen, finished=True)
    said = np.asarray(response.token_ids, dtype=np.int64)
    if len(prompt_ids) + max(len(told), len(said)) > context:
        raise ItemError("pair-too-long")
    chosen, rejected = (
        Side(ids, np.zeros(len(ids), dtype=bool)) for ids in (np.asarray(told), said)
    )
    return PackedPair(pair.pair_id, prompt_ids, chosen, rejected, image_key, "", pair.relevance)


def sampled_side(codec: ChatCodec, response: Response, spans: Sequence[Span]) -> Side:
    """The policy's own answer: its sampled tokens, spans aligned by a checked round trip,
    and the log-probabilities they were sampled with."""
    ids = list(response.token_ids)
    offsets = token_offsets(codec.tokenizer, ids, response.text)
    side = _side(ids, edit_mask(offsets, spans))
    behaviour = np.asarray(response.token_logps, dtype=np.float32)
    if len(behaviour) != len(ids):
        raise ItemError("alignment-failed", f"{len(behaviour)} log-probs of {len(ids)} tokens")
    return replace(side, behaviour=behaviour)


def written_side(codec: ChatCodec, text: str, spans: Sequence[Span], *, finished: bool) -> Side:
    """The editor's text, encoded; ends its turn exactly where the response did."""
    ids = token_ids(codec, text, finished=finished)
    return _side(ids, edit_mask(token_offsets(codec.tokenizer, ids, text), spans))


def pack_pair(
    codec: ChatCodec,
    pair: Pair,
    response: Response,
    prompt_ids: np.ndarray,
    image_key: str,
    corrupted_key: str,
    *,
    context: int,
) -> PackedPair:
    """Tokens and masks of both sides; ItemError where they cannot be aligned or do not fit."""
    own, other = pair.chosen_spans, pair.rejected_spans
    if not pair.response_was_correct:
        own, other = other, own
    sampled = sampled_side(codec, response, own)
    text = pair.rejected if pair.response_was_correct else pair.chosen
    written = written_side(codec, text, other, finished=response.finished)
    if len(prompt_ids) + max(len(sampled.ids), len(written.ids)) > context:
        raise ItemError("pair-too-long")
    chosen, rejected = (sampled, written) if pair.response_was_correct else (written, sampled)
    return PackedPair(
        pair.pair_id, prompt_ids, chosen, rejected, image_key, corrupted_key, pair.relevance
    )


def token_ids(codec: ChatCodec, text: str, *, finished: bool) -> list[int]:
    """A text as an answer's tokens, with the end of its turn where it is finished."""
    ids = encode_answer(codec.tokenizer, text)
    return [*ids, codec.eos_id] if finished else ids


def _side(ids: list[int], edited: list[bool]) -> Side:
    if not any(edited):
        raise ItemError("edit-mask-empty")
    return Side(np.asarray(ids, dtype=np.int64), np.asarray(edited, dtype=bool))
