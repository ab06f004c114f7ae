"""Edits, relevance, visual contrast and packing: responses in, pairs and a batch out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from medray.config import Config, CorruptionConfig
from medray.editing import EDITORS, edit_fraction
from medray.editing import Editor as AnswerEditor
from medray.editing.llm import BatchEditor, EditTask, JudgedEdit
from medray.editing.llm.check import SHORT_ANSWER
from medray.editing.relevance import relevance
from medray.errors import ItemError
from medray.imaging.corruption import Corrupted, corrupt
from medray.imaging.load import load_image
from medray.objectives import needs_of
from medray.policy.model.chat import ChatCodec
from medray.policy.model.loading import model_facts
from medray.policy.packing import PackedBatch, PackedPair, pack_pair, pack_reference
from medray.policy.scoring.saliency import View
from medray.records import Case, Dropped, Pair, Region, Response
from medray.seeds import item_seed
from medray.targeting import EditContext, targeted_editor

MIN_PATIENT_ID = 4  # characters; a shorter patient id is a word or number of any text


@dataclass(slots=True)
class _EditCall:
    """One call of `edit`, with what several responses to a case share and is made once.

    pixels: of the pairs made, by the image's digest; prompts: (token ids, pixels) by case id;
    corrupted: v' by case id, regions and settings.
    """

    context: EditContext
    editor: AnswerEditor
    pixels: dict[str, np.ndarray] = field(default_factory=dict)
    prompts: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    corrupted: dict[tuple[str, tuple[Region, ...], CorruptionConfig], Corrupted | None] = field(
        default_factory=dict
    )


class Editor:
    """Turns responses into pairs. Keeps nothing between calls."""

    def __init__(self, config: Config, replica: int) -> None:
        self.config, self.replica = config, replica
        self.facts = model_facts(config.model)
        self.codec = ChatCodec(self.facts.path)
        self.editor = EDITORS[config.editor.kind](config.editor)
        self.needs = needs_of(config.objective)

    def __repr__(self) -> str:
        return f"Editor(replica={self.replica})"

    def load(self, cases: Sequence[Case]) -> tuple[list[str], *tuple[np.ndarray | None, ...]]:
        """(per case the reason why it cannot be used, or ""; then one image or None per case)."""
        reasons: list[str] = []
        images: list[np.ndarray | None] = []
        for case in cases:
            reason, image = "", None
            try:
                _check_text(case)
                read = load_image(case.image)
                self.codec.check_length(
                    case.question, read, self.config.generator.max_new_tokens, self.facts.context
                )
                image = read
            except ItemError as error:
                reason = error.reason
            reasons.append(reason)
            images.append(image)
        return (reasons, *images)

    def encode(
        self, questions: Sequence[str], *images: np.ndarray
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """(prompt ids [P], picture) of each question with its image."""
        return [self.codec.encode(q, i) for q, i in zip(questions, images, strict=True)]

    def encode_views(self, questions: Sequence[str], *images: np.ndarray) -> tuple[int, list[View]]:
        """The number of views, and the views: apart, because only learners read the latter."""
        encoded = self.encode(questions, *images)
        views = [
            View(prompt, picture, (image.shape[0], image.shape[1]), self.codec.pads)
            for (prompt, picture), image in zip(encoded, images, strict=True)
        ]
        return len(views), views

    def edit(
        self,
        context: EditContext,
        cases: Sequence[Case],
        responses: Sequence[Response],
        *images: np.ndarray,
    ) -> tuple[list[Pair | Dropped], PackedBatch]:
        """One pair or drop per response, and the batch of the pairs.

        cases and images match responses position by position. A response of an older policy than
        loop.max_lag allows is dropped as stale. Relevance is raw here: it is normalised over the
        step, and this call may be a part of it.
        """
        packed: list[PackedPair] = []
        results: list[Pair | Dropped] = []
        call = _EditCall(context, targeted_editor(self.editor, context.targets))
        judged = self._judge_ahead(context.version, cases, responses, images)
        for i, (case, response) in enumerate(zip(cases, responses, strict=True)):
            try:
                pair, arrays = self._make_pair(call, case, response, images[i], judged.get(i))
            except ItemError as error:
                version = response.policy_version
                dropped = Dropped(response.item_id, case.case_id, version, error.reason)
                results.append(dropped)
            else:
                packed.append(arrays)
                results.append(pair)
        return results, PackedBatch(tuple(packed), call.pixels)

    def _judge_ahead(
        self,
        version: int,
        cases: Sequence[Case],
        responses: Sequence[Response],
        images: Sequence[np.ndarray],
    ) -> dict[int, JudgedEdit | ItemError]:
        """By position, the edits of an editor that works on many answers at once, if it is one."""
        editor = self.editor
        if self.needs.chosen == "reference" or not isinstance(editor, BatchEditor):
            return {}
        tasks: dict[int, EditTask] = {}
        outcomes: dict[int, JudgedEdit | ItemError] = {}
        shown = self.config.editor.send_image
        for i, (case, response) in enumerate(zip(cases, responses, strict=True)):
            try:
                self._require_usable(version, response)
                _require_anonymous(case, response)
            except ItemError as error:
                outcomes[i] = error
            else:
                tasks[i] = EditTask(
                    case.question,
                    case.reference,
                    response.text,
                    item_seed(self.config.run.seed, case.case_id),
                    images[i] if shown else None,
                )
        made = editor.edit_many(list(tasks.values()))
        return outcomes | dict(zip(tasks, made, strict=True))

    def _require_fresh(self, version: int, response: Response) -> None:
        if version - response.policy_version > self.config.loop.max_lag:
            raise ItemError("stale")

    def _require_usable(self, version: int, response: Response) -> None:
        self._require_fresh(version, response)
        if not response.text.strip():
            raise ItemError("empty-answer")
        if not response.finished:
            raise ItemError("unfinished-answer")

    def _make_pair(
        self,
        call: _EditCall,
        case: Case,
        response: Response,
        image: np.ndarray,
        judged: JudgedEdit | ItemError | None,
    ) -> tuple[Pair, PackedPair]:
        if self.needs.chosen == "reference":
            self._require_fresh(call.context.version, response)
            return self._imitate(call, case, response, image)
        self._require_usable(call.context.version, response)
        if judged is None:
            seed = item_seed(self.config.run.seed, case.case_id)
            edit = call.editor.edit(case.question, case.reference, response.text, seed=seed)
            judged = JudgedEdit(edit)
        judged = self._accept(response.text, judged)
        corrupted = self._corrupted(call, case, response.item_id, judged, image)
        pair = _pair(case, response, judged, corrupted, call.editor)
        prompt_ids, clean = self._prompt(call, case, image)
        packed = pack_pair(
            self.codec,
            pair,
            response,
            prompt_ids,
            case.image_sha256,
            pair.corrupted_sha256,
            context=self.facts.context,
        )
        call.pixels.setdefault(case.image_sha256, clean)
        if corrupted is not None and corrupted.sha256 not in call.pixels:
            call.pixels[corrupted.sha256] = self.codec.pixels(corrupted.image)
        return pair, packed

    def _corrupted(
        self, call: _EditCall, case: Case, item_id: str, judged: JudgedEdit, image: np.ndarray
    ) -> Corrupted | None:
        """v' of an item, if the objective reads one."""
        if not self.needs.corrupt:
            return None
        how = call.context.targets.corruption(
            self.config.corruption,
            judged.edit.answer_spans,
            seed=item_seed(self.config.run.seed, item_id),
        )
        key = case.case_id, case.regions, how
        if key not in call.corrupted:
            seed = item_seed(self.config.run.seed, case.case_id)
            call.corrupted[key] = corrupt(image, case.regions, how, seed=seed)
        return call.corrupted[key]

    def _prompt(
        self, call: _EditCall, case: Case, image: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Token ids [P] of a case's prompt, and the pixels of its image."""
        if case.case_id not in call.prompts:
            call.prompts[case.case_id] = self.codec.encode(case.question, image)
        return call.prompts[case.case_id]

    def _imitate(
        self, call: _EditCall, case: Case, response: Response, image: np.ndarray
    ) -> tuple[Pair, PackedPair]:
        """The reference answer as the chosen side, whatever the response is."""
        pair = Pair(
            pair_id=response.item_id,
            case_id=case.case_id,
            policy_version=response.policy_version,
            chosen=case.reference,
            rejected=response.text,
            chosen_spans=(),
            rejected_spans=(),
            response_was_correct=False,
            relevance=1.0,
            editor="reference",
        )
        prompt_ids, clean = self._prompt(call, case, image)
        packed = pack_reference(
            self.codec, pair, response, prompt_ids, case.image_sha256, context=self.facts.context
        )
        call.pixels.setdefault(case.image_sha256, clean)
        return pair, packed

    def _accept(self, answer: str, judged: JudgedEdit | ItemError) -> JudgedEdit:
        if isinstance(judged, ItemError):
            raise judged
        edit = judged.edit
        if edit.verdict == "abstain":
            raise ItemError("abstained:" + edit.reason if edit.reason else "abstained")
        if edit.text == answer:
            raise ItemError("edit-changes-nothing")
        long = len(answer.split()) >= SHORT_ANSWER
        if long and edit_fraction(answer, edit.answer_spans) > self.config.editor.max_edit_fraction:
            raise ItemError("edit-too-large")
        return judged


def _pair(
    case: Case,
    response: Response,
    judged: JudgedEdit,
    corrupted: Corrupted | None,
    editor: AnswerEditor,
) -> Pair:
    edit, score = judged.edit, judged.relevance
    right = edit.verdict == "right"
    chosen, rejected = (response.text, edit.text) if right else (edit.text, response.text)
    spans = edit.answer_spans, edit.text_spans
    return Pair(
        pair_id=response.item_id,
        case_id=case.case_id,
        policy_version=response.policy_version,
        chosen=chosen,
        rejected=rejected,
        chosen_spans=spans[0 if right else 1],
        rejected_spans=spans[1 if right else 0],
        response_was_correct=right,
        relevance=relevance(edit) if score is None else score,
        editor=f"{editor.name}/{editor.version} {judged.note}".rstrip(),
        corrupted_sha256=corrupted.sha256 if corrupted else "",
        region_source=corrupted.region_source if corrupted else "",
        corruption=corrupted.kind if corrupted else "",
    )


def _check_text(case: Case) -> None:
    """Refuse a case that cannot be used, before its image is read."""
    if not case.reference.strip():
        raise ItemError("empty-reference")
    if not case.question.strip():
        raise ItemError("empty-question")


def _require_anonymous(case: Case, response: Response) -> None:
    """Refuse to send a text that names the case's patient to an endpoint."""
    patient = case.patient_id.strip()
    if len(patient) < MIN_PATIENT_ID:
        return
    text = "\n".join((case.question, case.reference, response.text))
    if re.search(rf"(?<!\w){re.escape(patient)}(?!\w)", text, re.IGNORECASE):
        raise ItemError("llm-identifier", "the texts hold the patient's id")
