"""From an edited answer to its pairs: sides, relevance, visual contrast, tokens.

An answer of several sentences gives a pair per sentence whose other side is sure: both sides stand
behind the answer's own beginning, and nothing stands behind them. An answer of one sentence gives a
pair of complete answers, and so does any answer with `editor.scope: answer`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from actors.editor.pictures import add_pictures, picture_keys
from medray.config import Config, CorruptionConfig
from medray.editing import Editor, edit_fraction
from medray.editing.alignment import decode
from medray.editing.llm import JudgedEdit
from medray.editing.llm.check import SHORT_ANSWER
from medray.editing.relevance import score_relevance
from medray.errors import ItemError
from medray.imaging.corruption import Contrast
from medray.imaging.view import corrupt_views
from medray.localising import edited_regions, joint_relevance
from medray.objectives import Needs
from medray.policy.model.chat import ChatCodec
from medray.policy.model.loading import ModelFacts
from medray.policy.packing import PackedPair, pack_pair, pack_sentence
from medray.policy.picture import Picture
from medray.records import Case, Continuation, Edit, EditedSentence, Pair, Region, Response
from medray.seeds import item_seed
from medray.targeting import EditContext


@dataclass(slots=True)
class EditCall:
    """One call of the editor's actor, with what several responses to a case share and is made once.

    pixels: of the pairs made, by the image's digest; prompts: (token ids, pictures) by case id;
    contrasts: v' by case id, regions and settings.
    """

    context: EditContext
    editor: Editor
    pixels: dict[str, Picture] = field(default_factory=dict)
    prompts: dict[str, tuple[np.ndarray, tuple[Picture, ...]]] = field(default_factory=dict)
    contrasts: dict[tuple[str, tuple[Region, ...], CorruptionConfig], Contrast | None] = field(
        default_factory=dict
    )


@dataclass(frozen=True, slots=True)
class MadePairs:
    """The pairs of one response, the same as arrays, and whether the answer is to go on."""

    pairs: list[Pair]
    packed: list[PackedPair]
    continuation: Continuation | None = None


class PairMaker:
    """Makes the pairs of judged responses. Every method raises ItemError if there is none."""

    def __init__(self, config: Config, facts: ModelFacts, codec: ChatCodec, needs: Needs) -> None:
        self.config, self.facts, self.codec, self.needs = config, facts, codec, needs

    def make(
        self,
        call: EditCall,
        case: Case,
        response: Response,
        images: Sequence[np.ndarray],
        judged: JudgedEdit,
    ) -> MadePairs:
        """The pairs of one response: of its sentences, or of the answer. images: of its case."""
        edit = judged.edit
        if edit.verdict == "abstain":
            raise ItemError("abstained:" + edit.reason if edit.reason else "abstained")
        if edit.refusal:
            raise ItemError("abstained:" + edit.refusal)
        complete = not response.given and _is_one_sentence(response.text, edit)
        if self.config.editor.scope == "answer" or complete:
            if not response.finished:
                raise ItemError("unfinished-answer")
            if not edit.text:
                raise ItemError("abstained:only-sentences")
            made = self._make_one(call, case, response, images, judged, None)
            return MadePairs([made[0]], [made[1]])
        pairs, packed, failed = [], [], ItemError("abstained:no-sentence")
        for sentence in self._selected(response, edit):
            try:
                pair, arrays = self._make_one(call, case, response, images, judged, sentence)
            except ItemError as error:
                failed = error
            else:
                pairs.append(pair)
                packed.append(arrays)
        if not pairs:
            raise failed
        return MadePairs(pairs, packed, self._continuation(response, edit, packed[0]))

    def _selected(self, response: Response, edit: Edit) -> list[EditedSentence]:
        """The sentences that become pairs, of those that were sampled; one of a right answer."""
        given = len(decode(self.codec.tokenizer, response.token_ids[: response.given]))
        sampled = [sentence for sentence in edit.sentences if sentence.start >= given]
        if self.config.editor.continue_ and edit.verdict == "wrong":
            return sorted(sampled, key=lambda sentence: sentence.start)[:1]
        return sampled[: 1 if edit.verdict == "right" else self.config.editor.pairs_per_answer]

    def _continuation(
        self, response: Response, edit: Edit, first: PackedPair
    ) -> Continuation | None:
        """The answer so far with its first wrong sentence corrected, unless it ends there."""
        if not self.config.editor.continue_ or edit.verdict != "wrong":
            return None
        ends_there = len(first.prefix_ids) + len(first.rejected.ids) + response.finished
        prefix_ids = (*first.prefix_ids.tolist(), *first.chosen.ids.tolist())
        full = len(prefix_ids) >= self.config.generator.max_new_tokens
        if full or ends_there >= len(response.token_ids):
            return None
        return Continuation(response.item_id, prefix_ids)

    def _with_relevance(self, case: Case, text: str, judged: JudgedEdit) -> JudgedEdit:
        """The edit of `text` with a relevance: of judges if they gave one, else by the rules."""
        if judged.relevance is not None:
            return judged
        scale = self.config.editor.relevance
        score, note = score_relevance(scale, case.question, text, judged.edit)
        return replace(judged, relevance=score, note=f"{judged.note} {note}".strip())

    def _make_one(
        self,
        call: EditCall,
        case: Case,
        response: Response,
        images: Sequence[np.ndarray],
        judged: JudgedEdit,
        sentence: EditedSentence | None,
    ) -> tuple[Pair, PackedPair]:
        """The pair of one sentence, or of the answer if `sentence` is None."""
        text = response.text
        if sentence is not None:
            text, edit = text[sentence.start : sentence.end], _edit_of(sentence, judged.edit)
            judged = replace(judged, edit=edit)
        self._require_small_change(text, judged.edit)
        judged = self._with_relevance(case, text, judged)
        contrast = self._contrast(call, case, response.item_id, text, judged.edit, images)
        pair = _pair(case, response, text, judged, contrast, call.editor)
        prompt_ids, clean = self._prompt(call, case, images)
        keys = picture_keys(case, contrast)
        context = self.facts.context
        if sentence is None:
            packed = pack_pair(self.codec, pair, response, prompt_ids, *keys, context=context)
        else:
            pair = _sentence_pair(pair, response, sentence)
            packed = pack_sentence(
                self.codec, pair, response, sentence.start, prompt_ids, *keys, context=context
            )
        add_pictures(call.pixels, self.codec, keys[0], clean, contrast)
        return pair, packed

    def _contrast(
        self,
        call: EditCall,
        case: Case,
        item_id: str,
        text: str,
        edit: Edit,
        images: Sequence[np.ndarray],
    ) -> Contrast | None:
        """v' of a pair of `text` and the other side of its edit, if the objective reads one."""
        if not self.needs.corrupt:
            return None
        how = call.context.targets.corruption(
            self.config.corruption, edit.answer_spans, seed=item_seed(self.config.run.seed, item_id)
        )
        sides = (text, edit.answer_spans), (edit.text, edit.text_spans)
        regions = edited_regions(case.regions, case.question, sides)
        key = case.case_id, regions, how
        if key not in call.contrasts:
            seed = item_seed(self.config.run.seed, case.case_id)
            call.contrasts[key] = corrupt_views(
                images, regions, how, seed=seed, resample=self.codec.resample
            )
        return call.contrasts[key]

    def _prompt(
        self, call: EditCall, case: Case, images: Sequence[np.ndarray]
    ) -> tuple[np.ndarray, tuple[Picture, ...]]:
        """Token ids [P] of a case's prompt, and the pictures of its images."""
        if case.case_id not in call.prompts:
            call.prompts[case.case_id] = self.codec.encode(case.question, *images)
        return call.prompts[case.case_id]

    def _require_small_change(self, text: str, edit: Edit) -> None:
        if edit.text == text:
            raise ItemError("edit-changes-nothing")
        long = len(text.split()) >= SHORT_ANSWER
        if long and edit_fraction(text, edit.answer_spans) > self.config.editor.max_edit_fraction:
            raise ItemError("edit-too-large")


