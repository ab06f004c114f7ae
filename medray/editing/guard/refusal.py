"""One sentence and its other side, read again as a stranger's: sure, or refused with a reason."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from medray.editing.clauses import dependent, is_general
from medray.editing.guard import coherence, grammar, leftovers, qualifiers, single_answer, truth
from medray.editing.guard.style import SMALL, style_lost
from medray.editing.guard.unknown import (
    denies_asserted,
    denies_less,
    loses_confirmed,
    only_beside,
    says_more,
)
from medray.editing.guard.unsaid import first_unsaid
from medray.editing.language.grammar import content
from medray.editing.language.negation import n_negations
from medray.editing.lists import list_left
from medray.editing.ontology.lexicon import phrase_words
from medray.editing.reading.claims import ParsedText
from medray.editing.reading.compare import Comparison
from medray.editing.reading.facts import Facts, facts
from medray.editing.reading.judge import Judgement, judge
from medray.records import EditedSentence, VerdictName

REASONS = {
    "nothing-left": "the edit leaves no words",
    "general-statement": "the sentence speaks of no image: a definition, a rule, a condition",
    "grammar": "an article, a number, a case or a negation is wrong",
    "repeats": "a phrase or a sentence is said twice",
    "speaks-of-task": "the answer speaks about its task, not about the image",
    "contrast-left": "a 'but' contrasts with what the edit turned into its opposite",
    "unconfirmed-change": "the chosen sentence tells of a change that the reference does not",
    "right-part-lost": "a clause that the reference confirms was cut",
    "residual-explanation": "a clause still explains or argues for what was removed",
    "residual-claim": "what was removed is still asserted",
    "contradicts-itself": "the sentence asserts and denies one thing",
    "echo-edited": "the words that repeat an open question were changed",
    "leans-on-prefix": "the sentence takes up what the answer said wrongly before it",
    "contradicts-prefix": "the sentence contradicts what the answer said before it",
    "style-lost": "a sentence was replaced by a bare phrase",
    "chosen-wrong": "the chosen sentence contradicts the reference",
    "chosen-unconfirmed": "the reference does not confirm what was corrected",
    "unconfirmed-finding": "the chosen sentence asserts a finding that the reference does not",
    "unsaid": "beside its correction, the sentence says what neither question nor reference does",
    "rejected-not-wrong": "the rejected sentence does not contradict the reference",
}
_SEVERAL = re.compile(
    r"\b(?:describe|findings|abnormalities|diseases|pathologies|diagnoses|report|what\s+do\s+you\s+"
    r"see|lesions|organs)\b",
    re.IGNORECASE,
)
_LEANS = re.compile(
    r"\W*(?:this|these|those|such|it|they|its|their|therefore|thus|hence|so|as\s+a\s+result|"
    r"consequently|in\s+this\s+case|in\s+that\s+case|however|instead|(?:consistent|compatible)\s+"
    r"with|(?:the\s+)?(?:above\s+|described\s+)?(?:findings|changes|appearances?)\s+(?:are|is|suggest|"
    r"indicate|represent|may|could|likely|consistent|compatible|most))\b",
    re.IGNORECASE,
)
_WEAK = re.compile(r"\bnot\s+(?:clearly|definitely|necessarily|entirely|fully|only)\b", re.I)
_WHICH = re.compile(r"[,;]\s+(?:which|obscuring|causing|silhouetting)\b", re.IGNORECASE)
_ANSWERS = frozenset({"presence", "presupposed", "opposite", "echo"})  # to a closed question
_NORMAL_SIDE = re.compile(
    r"\b(left|right)\s+[^.,;]*?\b(?:clear|normal\w*|unremarkable|intact|homogeneous|healthy)\b",
    re.I,
)
_ANEW = 4  # words of one attribute: "3.2 x 2.8 cm"


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
    if leftovers.speaks_of_task(prefix + sentence):
        return "speaks-of-task"
    if is_general(sentence, first=proposal.edited.sentence == 0):
        return "general-statement"
    if proposal.verdict == "wrong" and prefix.strip() and _LEANS.match(sentence):
        return "leans-on-prefix"
    if _echo_edited(proposal):
        return "echo-edited"
    if grammar.flaw(text, sentence) or leftovers.describes_denied(text, sentence):
        return "grammar"
    if leftovers.contrasts(sentence, proposal.edited):
        return "contrast-left"
    if coherence.repeats(prefix, text, sentence):
        return "repeats"
    if reason := _details(proposal):
        return reason
    if style_lost(sentence, proposal.edited, proposal.verdict, behind=bool(prefix.strip())):
        return "style-lost"
    if _residual_explanation(proposal):
        return "residual-explanation"
    if truth.against_its_word(text, proposal.known):
        return "contradicts-itself"
    before = before or judge(prefix + sentence, proposal.known)
    after = judge(prefix + text, proposal.known)
    if coherence.contradicts_itself(text, after.answer, before.answer):
        return "contradicts-itself"
    if truth.named_again(after.answer, before.answer, len(prefix)):
        return "repeats"
    if proposal.verdict == "wrong" and truth.located_otherwise(after.answer, len(prefix)):
        return "contradicts-prefix"
    check = _of_chosen if proposal.verdict == "wrong" else _of_rejected
    if reason := check(proposal.known, len(prefix), before, after, proposal.edited):
        return reason
    if _against_prefix(proposal):
        return "contradicts-prefix"
    return "unsaid" if _says_more(proposal) else ""


def _says_more(proposal: Proposal) -> bool:
    """Whether the chosen side says more than the question and the reference."""
    edited, known = proposal.edited, proposal.known
    if proposal.verdict == "right":
        return first_unsaid(known, proposal.sentence, ()) is not None
    return first_unsaid(known, edited.text, edited.text_spans) is not None


def _details(proposal: Proposal) -> str:
    """Why details that the rules do not compare make the pair unsure; "" if they do not."""
    text, sentence, known = proposal.edited.text, proposal.sentence, proposal.known
    reference, wrong = known.reference.text, proposal.verdict == "wrong"
    chosen = text if wrong else sentence
    if leftovers.changed_since(chosen, reference):
        return "unconfirmed-change"
    if qualifiers.other_qualifier(chosen, reference):
        return "chosen-unconfirmed"
    cleared = wrong and leftovers.clear_left(sentence, text)
    if cleared or leftovers.measures_turned(sentence, proposal.edited, reference):
        return "residual-explanation"
    if leftovers.praises_turned(sentence, text):
        return "contradicts-itself"
    if not wrong:
        return ""
    if single_answer.takes_up(known, proposal.prefix, proposal.edited):
        return "contradicts-prefix"
    unstated = single_answer.unstated(known, sentence, proposal.edited)
    if unstated or leftovers.is_a_part(known.question, text):
        return "chosen-unconfirmed"
    other = qualifiers.changes_subject(sentence, text, reference)
    if other or leftovers.loses_article(sentence, text):
        return "style-lost"
    sided = any(span.error_type == "side" for span in proposal.edited.text_spans)
    borrowed = sided and qualifiers.borrowed_side(text, reference)
    if borrowed or qualifiers.names_nothing(text, sentence, f"{known.question} {reference}"):
        return "chosen-unconfirmed"
    lost = truth.cuts_what_is_right(known, sentence, text) or loses_confirmed(known, sentence, text)
    lost = lost or truth.loses_region(known, sentence, text)
    return "right-part-lost" if lost else ""


def _of_chosen(
    known: Facts, start: int, before: Judgement, after: Judgement, edited: EditedSentence
) -> str:
    resolved = truth.conflicts_in(before, start)
    if not resolved or denies_less(resolved, before.answer.text[start:]):
        return "rejected-not-wrong"
    if known.report and _says_anew(resolved, edited):
        return "style-lost"
    if truth.conflicts_in(after, start) or truth.other_word(edited.text, known):
        return "chosen-wrong"
    if truth.states_otherwise(known, after.answer, start):
        return "chosen-wrong"
    if truth.guessed(known, edited) or truth.other_modifier(known, after.answer, start):
        return "chosen-unconfirmed"
    agreed = truth.agreements_in(after, start)
    verbatim = truth.repeats_reference(known, after.answer.text[start:])
    verbatim = verbatim or truth.turned(resolved, known, edited)
    if not verbatim and _unsure(known, after.answer, start, [*agreed, *resolved]):
        return "chosen-unconfirmed"
    if not verbatim and not truth.confirms(agreed, resolved):
        return "chosen-unconfirmed"
    if any(
        edited.text[max(0, s.start - 1) : s.end + 1].startswith("(")
        and s.start
        and edited.text[s.end : s.end + 1] == ")"
        for s in edited.text_spans
    ):
        return "residual-claim"  # what the bracket abbreviated stays before it
    if truth.still_said(truth.wrong_values(resolved), after.answer, start):
        return "residual-claim"
    if truth.unconfirmed_finding(after, start, known):
        return "unconfirmed-finding"
    if _list_left(start, after, edited):
        return "unconfirmed-finding"
    return ""


def _says_anew(resolved: Sequence[Comparison], edited: EditedSentence) -> bool:
    """Whether a sentence with a wrong side or size gave way to another one altogether."""
    if not all(truth.is_attribute(c) for c in resolved):
        return False
    new = sum(len(edited.text[span.start : span.end].split()) for span in edited.text_spans)
    return new > max(_ANEW, 2 * len(resolved))


def _unsure(known: Facts, chosen: ParsedText, start: int, based: Sequence[Comparison]) -> bool:
    """Whether a chosen sentence asserts or denies more than the reference's own words do."""
    text = chosen.text[start:]
    agreed = [c for c in based if c.agrees]
    if says_more(known, chosen, start) or denies_asserted(known, chosen, start, agreed):
        return True
    if denies_less(based, text):
        return True
    reference = known.reference.text
    other = not n_negations(text) and (
        qualifiers.borrowed_side(text, reference) or qualifiers.other_degree(text, reference)
    )
    return known.report and (other or only_beside(agreed))


