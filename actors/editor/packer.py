"""The actor in the editor's place if nothing is edited: pairs as given, or references."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from actors.editor.batches import finish
from actors.editor.encoder import Encoder, reason_of
from actors.editor.pictures import add_pictures, picture_keys
from medray.data.pairs.differences import GIVEN, differences
from medray.data.stream import by_case
from medray.errors import ItemError
from medray.imaging.corruption import Contrast, Corrupted
from medray.imaging.load import pixels_sha256, resized
from medray.imaging.view import corrupt_views
from medray.policy.packing import PackedBatch, PackedPair, pack_given, pack_reference
from medray.policy.picture import Picture
from medray.records import Case, Dropped, EditResults, GivenSide, Pair, Span
from medray.seeds import item_seed


@dataclass(slots=True)
class PackCall:
    """One call of the packer, with the pixels of its pairs by their digests."""

    version: int
    pixels: dict[str, Picture] = field(default_factory=dict)


class Packer(Encoder):
    """Turns cases into pairs without an answer of the policy."""

    def pack(
        self, version: int, item_ids: Sequence[str], cases: Sequence[Case], *images: np.ndarray
    ) -> tuple[EditResults, *tuple[PackedBatch, ...]]:
        """A pair or a drop per case, and the pairs' batches. `version`: the policy to be trained;
        images: of one case after the other."""
        call, results, packed = PackCall(version), list[Pair | Dropped](), []
        for item_id, case, shown in zip(item_ids, cases, by_case(cases, images), strict=True):
            try:
                if self.needs.chosen == "reference":
                    pair, arrays = self._reference(call, item_id, case, shown)
                else:
                    pair, arrays = self._given(call, item_id, case, shown)
            except (ItemError, MemoryError) as error:
                reason = reason_of(error)
                results.append(Dropped(item_id, case.case_id, version, reason))
            else:
                results.append(pair)
                packed.append(arrays)
        batch = PackedBatch(tuple(packed), call.pixels)
        return finish(results, batch, cases, self.config.learner.world_size)

    def _reference(
        self, call: PackCall, item_id: str, case: Case, images: Sequence[np.ndarray]
    ) -> tuple[Pair, PackedPair]:
        """The reference as the chosen side of a pair that has no other."""
        pair = replace(_pair(call, item_id, case, GivenSide("")), relevance=1.0, editor="reference")
        prompt_ids, clean = self.codec.encode(case.question, *images)
        keys, _ = picture_keys(case, None)
        packed = pack_reference(self.codec, pair, prompt_ids, keys, context=self.facts.context)
        add_pictures(call.pixels, self.codec, keys, clean, None)
        return pair, packed

    def _given(
        self, call: PackCall, item_id: str, case: Case, images: Sequence[np.ndarray]
    ) -> tuple[Pair, PackedPair]:
        """The pair that the case consists of, with its own v' if it has one."""
        given = case.given
        if given is None:
            raise ItemError("no-pair", f"case {case.case_id} is not a preference pair")
        if not given.rejected.strip():
            raise ItemError("empty-rejected")
        if given.rejected == case.reference:
            raise ItemError("sides-are-equal")
        pair = _pair(call, item_id, case, given)
        contrast = self._contrast(case, given, images) if self.needs.corrupt else None
        if contrast is not None:
            pair = replace(
                pair,
                corrupted_sha256=contrast.sha256,
                region_source=contrast.region_source,
                corruption=contrast.kind,
            )
        prompt_ids, clean = self.codec.encode(case.question, *images)
        keys = picture_keys(case, contrast)
        packed = pack_given(self.codec, pair, prompt_ids, *keys, context=self.facts.context)
        add_pictures(call.pixels, self.codec, keys[0], clean, contrast)
        return pair, packed

    def _contrast(
        self, case: Case, given: GivenSide, images: Sequence[np.ndarray]
    ) -> Contrast | None:
        """v': the pair's own rejected image, else as the configuration says."""
        if given.rejected_image:
            view = self.codec.load_view(given.rejected_image).pixels
            size = images[0].shape[0], images[0].shape[1]  # the model sees both beside each other
            other = resized(view, size, self.codec.resample)
            first = Corrupted(other, GIVEN, GIVEN, pixels_sha256(other))
            return Contrast.of([first, *[None] * (len(images) - 1)])
        seed = item_seed(self.config.run.seed, case.case_id)
        how, resample = self.config.corruption, self.codec.resample
        return corrupt_views(images, case.regions, how, seed=seed, resample=resample)


def _pair(call: PackCall, item_id: str, case: Case, given: GivenSide) -> Pair:
    """Of the version that is trained: no policy answered. Equal weights if the file has none."""
    chosen_spans, rejected_spans = _spans(given.chosen_spans), _spans(given.rejected_spans)
    if not (chosen_spans and rejected_spans):
        chosen_spans, rejected_spans = differences(case.reference, given.rejected)
    return Pair(
        pair_id=item_id,
        item_id=item_id,
        case_id=case.case_id,
        policy_version=call.version,
        chosen=case.reference,
        rejected=given.rejected,
        chosen_spans=chosen_spans,
        rejected_spans=rejected_spans,
        response_was_correct=given.response_was_correct,
        relevance=1.0 if given.score is None else given.score,
        editor=f"{GIVEN} {case.source}".rstrip(),
    )


def _spans(ranges: Sequence[tuple[int, int]]) -> tuple[Span, ...]:
    return tuple(Span(start, end, GIVEN, 0.0, "") for start, end in ranges)
