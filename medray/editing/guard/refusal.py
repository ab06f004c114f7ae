"""One sentence and its other side, read again as a stranger's: sure, or refused with a reason."""

from __future__ import annotations

import re
from dataclasses import dataclass

from medray.editing.clauses import dependent, is_general
from medray.editing.guard import coherence, grammar, truth
from medray.editing.reading.facts import Facts, facts
from medray.editing.reading.judge import Judgement, judge
from medray.records import EditedSentence, VerdictName

REASONS = {
    "nothing-left": "the edit leaves no words",
    "general-statement": "the sentence speaks of no image: a definition, a rule, a condition",
    "grammar": "an article, a number, a case or a negation is wrong",
    "repeats": "a phrase or a sentence is said twice",
    "residual-explanation": "a clause still explains or argues for what was removed",
    "residual-claim": "what was removed is still asserted",
    "contradicts-itself": "the sentence asserts and denies one thing",
    "contradicts-prefix": "the sentence contradicts what the answer said before it",
    "style-lost": "a sentence was replaced by a bare phrase",
    "chosen-wrong": "the chosen sentence contradicts the reference",
    "chosen-unconfirmed": "the reference does not confirm what was corrected",
    "unconfirmed-finding": "the chosen sentence asserts a finding that the reference does not",
    "rejected-not-wrong": "the rejected sentence does not contradict the reference",
}
_VERB = re.compile(
    r"\b(?:is|are|was|were|be|has|have|had|show|shows|appears?|demonstrates?|reveals?|contains?|"
    r"includes?|depicts?|displays?|indicates?|suggests?|belongs?|represents?|seems?|looks?|remains?|"
    r"can|could|does|do|did|measures?|lies|extends?|involves?|uses?|used|seen|noted|provides?|\w+ed)\b",
    re.IGNORECASE,
)
_SEVERAL = re.compile(
    r"\b(?:describe|findings|abnormalities|diseases|pathologies|diagnoses|report|what\s+do\s+you\s+"
    r"see|lesions|organs)\b",
    re.IGNORECASE,
)
_PRONOUN_VERB = re.compile(r"\b(?:i|we|you)\s+\w+", re.IGNORECASE)
_SENTENCE_WORDS = 6  # from here on, an answer without a verb is a loss of style


@dataclass(frozen=True, slots=True)
class Proposal:
    """An edited sentence before it is a pair. `prefix` is the answer before it, `sentence` as it
    was sampled, `edited` its other side.

    `verdict` "wrong": the edited text would be chosen; "right": it would be rejected.
    """

    known: Facts
    prefix: str
    sentence: str
    edited: EditedSentence
    verdict: VerdictName


def refusal(proposal: Proposal, before: Judgement | None = None) -> str:
    """Why the pair is not sure, in kebab-case (see REASONS); "" if it is.

    `before` is the judgement of prefix and sampled sentence, if the caller has it.
    """
    text, sentence, prefix = proposal.edited.text, proposal.sentence, proposal.prefix
    if not re.search(r"\w", text) or text == sentence:
        return "nothing-left"
    if is_general(sentence, first=proposal.edited.sentence == 0):
        return "general-statement"
    if grammar.flaw(text, sentence):
        return "grammar"
    if coherence.repeats(prefix, text, sentence):
        return "repeats"
    if _style_lost(sentence, text):
        return "style-lost"
    if _residual_explanation(proposal):
        return "residual-explanation"
    if truth.against_its_word(text, proposal.known):
        return "contradicts-itself"
    before = before or judge(prefix + sentence, proposal.known)
    after = judge(prefix + text, proposal.known)
    if coherence.contradicts_itself(text, after.answer, before.answer):
        return "contradicts-itself"
    check = _of_chosen if proposal.verdict == "wrong" else _of_rejected
    if reason := check(proposal.known, len(prefix), before, after):
        return reason
    return "contradicts-prefix" if _against_prefix(proposal) else ""


def _of_chosen(known: Facts, start: int, before: Judgement, after: Judgement) -> str:
    resolved = truth.conflicts_in(before, start)
    if not resolved:
        return "rejected-not-wrong"
    if truth.conflicts_in(after, start):
        return "chosen-wrong"
    said = truth.repeats_reference(known, after.answer.text[start:])
    if not said and not truth.confirms(truth.agreements_in(after, start), resolved):
        return "chosen-unconfirmed"
    if truth.still_said(truth.wrong_values(resolved), after.answer, start):
        return "residual-claim"
    if truth.unconfirmed_finding(after, start, known):
        return "unconfirmed-finding"
    return ""


def _of_rejected(known: Facts, start: int, before: Judgement, after: Judgement) -> str:
    if truth.conflicts_in(before, start):
        return "chosen-wrong"
    if not truth.agreements_in(before, start):
        return "chosen-unconfirmed"
    if truth.unconfirmed_finding(before, start, known):
        return "unconfirmed-finding"
    if not truth.conflicts_in(after, start):
        return "rejected-not-wrong"
    return ""


def _residual_explanation(proposal: Proposal) -> bool:
    """Whether a clause behind a change leans on what the change removed."""
    edited = proposal.edited
    stops = [*(span.start for span in edited.text_spans[1:]), len(edited.text)]
    return any(
        (found := dependent(
            edited.text,
            new.end,
            len(edited.text),
            old.error_type,
            proposal.sentence[old.start : old.end],
            edited.text[new.start : new.end],
        ))
        is not None and found[0] < stop
        for old, new, stop in zip(edited.answer_spans, edited.text_spans, stops, strict=True)
    )


def _style_lost(sentence: str, text: str) -> bool:
    if len(sentence.split()) < _SENTENCE_WORDS or not _VERB.search(sentence):
        return False
    return not _VERB.search(text) and not _PRONOUN_VERB.search(text)


def _against_prefix(proposal: Proposal) -> bool:
    """Whether the edited sentence contradicts the answer's own words before it."""
    if not re.search(r"\w", proposal.prefix):
        return False
    said = facts(proposal.known.question, proposal.prefix)
    if proposal.known.word is not None and said.word is not None:
        wrong_word = said.word != proposal.known.word
        if wrong_word and proposal.verdict == "wrong":
            return True
    judgement = judge(proposal.edited.text, said)
    several = _SEVERAL.search(proposal.known.question) is not None or (
        "?" not in proposal.known.question
    )
    return any(
        not c.agrees and not (several and c.attribute in ("kind", "presupposed"))
        for c in judgement.comparisons
    )