def _list_left(start: int, after: Judgement, edited: EditedSentence) -> bool:
    """Whether a finding was put into a list whose other items nobody confirms."""
    agreed = [truth.position(c, after.answer) for c in truth.agreements_in(after, start)]
    for new in edited.text_spans:
        left = list_left(edited.text, new.start, new.end) if new.error_type == "kind" else None
        if left is not None and not any(
            place is not None and left[0] <= place - start < left[1] for place in agreed
        ):
            return True
    return False


def _of_rejected(
    known: Facts, start: int, before: Judgement, after: Judgement, edited: EditedSentence
) -> str:
    denies = single_answer.denies_asked(known, before.answer.text[start:])
    if denies or truth.conflicts_in(before, start):
        return "chosen-wrong"
    if truth.states_otherwise(known, before.answer, start):
        return "chosen-wrong"
    agreed = truth.agreements_in(before, start)
    if not agreed or truth.other_modifier(known, before.answer, start):
        return "chosen-unconfirmed"
    if _unsure(known, before.answer, start, agreed):
        return "chosen-unconfirmed"
    if truth.unconfirmed_finding(before, start, known):
        return "unconfirmed-finding"
    if not truth.conflicts_in(after, start) or _WEAK.search(after.answer.text[start:]):
        return "rejected-not-wrong"
    return ""


