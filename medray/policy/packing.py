"""Pairs as arrays: what is sent from the editor to the learners.

The side that is the policy's own keeps its sampled tokens; the other side is encoded from its
text. The sides of a sentence's pair stand behind the answer's sampled beginning. Pixels
are stored once per picture, by digest, however many pairs share it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from medray.editing.alignment import decode, edit_mask, encode_answer, token_offsets
from medray.errors import ItemError
from medray.policy.model.chat import ChatCodec
from medray.policy.picture import Picture
from medray.records import Pair, Response, Span

Keys = tuple[str, ...]  # of pictures


@dataclass(frozen=True, slots=True)
class Side:
    """One answer: token ids int64 [T], end-of-turn included; or one sentence. edited bool [T].

    behaviour: float32 [T] in nats, the log-probability of each token under the policy that
    sampled it; None if not recorded. offsets: int64 [T, 2], the characters [start, end) of the
    side's text that each token holds; None if the side has no tokens to look at.
    """

    ids: np.ndarray
    edited: np.ndarray
    behaviour: np.ndarray | None = None
    offsets: np.ndarray | None = None


@dataclass(frozen=True, slots=True)
class PackedPair:
    """One pair ready for scoring.

    `image_keys` name the pictures of its images in `PackedBatch.pixels`, in the order in which they
    are shown; `corrupted_keys` those of v', as many, or none if it has no v'.
    `prefix_ids` is the beginning of the answer that both sides continue: none of an answer's
    pair, the tokens before the sentence of a sentence's. It is read by no objective. `relevance`
    is raw from the editor; a step normalises it over its pairs (`shares.weigh`).
    """

    pair_id: str
    prompt_ids: np.ndarray  # int64 [P], image placeholders expanded
    chosen: Side
    rejected: Side
    image_keys: Keys
    corrupted_keys: Keys
    relevance: float
    prefix_ids: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))  # [S]

    @property
    def context_ids(self) -> np.ndarray:
        """What both sides stand behind: prompt and prefix, int64 [P + S]."""
        return np.concatenate([self.prompt_ids, self.prefix_ids])

    def side(self, name: str) -> Side:
        return self.chosen if name == "chosen" else self.rejected


@dataclass(frozen=True, slots=True)
class SentenceTokens:
    """A sentence's tokens [first, last) among those of its answer, and the characters around the
    sentence that its first and its last token hold, as a rule blanks."""

    first: int
    last: int
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class PackedBatch:
    """Pairs and the pixels they name."""

    pairs: tuple[PackedPair, ...]
    pixels: dict[str, Picture]


def merge_batches(batches: Sequence[PackedBatch]) -> list[PackedPair]:
    """All pairs in order of their ids, however batched."""
    return sorted((p for batch in batches for p in batch.pairs), key=lambda p: p.pair_id)


def pack_reference(
    codec: ChatCodec, pair: Pair, prompt_ids: np.ndarray, image_keys: Keys, *, context: int
) -> PackedPair:
    """The reference answer as y+ (`pair.chosen`), for objectives that imitate it; without y−."""
    ids = np.asarray(token_ids(codec, pair.chosen, finished=True), dtype=np.int64)
    if len(prompt_ids) + len(ids) > context:
        raise ItemError("pair-too-long")
    chosen, rejected = (Side(side, np.zeros(len(side), dtype=bool)) for side in (ids, ids[:0]))
    return PackedPair(pair.pair_id, prompt_ids, chosen, rejected, image_keys, (), pair.relevance)


def pack_given(
    codec: ChatCodec,
    pair: Pair,
    prompt_ids: np.ndarray,
    image_keys: Keys,
    corrupted_keys: Keys,
    *,
    context: int,
) -> PackedPair:
    """A pair made elsewhere: both sides are complete texts, encoded; neither was sampled."""
    chosen, rejected = (
        written_side(codec, text, spans, finished=True)
        for text, spans in ((pair.chosen, pair.chosen_spans), (pair.rejected, pair.rejected_spans))
    )
    if len(prompt_ids) + max(len(chosen.ids), len(rejected.ids)) > context:
        raise ItemError("pair-too-long")
    return PackedPair(
        pair.pair_id, prompt_ids, chosen, rejected, image_keys, corrupted_keys, pair.relevance
    )


def sampled_side(codec: ChatCodec, response: Response, spans: Sequence[Span]) -> Side:
    """The policy's own answer: its sampled tokens, spans aligned by a checked round trip, and
    the log-probabilities with which the tokens were sampled, if the response has them."""
    ids = list(response.token_ids)
    offsets = token_offsets(codec.tokenizer, ids, response.text)
    side = _side(ids, offsets, spans)
    return replace(side, behaviour=_behaviour(response, slice(None)))


def written_side(codec: ChatCodec, text: str, spans: Sequence[Span], *, finished: bool) -> Side:
    """The editor's text, encoded; its turn is ended exactly if the response's was (`finished`)."""
    ids = token_ids(codec, text, finished=finished)
    return _side(ids, token_offsets(codec.tokenizer, ids, text), spans)


def pack_pair(
    codec: ChatCodec,
    pair: Pair,
    response: Response,
    prompt_ids: np.ndarray,
    image_keys: Keys,
    corrupted_keys: Keys,
    *,
    context: int,
) -> PackedPair:
    """Tokens and masks of both sides; ItemError if they cannot be aligned or do not fit."""
    sampled_spans, written_spans = pair.chosen_spans, pair.rejected_spans
    if not pair.response_was_correct:
        sampled_spans, written_spans = written_spans, sampled_spans
    sampled = sampled_side(codec, response, sampled_spans)
    text = pair.rejected if pair.response_was_correct else pair.chosen
    written = written_side(codec, text, written_spans, finished=response.finished)
    if len(prompt_ids) + max(len(sampled.ids), len(written.ids)) > context:
        raise ItemError("pair-too-long")
    chosen, rejected = (sampled, written) if pair.response_was_correct else (written, sampled)
    return PackedPair(
        pair.pair_id, prompt_ids, chosen, rejected, image_keys, corrupted_keys, pair.relevance
    )


def sentence_tokens(codec: ChatCodec, response: Response, start: int, end: int) -> SentenceTokens:
    """Where the sentence [start, end) of a response's text is among its sampled tokens.

    Raises ItemError("alignment-failed") if its last token holds more than blanks of what follows,
    or if it begins in tokens that were not sampled.
    """
    text = response.text
    offsets = token_offsets(codec.tokenizer, response.token_ids, text)
    first = next((i for i, (_, stop) in enumerate(offsets) if stop > start), len(offsets))
    last = next((i for i, (_, stop) in enumerate(offsets) if stop >= end), len(offsets))
    if first >= len(offsets) or last >= len(offsets) or first < response.given:
        raise ItemError("alignment-failed", "the sentence has no sampled tokens of its own")
    blanks = text[end : offsets[last][1]]
    if blanks.strip():
        raise ItemError("alignment-failed", "a token holds the sentence's end and what follows")
    return SentenceTokens(first, last + 1, text[offsets[first][0] : start], blanks)


def pack_sentence(
    codec: ChatCodec,
    pair: Pair,
    response: Response,
    start: int,
    prompt_ids: np.ndarray,
    image_keys: Keys,
    corrupted_keys: Keys,
    *,
    context: int,
) -> PackedPair:
    """As `pack_pair`, of the response's sentence that begins at character `start`.

    The prefix is the sampled tokens before it. Neither side is ended.
    """
    own, other = pair.rejected, pair.chosen
    own_spans, other_spans = pair.rejected_spans, pair.chosen_spans
    if pair.response_was_correct:
        own, other, own_spans, other_spans = other, own, other_spans, own_spans
    at = sentence_tokens(codec, response, start, start + len(own))
    prefix_ids = list(response.token_ids[: at.first])
    ids = list(response.token_ids[at.first : at.last])
    texts = [at.before + side + at.after for side in (own, other)]
    sampled = _tail(codec, prefix_ids, ids, texts[0], _shifted(own_spans, len(at.before)))
    sampled = replace(sampled, behaviour=_behaviour(response, slice(at.first, at.last)))
    ids = encode_behind(codec, prefix_ids, texts[1])
    written = _tail(codec, prefix_ids, ids, texts[1], _shifted(other_spans, len(at.before)))
    length = len(prompt_ids) + len(prefix_ids) + max(len(sampled.ids), len(written.ids))
    if length > context:
        raise ItemError("pair-too-long")
    blanks = len(at.before)  # which a first token holds, and the pair's texts do not
    sampled, written = (
        _shown_from(blanks, side, length=len(text))
        for side, text in ((sampled, own), (written, other))
    )
    chosen, rejected = (sampled, written) if pair.response_was_correct else (written, sampled)
    return PackedPair(
        pair.pair_id,
        prompt_ids,
        chosen,
        rejected,
        image_keys,
        corrupted_keys,
        pair.relevance,
        np.asarray(prefix_ids, dtype=np.int64),
    )


def encode_behind(codec: ChatCodec, prefix_ids: Sequence[int], text: str) -> list[int]:
    """The tokens of `text` behind given ones: together they decode to both texts joined.

    Those that the tokenizer gives the joined text, if it begins with `prefix_ids`; a sampled
    prefix may be tokenised otherwise, and then those of `text` by itself.
    Raises ItemError("alignment-failed") if neither decodes to the joined text.
    """
    joined = decode(codec.tokenizer, prefix_ids) + text
    ids = encode_answer(codec.tokenizer, joined)
    if ids[: len(prefix_ids)] == list(prefix_ids):
        return ids[len(prefix_ids) :]
    alone = [int(i) for i in codec.tokenizer.encode(text, add_special_tokens=False)]
    if decode(codec.tokenizer, [*prefix_ids, *alone]) != joined:
        raise ItemError("alignment-failed", "the edited sentence cannot follow the sampled tokens")
    return alone


def _behaviour(response: Response, tokens: slice) -> np.ndarray | None:
    """The log-probabilities of some tokens as they were sampled, float32; None if not asked for."""
    logps, ids = response.token_logps, response.token_ids
    if not logps:
        return None
    if len(logps) != len(ids):
        raise ItemError("alignment-failed", f"{len(logps)} log-probs of {len(ids)} tokens")
    return np.asarray(logps[tokens], dtype=np.float32)


def _tail(
    codec: ChatCodec, prefix_ids: list[int], ids: list[int], text: str, spans: Sequence[Span]
) -> Side:
    """The side of `ids` behind `prefix_ids`; `spans` are ranges of its `text`."""
    joined = decode(codec.tokenizer, [*prefix_ids, *ids])
    before = len(joined) - len(text)
    offsets = token_offsets(codec.tokenizer, [*prefix_ids, *ids], joined)[len(prefix_ids) :]
    return _shown_from(before, _side(ids, offsets, _shifted(spans, before)))


def _shifted(spans: Sequence[Span], by: int) -> list[Span]:
    return [replace(span, start=span.start + by, end=span.end + by) for span in spans]


def token_ids(codec: ChatCodec, text: str, *, finished: bool) -> list[int]:
    """The tokens of an answer, with the end of its turn if it is finished."""
    ids = encode_answer(codec.tokenizer, text)
    return [*ids, codec.eos_id] if finished else ids


def _shown_from(start: int, side: Side, length: int | None = None) -> Side:
    """The side with its offsets counted from character `start` on, in a text of `length`."""
    assert side.offsets is not None
    return replace(side, offsets=np.clip(side.offsets - start, 0, length))


def _side(ids: list[int], offsets: list[tuple[int, int]], spans: Sequence[Span]) -> Side:
    edited = edit_mask(offsets, spans)
    if not any(edited):
        raise ItemError("edit-mask-empty")
    return Side(
        np.asarray(ids, dtype=np.int64),
        np.asarray(edited, dtype=bool),
        offsets=np.asarray(offsets, dtype=np.int64).reshape(-1, 2),
    )
