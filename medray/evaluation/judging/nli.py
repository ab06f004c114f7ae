"""Comprehensiveness and hallucination as in the benchmark of DPO for medical VLMs.

The judge splits the reference into atomic facts, once for all answers to it, then says of each
fact whether the answer entails it. Of one answer, over the n facts whose label can be read:

    comprehensiveness = (entailed + ½ partially entailed) / n      hallucination = contradicted / n

Source: arXiv 2601.17918, evaluation/mmdpo_nli_pipeline of dmis-lab/med-vlm-dpo. There, a label in
other case counts as neutral, and an empty answer is left out; here it entails nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from medray.editing.llm.completion import Dialogue
from medray.errors import ItemError
from medray.evaluation.judging.judge import Judge
from medray.evaluation.judging.metric import Item, JudgedMetric, Judgement
from medray.evaluation.judging.replies import FactsReply, LabelsReply, fold
from medray.evaluation.sums import ratio

# Label → (entailed, contradicted)
LABELS = {
    "entailment": (1.0, 0.0),
    "partial entailment": (0.5, 0.0),
    "contradiction": (0.0, 1.0),
    "neutral": (0.0, 0.0),
}


def _facts(judge: Judge, question: str, reference: str) -> Dialogue[tuple[str, ...]]:
    inputs = {"question": question, "reference": reference}
    reply = yield from judge.ask("facts", inputs, FactsReply)
    return reply.facts


def _judge(judge: Judge, item: Item, facts: tuple[str, ...]) -> Dialogue[Judgement]:
    if not item.answer.strip():
        return _judgement(facts, ["neutral"] * len(facts))
    numbered = [{"number": number, "fact": fact} for number, fact in enumerate(facts, 1)]
    inputs = {"question": item.question, "answer": item.answer, "facts": numbered}
    reply = yield from judge.ask("entailment", inputs, LabelsReply)
    return _judgement(facts, read_labels(len(facts), reply))


def read_labels(count: int, reply: LabelsReply) -> list[str | None]:
    """The label of each of `count` facts; None if it has none, an unknown one, or several."""
    found: dict[int, set[str]] = {}
    for given in reply.labels:
        found.setdefault(given.fact, set()).add(fold(given.label))
    labels: list[str | None] = []
    for number in range(1, count + 1):
        known = found.get(number, set())
        (label,) = known if len(known) == 1 and known <= LABELS.keys() else (None,)
        labels.append(label)
    return labels


def _judgement(facts: Sequence[str], labels: Sequence[str | None]) -> Judgement:
    read = [LABELS[label] for label in labels if label is not None]
    if not read:
        raise ItemError("llm-malformed", "no label can be read")
    statistics = {
        "nli/comprehensiveness": sum(entailed for entailed, _ in read) / len(read),
        "nli/hallucination": sum(contradicted for _, contradicted in read) / len(read),
        "nli/answers": 1.0,
        "nli/facts": float(len(facts)),
        "nli/unreadable": float(len(facts) - len(read)),
    }
    pairs = [{"fact": fact, "label": label} for fact, label in zip(facts, labels, strict=True)]
    return Judgement(statistics, pairs)


NLI = JudgedMetric(
    name="nli",
    types=("open", "report"),
    figures=(
        ratio("nli.comprehensiveness", "nli/comprehensiveness", "nli/answers"),
        ratio("nli.hallucination", "nli/hallucination", "nli/answers"),
        ratio("nli.unreadable", "nli/unreadable", "nli/facts"),
    ),
    of_reference=_facts,
    of_answer=_judge,
)