def _is_one_sentence(text: str, edit: Edit) -> bool:
    """Whether the edited sentence is all of the answer, or the editor does not know sentences."""
    if not edit.sentences:
        return True
    first = edit.sentences[0]
    return not (text[: first.start] + text[first.end :]).strip()


def _edit_of(sentence: EditedSentence, edit: Edit) -> Edit:
    spans = sentence.answer_spans, sentence.text_spans
    return Edit(edit.verdict, sentence.text, *spans, sentence.reason or edit.reason)


def _sentence_pair(pair: Pair, response: Response, sentence: EditedSentence) -> Pair:
    """`pair` as one of a sentence, under an id of its own: a continued answer is split anew."""
    round_ = f"-{response.given}" if response.given else ""
    return replace(
        pair,
        pair_id=f"{response.item_id}.{sentence.sentence}{round_}",
        scope="sentence",
        sentence=sentence.sentence,
        prefix=response.text[: sentence.start],
    )


def _pair(
    case: Case,
    response: Response,
    text: str,
    judged: JudgedEdit,
    contrast: Contrast | None,
    editor: Editor,
) -> Pair:
    """The pair of `text`, the answer or a sentence of it, with the other side of its edit."""
    edit = judged.edit
    right = edit.verdict == "right"
    chosen, rejected = (text, edit.text) if right else (edit.text, text)
    spans = edit.answer_spans, edit.text_spans
    return Pair(
        pair_id=response.item_id,
        item_id=response.item_id,
        case_id=case.case_id,
        policy_version=response.policy_version,
        chosen=chosen,
        rejected=rejected,
        chosen_spans=spans[0 if right else 1],
        rejected_spans=spans[1 if right else 0],
        response_was_correct=right,
        relevance=joint_relevance(judged.relevance or 0.0, contrast.score if contrast else None),
        editor=f"{editor.name}/{editor.version} {judged.note}".rstrip(),
        corrupted_sha256=contrast.sha256 if contrast else "",
        region_source=contrast.region_source if contrast else "",
        corruption=contrast.kind if contrast else "",
    )