def _residual_explanation(proposal: Proposal) -> bool:
    """Whether a clause behind a change leans on what the change removed, or was itself changed to
    fit: "in the right lobe, which obscures the right heart border"."""
    edited = proposal.edited
    sides = ((edited.text, edited.text_spans), (proposal.sentence, edited.answer_spans))
    placed = [[s for s in spans if s.error_type in ("side", "zone")] for _, spans in sides]
    if placed[0] and all(
        _WHICH.search(text, spans[0].start, spans[-1].end)
        for (text, _), spans in zip(sides, placed, strict=True)
    ):
        return True
    stops = [*(span.start for span in edited.text_spans[1:]), len(edited.text)]
    return any(
        (
            found := dependent(
                edited.text,
                new.end,
                len(edited.text),
                old.error_type,
                proposal.sentence[old.start : old.end],
                edited.text[new.start : new.end],
                proposal.known.question,
            )
        )
        is not None
        and found[0] < stop
        for old, new, stop in zip(edited.answer_spans, edited.text_spans, stops, strict=True)
    )


def _echo_edited(proposal: Proposal) -> bool:
    """Whether words that repeat an open question, and choose none of its options, were changed."""
    question = proposal.known.question
    if proposal.known.word is not None or re.search(r"\bor\b|/|^\W*how\b", question, re.I):
        return False
    words = set(phrase_words(question))
    edited = proposal.edited
    for old, new in zip(edited.answer_spans, edited.text_spans, strict=True):
        before = truth.words_at(proposal.sentence, old.start, old.end)
        after = truth.words_at(edited.text, new.start, new.end)
        removed, added = set(phrase_words(before)), set(phrase_words(after))
        if content(before) == content(after):
            continue  # only the grammar changes
        named = removed - SMALL
        if named and named <= words and added - removed:
            return True
    return False


