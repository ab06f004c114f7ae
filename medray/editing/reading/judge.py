"""The verdict on an answer: right, wrong, or undecidable."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from medray.editing.language.text import Mention
from medray.editing.ontology.lexicon import ontology, phrase_words
from medray.editing.reading.choice import compare_choice
from medray.editing.reading.claims import ParsedText, Statement, read, subject_of
from medray.editing.reading.compare import (
    Comparison,
    compare_narrow,
    compare_statements,
    compare_study,
)
from medray.editing.reading.echo import compare_echo
from medray.editing.reading.facts import Facts, asks_for, asks_what
from medray.editing.reading.options import compare_options
from medray.editing.reading.question import compare_normal, compare_opposite, compare_presupposed
from medray.editing.reading.ranking import compare_degrees, compare_ranking
from medray.editing.reading.slots import compare_slot, slot_of
from medray.records import VerdictName

_ASIDE = re.compile(
    r"\b(?:which|where|between|located|situated|because|since|as\s+(?:shown|seen|evidenced|indicated|"
    r"demonstrated|suggested))\b|[.;]\s",
    re.IGNORECASE,
)
_LIKELY = re.compile(
    r"\b(?:likely|probable)\s+(\w+)(?:\s+(?:of|for|behind)\s+([\w\s-]+))?", re.IGNORECASE
)
_KIND_OF = re.compile(r"\b(?:kind|type|sort|form)s?\s+of\b", re.IGNORECASE)
_BOTH_SHOWN = re.compile(
    r"(?:shows?|depicts?|displays?|includes?|views?\s+of|images?\s+of|contains?|see)\s+both\s+\w+\W*$|"
    r"^\W*both\s+(?:the\s+)?\w+\s+(?:is|are)\s+(?:\w+ly\s+)?(?:visible|shown|seen|included|present)\b",
    re.IGNORECASE,
)
_PLACES = ("side", "zone", "lobe", "quadrant")
_TAKEN = ("modality", "sequence", "contrast", "plane")
_REGIONS = {
    "part",
    "body",
    "system",
    "region",
    "area",
    "where",
    "anatomy",
    "shown",
    "show",
    "study",
}
_SHORT = 6  # words; a phrase rather than a report


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict, with the parsed `answer` and all `comparisons` that were made.

    `tier`: "slot" if only the weaker rule "same slot, other value" decided, else "sure".
    """

    verdict: VerdictName
    answer: ParsedText
    comparisons: tuple[Comparison, ...]
    reason: str = ""
    tier: Literal["sure", "slot"] = "sure"

    @property
    def conflicts(self) -> list[Comparison]:
        return [comparison for comparison in self.comparisons if not comparison.agrees]


def judge(answer: str, facts: Facts, *, same_slot: bool = True) -> Judgement:
    """Compare an answer with the facts. A single contradiction makes it wrong.

    `same_slot`: an answer that nothing else decides is judged by the weaker rule of `slots`.
    """
    parsed = _read(answer, facts)
    if not parsed.n_words and parsed.word is None:
        return Judgement("abstain", parsed, (), "empty-answer")
    same = same_words(answer, facts.reference.text)
    comparisons = _comparisons(answer, parsed, facts)
    if same:  # to repeat a self-contradictory reference is no error
        comparisons = [comparison for comparison in comparisons if comparison.agrees]
    if any(not comparison.agrees for comparison in comparisons):
        return Judgement("wrong", parsed, tuple(comparisons))
    beside = not same and (
        _only_the_side(comparisons, answer, facts) or _beside_the_point(comparisons, facts)
    )
    if (comparisons and not beside) or same:
        return Judgement("right", parsed, tuple(comparisons))
    if not comparisons and _hinges_on_a_hedge(parsed, facts):
        return Judgement("abstain", parsed, (), "uncertain")
    by_slot = (
        compare_slot(facts.question, facts.reference, parsed)
        if same_slot and _without_pairs_shown(parsed) is parsed
        else []
    )
    if by_slot and not facts.options:
        verdict: VerdictName = "right" if by_slot[0].agrees else "wrong"
        return Judgement(verdict, parsed, tuple(by_slot), tier="slot")
    return Judgement("abstain", parsed, (), "not-comparable")


def _read(answer: str, facts: Facts) -> ParsedText:
    """The parsed answer; "the most likely diagnosis" is no hedge where the question asks for it."""
    subject, likely = subject_of(facts.question), _LIKELY.search(facts.question)
    if likely is None:
        return read(answer, subject=subject)
    repeated = re.compile(rf"\b(?:most\s+)?(?:likely|probable)(?=\s+{likely[1]}\b)", re.IGNORECASE)
    plain = repeated.sub(lambda m: " " * len(m[0]), answer)
    parsed = read(plain, subject=subject)
    sought = {s.head.value for s in read(likely[2] or "").statements if s.head}
    own = tuple(s for s in parsed.statements if s.head and s.head.value not in sought)
    return replace(parsed, text=answer, statements=own or parsed.statements)


