"""The editor's actor: responses in, pairs and a batch out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from actors.editor.batches import finish
from actors.editor.encoder import Encoder, reason_of
from actors.editor.pair_maker import EditCall, MadePairs, PairMaker
from medray.config import Config
from medray.data.stream import by_case
from medray.editing import EDITORS
from medray.editing.llm import BatchEditor, EditTask, JudgedEdit
from medray.editing.llm.completion import Completer
from medray.editing.sentences import split
from medray.errors import ItemError
from medray.policy.packing import PackedBatch, PackedPair
from medray.records import Case, Continuation, Dropped, EditResults, Pair, Response
from medray.seeds import item_seed
from medray.targeting import EditContext, targeted_editor


class Editor(Encoder):
    """Turns responses into pairs."""

    def __init__(self, config: Config, replica: int, served: Completer | None = None) -> None:
        """`served`: the language models of this run, if it serves some."""
        super().__init__(config, replica)
        self.served = served
        self.editor = EDITORS[config.editor.kind](config.editor, served)
        self.pair_maker = PairMaker(config, self.facts, self.codec, self.needs)

    def reset(self, config: Config) -> None:
        """Begin another run, with that run's settings and the same language models."""
        self.__init__(config, self.replica, self.served)  # type: ignore[misc]

    def edit(
        self,
        context: EditContext,
        cases: Sequence[Case],
        responses: Sequence[Response],
        *images: np.ndarray,
    ) -> tuple[EditResults, *tuple[PackedBatch, ...]]:
        """Pairs or a drop per response, which may also have to be continued; the pairs' batches.

        cases match responses position by position, and images are those of one case after the
        other. A response of an older policy than
        loop.max_lag allows is dropped as stale. A continued answer has pairs already, so it may
        give none and is never dropped. Relevance is raw here: it is normalised over the step, and
        this call may be a part of it.
        """
        packed: list[PackedPair] = []
        results: list[Pair | Dropped | Continuation] = []
        call = EditCall(context, targeted_editor(self.editor, context.targets))
        shown = by_case(cases, images)
        judged = self._judge_ahead(context.version, cases, responses, shown)
        for i, (case, response) in enumerate(zip(cases, responses, strict=True)):
            try:
                made = self._make(call, case, response, shown[i], judged.get(i))
            except (ItemError, MemoryError) as error:
                reason = reason_of(error)
                version = response.policy_version
                if not response.given:
                    dropped = Dropped(response.item_id, case.case_id, version, reason)
                    results.append(dropped)
                continue
            results += made.pairs
            packed += made.packed
            if made.continuation is not None:
                results.append(made.continuation)
        batch = PackedBatch(tuple(packed), call.pixels)
        return finish(results, batch, cases, self.config.learner.world_size)

    def _judge_ahead(
        self,
        version: int,
        cases: Sequence[Case],
        responses: Sequence[Response],
        images: Sequence[Sequence[np.ndarray]],
    ) -> dict[int, JudgedEdit | ItemError]:
        """By position, the edits of an editor that works on many answers at once, if it is one."""
        editor = self.editor
        if not isinstance(editor, BatchEditor):
            return {}
        tasks: dict[int, EditTask] = {}
        outcomes: dict[int, JudgedEdit | ItemError] = {}
        sent = self.config.editor.send_image
        for i, (case, response) in enumerate(zip(cases, responses, strict=True)):
            try:
                text = self._usable_text(version, response)
            except ItemError as error:
                outcomes[i] = error
            else:
                tasks[i] = EditTask(
                    case.question,
                    case.reference,
                    text,
                    item_seed(self.config.run.seed, case.case_id),
                    tuple(images[i]) if sent else (),
                    case.patient_id,
                )
        made = editor.edit_many(list(tasks.values()))
        return outcomes | dict(zip(tasks, made, strict=True))

    def _require_fresh(self, version: int, response: Response) -> None:
        loop = self.config.loop  # answers of a block are meant to be old
        if loop.resample_every == 1 and version - response.policy_version > loop.max_lag:
            raise ItemError("stale")

    def _usable_text(self, version: int, response: Response) -> str:
        """What of a response is judged: all, or of one that was cut short, the sentences before
        the last, if pairs are of sentences."""
        self._require_fresh(version, response)
        if not response.text.strip():
            raise ItemError("empty-answer")
        if response.finished:
            return response.text
        if self.config.editor.scope == "answer" or len(sentences := split(response.text)) < 2:
            raise ItemError("unfinished-answer")
        return response.text[: sentences[-2].end]

    def _make(
        self,
        call: EditCall,
        case: Case,
        response: Response,
        images: Sequence[np.ndarray],
        judged: JudgedEdit | ItemError | None,
    ) -> MadePairs:
        text = self._usable_text(call.context.version, response)
        if judged is None:
            seed = item_seed(self.config.run.seed, case.case_id)
            edit = call.editor.edit(case.question, case.reference, text, seed=seed)
            judged = JudgedEdit(edit)
        if isinstance(judged, ItemError):
            raise judged
        return self.pair_maker.make(call, case, response, images, judged)