def _against_prefix(proposal: Proposal) -> bool:
    """Whether the edited sentence contradicts the answer's own words before it."""
    if not re.search(r"\w", proposal.prefix):
        return False
    claimed = facts(proposal.known.question, proposal.prefix)
    words = (claimed.word, proposal.known.word)
    if proposal.verdict == "wrong" and None not in words and words[0] != words[1]:
        return True
    answered = (
        judge(proposal.prefix, proposal.known).conflicts if proposal.known.word is not None else []
    )
    if proposal.verdict == "wrong" and any(c.attribute in _ANSWERS for c in answered):
        return True
    if proposal.verdict == "wrong" and leftovers.was_normal(proposal.prefix, proposal.edited.text):
        return True
    if proposal.verdict == "wrong" and truth.takes_back(
        proposal.known, proposal.prefix, proposal.edited.text
    ):
        return True
    sides = {m[1].lower() for m in _NORMAL_SIDE.finditer(proposal.edited.text)}
    conflicts = judge(proposal.prefix, proposal.known).conflicts if sides else []
    if any(c.statement and c.statement.values("side") & sides for c in conflicts):
        return True  # "left lower lobe collapse. The left lung is normally aerated."
    judgement = judge(proposal.edited.text, claimed, same_slot=False)
    several = (
        proposal.known.report
        or _SEVERAL.search(proposal.known.question) is not None
        or "?" not in proposal.known.question
    )
    renamed = {
        id(c.statement)
        for c in judgement.comparisons
        if several and not c.agrees and c.attribute in ("kind", "presupposed")
    }  # another finding, and not another name for the one before
    return any(
        not c.agrees and id(c.statement) not in renamed and not _is_another(c)
        for c in judgement.comparisons
    )


def _is_another(comparison: Comparison) -> bool:
    """Whether two findings are only different: what the prefix names need not be all there is."""
    statement, fact = comparison.statement, comparison.fact
    if statement is None or fact is None:
        return False
    if comparison.attribute == "side" and "both" in fact.values("side"):
        names = [s.head.value if s.head else "" for s in (statement, fact)]
        return names[0] != names[1]  # a lesion of one side, beside metastases on both
    if comparison.attribute != "presence":
        return False
    return statement.polarity == fact.polarity