def _comparisons(answer: str, parsed: ParsedText, facts: Facts) -> list[Comparison]:
    """All comparisons of an answer with the facts, the surest rules first; a rule by the words of
    the question is asked only where those by the ontology say nothing."""
    if facts.options and (chosen := compare_options(facts.options, facts.option, answer)):
        return chosen
    comparisons = _word(parsed, facts)
    parsed = _without_echoed_places(_without_pairs_shown(parsed), facts)
    all_named = facts.word is None and asks_what(facts.question)
    report = facts.report
    comparisons += compare_statements(
        _on_the_subject(parsed.statements, facts),
        facts.statements,
        all_named=all_named,
        report=report,
        open_question=facts.word is None and facts.proposition is None and not report,
    )
    comparisons += compare_narrow(parsed, facts.reference, facts.statements, report=report)
    comparisons += compare_ranking(facts.ranking, facts.ranked, answer)
    comparisons += compare_degrees(parsed, facts.reference) if report else []
    if all(c.agrees for c in comparisons):  # explicit contradictions come before implied ones
        comparisons += compare_presupposed(facts.question, facts.reference, parsed)
    if parsed.word is None:
        comparisons += compare_opposite(facts.question, facts.word, answer)
    study, known_study = (_comparable(s, parsed, facts) for s in (parsed.study, facts.study))
    where = bool(set(phrase_words(facts.question)) & {"where", "located", "location"})
    comparisons += compare_study(study, known_study, ontology(), where=where)
    choice = compare_choice(facts.question, facts.reference.text, answer)
    if choice and facts.ranking is None and all(c.agrees for c in comparisons):
        comparisons = choice
    if not comparisons and parsed.word is None:
        comparisons += compare_normal(facts.question, facts.word, parsed)
        comparisons = comparisons or compare_echo(facts.question, facts.word, answer)
    return comparisons


def _without_pairs_shown(parsed: ParsedText) -> ParsedText:
    """Without statements that only say what is in the picture: "the image shows both kidneys"."""
    shown = [
        s
        for s in parsed.statements
        if s.head is None and "both" in s.values("side") and _BOTH_SHOWN.search(s.core)
    ]
    kept = tuple(s for s in parsed.statements if s not in shown)
    return replace(parsed, statements=kept) if shown else parsed


def _without_echoed_places(parsed: ParsedText, facts: Facts) -> ParsedText:
    """Without the sides and zones that an answer only repeats from its open question: the corner
    of "the organ in the lower right corner is the liver"."""
    if facts.word is not None or facts.proposition or " or " in facts.question.lower():
        return parsed
    question = f" {' '.join(phrase_words(facts.question))} "

    def repeats(m: Mention) -> bool:
        following = phrase_words(parsed.text[m.end : m.end + 30])[:1]
        phrase = " ".join((*phrase_words(m.surface), *following))
        return m.attribute in _PLACES and bool(following) and f" {phrase} " in question

    statements = []
    for s in parsed.statements:
        kept = tuple(m for m in s.details if not repeats(m))
        if kept or s.head:
            statements.append(s if len(kept) == len(s.details) else replace(s, details=kept))
    return replace(parsed, statements=tuple(statements))


def _on_the_subject(statements: tuple[Statement, ...], facts: Facts) -> tuple[Statement, ...]:
    """Those statements that a reference without a subject of its own can be about.

    "Right" to "Which side is the tube on?" is about the tube: if the answer speaks of the tube, its
    statements on other findings are not compared.
    """
    if any(fact.head is not None or fact.subject != "lesion" for fact in facts.statements):
        return statements
    onto = ontology()
    subjects = {
        s.head.value
        for s in read(facts.question).statements
        if s.head is not None and s.subject == "lesion" and not onto.findings[s.head.value].generic
    }
    about = tuple(
        s
        for s in statements
        if s.subject == "lesion"
        and s.head is not None
        and any(onto.compatible(s.head.value, kind) for kind in subjects)
    )
    others = [s for s in statements if s.head is None]
    return (*about, *others) if about else statements


def _hinges_on_a_hedge(parsed: ParsedText, facts: Facts) -> bool:
    """Whether a verdict would be possible if the hedged statements of one side were plain ones."""
    known_uncertain = facts.reference.uncertain
    if compare_statements(parsed.uncertain, (*facts.statements, *known_uncertain)):
        return True
    if parsed.hedged and parsed.word is None and facts.word is not None:
        return True
    hedged_word = parsed.word is not None and facts.reference.hedged and facts.word is None
    return hedged_word or bool(compare_statements(parsed.statements, known_uncertain))


def _only_the_side(comparisons: Sequence[Comparison], answer: str, facts: Facts) -> bool:
    """Whether an answer agrees only in its side with the place that a short reference names.

    "Left adrenal gland" is not "left kidney" merely because both are on the left.
    """
    if facts.word is not None or not is_short(facts.reference):
        return False
    if not comparisons or any(c.attribute != "side" for c in comparisons):
        return False
    side_words = set(ontology().language["side_words"])
    known, stated = set(phrase_words(facts.reference.text)) - side_words, set(phrase_words(answer))
    return bool(known) and not known & stated and bool(stated - side_words)


def _beside_the_point(comparisons: Sequence[Comparison], facts: Facts) -> bool:
    """Whether an answer agrees only in how the image was taken, which was not asked, or names only
    what the question asks the kind of."""
    if facts.word is None and _KIND_OF.search(facts.question):
        sought = {s.head.value for s in read(facts.question).statements if s.head}
        return bool(comparisons) and all(
            c.attribute == "kind" and c.mention is not None and c.mention.value in sought
            for c in comparisons
        )
    if not comparisons or any(c.attribute not in _TAKEN for c in comparisons):
        return False
    if slot_of(facts.question) in (*_TAKEN, "") or facts.report:
        return False
    return not any(m.attribute in _TAKEN for m in read(facts.question).study)


def same_words(one: str, other: str) -> bool:
    """Whether two texts differ only in case, punctuation and articles, and are not empty."""
    words, other_words = (
        [word for word in phrase_words(text) if word not in ("a", "an", "the")]
        for text in (one, other)
    )
    return bool(words) and words == other_words


def is_short(parsed: ParsedText) -> bool:
    """Whether a text is a phrase rather than a report."""
    return parsed.n_words <= _SHORT


def _word(parsed: ParsedText, facts: Facts) -> list[Comparison]:
    if parsed.word is None or facts.word is None:
        return []
    kind = facts.proposition.error_type if facts.proposition else "presence"
    return [Comparison(parsed.word == facts.word, "word", kind)]


def _comparable(study: tuple[Mention, ...], parsed: ParsedText, facts: Facts) -> list[Mention]:
    """The mentions to compare: `short_only` ones between short phrases or if asked for."""
    short = is_short(parsed) and is_short(facts.reference)
    relevant = without_incidental_organs(study, parsed.text, facts.question)
    asks_region = bool(set(phrase_words(facts.question)) & _REGIONS)
    kept: Sequence[Mention] = relevant
    if asks_region and not any(m.attribute == "organ" for m in relevant):
        kept = study  # "a chest X-ray" says that the chest is shown
    kept = [m for m in kept if short or _is_comparable(m, facts.question)]
    return _most_specific(kept)


def _most_specific(study: list[Mention]) -> list[Mention]:
    """Without the organs that contain another one named: "the temporal lobe of the brain"."""
    part_of = ontology().attributes["organ"].part_of
    organs = {m.value for m in study if m.attribute == "organ" and not m.negated}
    outer = {container for value in organs for container in part_of.get(value, ())}
    return [m for m in study if m.attribute != "organ" or m.value not in outer]


def _not_echoed(study: list[Mention], question: str) -> list[Mention]:
    """Without the organs that a question names and an answer repeats beside its own: "the liver is
    part of the respiratory system". If the question offers a choice, all of them count."""
    normalised = f" {' '.join(phrase_words(question))} "
    if " or " in normalised:
        return study
    echoed = {
        id(m)
        for m in study
        if m.attribute == "organ" and f" {' '.join(phrase_words(m.surface))} " in normalised
    }
    own = any(m.attribute == "organ" and id(m) not in echoed for m in study)
    return [m for m in study if id(m) not in echoed] if own else study


def without_incidental_organs(study: Sequence[Mention], text: str, question: str) -> list[Mention]:
    """The study's mentions without organs that are part of the image's name, repeat the question,
    or only explain the first one."""
    kept = [m for m in study if not names_image(m, study)]
    return _main_organs(_not_echoed(kept, question), text)


def _main_organs(study: Sequence[Mention], text: str) -> list[Mention]:
    """Without the abdomen of "the spleen, which is in the abdomen"."""
    organs = [m for m in study if m.attribute == "organ"]
    aside = _ASIDE.search(text, organs[0].end) if organs else None
    if aside is None:
        return list(study)
    return [m for m in study if m.attribute != "organ" or m.start < aside.start()]


def names_image(mention: Mention, study: Sequence[Mention]) -> bool:
    """Whether an organ only names the image: the chest of "the chest X-ray shows the heart"."""
    return mention.attribute == "organ" and any(
        m.attribute == "modality" and 0 < m.start - mention.end <= 1 for m in study
    )


def _is_comparable(mention: Mention, question: str) -> bool:
    attribute = ontology().attributes[mention.attribute]
    return not attribute.short_only or asks_for(question, mention.attribute)
