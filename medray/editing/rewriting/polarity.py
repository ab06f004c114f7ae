"""Negates a clause, or removes its negation, by the smallest change of words."""

from __future__ import annotations

import functools
import re

from medray.editing.base import Change
from medray.editing.language.grammar import article, lower_first, match_case
from medray.editing.ontology.lexicon import ontology, phrase_words

_COPULA = re.compile(r"\b(?:is|are|was|were|can|could)\b", re.IGNORECASE)
_AUXILIARY = re.compile(r"\b(?:has|have|had|could|will|would)\b(?=\s+(?:been|be)\b)", re.I)
_THERE_IS = re.compile(
    r"\bthere\s+(?:is|are|was|were|(?:appears?|seems?)\s+to\s+be)\s+", re.IGNORECASE
)
_ARTICLE = re.compile(
    r"\b(an?|any|some|several|multiple|numerous|many|two|three|four)\s+((?:[\w'-]+\s+){0,4})$",
    re.IGNORECASE,
)
_DETERMINER = re.compile(
    r"(?:an?|any|some|several|multiple|numerous|many|two|three|four)\s+", re.IGNORECASE
)
_IS = re.compile(r"(?<!there )\b(?:is|are|was|were)\s+$", re.IGNORECASE)
_READ_AS = re.compile(
    r",?\s+(?:(?:which|that)\s+(?:is|are|may\s+be|could\s+be)\s+)?(?:consistent|compatible)\s+with\b|"
    r",?\s+(?:which\s+)?(?:suggesting|suggests|suggestive\s+of|indicating|indicates|indicative\s+of|"
    r"representing|represents|likely\s+representing|in\s+keeping\s+with|due\s+to|caused\s+by)\b",
    re.IGNORECASE,
)
_ABSENCE = re.compile(r"\b((?:an?|the)\s+absence)(?=\s+of\b)", re.IGNORECASE)
SIZED = re.compile(
    r"(?:,?\s+(?:very\s+)?(?:small|large|tiny|minimal|moderate|mild|severe|massive|big|huge|subtle|"
    r"slight|significant|extensive|clear|definite|obvious|noticeable|apparent|bilateral|unilateral|multiple|"
    r"numerous|several|scattered|multifocal)(?:\s+to\s+(?:moderate|large|severe))?(?=\s|-))+",
    re.IGNORECASE,
)  # what is not there has no size, and is on no side
_SOME = re.compile(r"some(?=\s+of\b)", re.IGNORECASE)
_SURE = re.compile(
    r"also$|(?:clear|distinct|definit|obvious|certain|evident|defin|apparent)\w*ly", re.I
)
_SURELY = re.compile(r"\s+(?:clear|distinct|obvious|evident)ly\b", re.IGNORECASE)
_EVIDENCE = re.compile(r"\b(?:evidence|signs?|indications?)\s+of\s+$", re.IGNORECASE)
_EVIDENCE_OF = re.compile(r"\s*(?:evidence|signs?|indications?)\s+of\s+", re.IGNORECASE)
_COUNTED = re.compile(  # a finding that is one of several
    r"(?:[\w-]+\s+){0,2}?(?:lesion|mass|nodule|fracture|cyst|tumou?r|abnormality|opacity|aneurysm|defect|"
    r"infarct|stone|hernia)\b",
    re.IGNORECASE,
)
_MODIFIER = re.compile(r"\s*([\w-]+)\s+")
_WITH = re.compile(r"with\b", re.IGNORECASE)
_NO = re.compile(r"\bno\s+(?!longer\b|doubt\b)(\S+)", re.IGNORECASE)
_NOT = re.compile(
    r"\b(?:is|are|was|were|has|have|can)(\s*not\b|n['’]t\b|['’]t\b)(?P<any>\s+any\b)?",
    re.IGNORECASE,
)
_DO_NOT = re.compile(
    r"\b(does|do|did)(?:\s+not|n['’]t)\s+(?:(\w+ly)\s+)?(\w+)(?P<any>\s+any\b)?", re.IGNORECASE
)
_FINITE = re.compile(r"\b(?:is|are|was|were|has|have|can|could|shows?|appears?|remains?)\b", re.I)
_DOUBLE_NEGATION = re.compile(
    r"\bnot\s+(?=(?:clear|absent|resolved|free|without)\b)", re.IGNORECASE
)


def deny(
    answer: str, start: int, end: int, head_start: int | None, about: int | None = None
) -> Change | None:
    """The change that makes the clause [start, end) deny what it asserts; None if that is unclear.

    `head_start` is the position of its finding, if it names one; `about` that of what else is to
    be denied, whose verb is then the one negated.
    """
    clause = answer[start:end]
    if some := _SOME.match(clause):
        return Change(start, start + some.end(), match_case(some.group(), "none"))
    if double := _DOUBLE_NEGATION.search(clause):
        return Change(start + double.start(), start + double.end(), "")
    if head_start is not None:
        determiner = _ARTICLE.search(answer[start:head_start])
        evidence = determiner and _EVIDENCE.search(answer[start : start + determiner.start(1)])
        if determiner and not evidence and not _COPULA.search(determiner.group(2)):
            position = start + determiner.start(1)
            if _IS.search(answer[start:position]):  # "is a mass", and not "there is a mass"
                return Change(position, position, "not ")
            new = match_case(determiner.group(1), "no")
            sized = SIZED.match(answer, position + len(determiner.group(1)), head_start)
            stop = sized.end() if sized else position + len(determiner.group(1))
            return Change(position, stop, new)
        if _WITH.match(clause):
            return Change(start, start + 4, match_case(clause[:4], "without"))
    if there_is := _THERE_IS.search(clause):
        determiner = _DETERMINER.match(clause, there_is.end())
        stop = determiner.end() if determiner else there_is.end()
        if sized := SIZED.match(f" {clause[stop:]}"):
            stop += sized.end()
        return Change(start + there_is.end(), start + stop, "no ")
    target = about if head_start is None else head_start
    if verb := _deny_verb(clause, None if target is None else target - start):
        return Change(start + verb.start, start + verb.end, verb.text)
    if head_start is not None and not re.search(r"\bthe\s", clause[: head_start - start], re.I):
        first = re.match(r"\S+", clause)
        sized = SIZED.match(f" {clause}")
        if sized and clause[sized.end() - 1 :][:1] == " ":
            return Change(start, start + sized.end() - 1, match_case(clause, "no"))
        if first:
            new = f"{match_case(first.group(), 'no')} {lower_first(first.group())}"
            return Change(start, start + first.end(), new)
    return None


def without_modifiers(answer: str, denial: Change, stop: int, known: str) -> Change:
    """A denial ("no") without the words before `stop` that describe what it denies, unless the text
    `known` has them: "no fracture", not "no nondisplaced fracture"."""
    if denial.text.strip().lower() != "no":
        return denial
    evidence = _EVIDENCE_OF.match(answer, denial.end, stop)
    first = last = evidence.end() if evidence else denial.end
    kept = {"a", "an", "any", *phrase_words(known)}
    while (word := _MODIFIER.match(answer, last, stop)) and word[1].lower() not in kept:
        last = word.end()
    if last == first:
        return denial
    between = answer[denial.end : first].split()
    return Change(denial.start, last, " ".join([denial.text.strip(), *between, ""]))


def deny_chain(answer: str, sentence: tuple[int, int], head_start: int) -> list[Change] | None:
    """The changes that deny a sign and drop what it was read as: "blunting of the angle,
    consistent with an effusion"; None if the finding is not named as such a reading."""
    start, end = sentence
    links = [m for m in _READ_AS.finditer(answer, start, end) if m.end() <= head_start]
    if not links or re.search(r"\b(?:and|but|which)\b", answer[links[-1].end() : head_start]):
        return None
    link = links[-1]
    if re.search(r"\b(?:is|are|was|were)\s*$", answer[start : link.start()]):
        return None
    change = deny(answer, start, link.start(), None)
    if change is None or change.end > link.start():
        return None
    return [change, Change(link.start(), end, "")]


def affirm(answer: str, start: int, end: int, singular: bool) -> Change | None:
    """The change that makes a denying clause assert; `singular`: its finding takes an article."""
    clause = answer[start:end]
    if denied := _NOT.search(clause):
        new, stop = _without_any(clause, denied, singular)
        return Change(start + denied.start(1), start + stop, new)
    if denied := _DO_NOT.search(clause):
        verb, adverb = denied[3], f"{denied[2]} " if denied[2] else ""
        if denied[1].lower() == "does":
            verb = _third_person(verb)
        elif denied[1].lower() == "did":
            verb = f"{verb}d" if verb.endswith("e") else f"{verb}ed"
        some, stop = _without_any(clause, denied, singular)
        return Change(start + denied.start(), start + stop, adverb + verb + some)
    if (no := _NO.search(clause)) is not None:
        return _affirm_no(answer, start + no.start(), start + no.start(1), end, singular)
    if absence := _ABSENCE.search(clause):
        new = match_case(absence.group(1), "the presence")
        return Change(start + absence.start(1), start + absence.end(1), new)
    for phrase, new in ontology().language["affirmed"].items():
        if match := re.search(rf"\b{phrase}\b", clause, re.IGNORECASE):
            return Change(
                start + match.start(), start + match.end(), match_case(match.group(), new)
            )
    return None


def restate(answer: str, start: int, end: int, asserts: bool) -> Change | None:
    """The change that makes the statement of a closed question assert it, or deny it."""
    if asserts:
        return affirm(answer, start, end, singular=False)
    if auxiliary := _AUXILIARY.search(answer, start, end):
        return Change(auxiliary.end(), auxiliary.end(), " not")
    return deny(answer, start, end, None)


def turn_opposite(question: str, answer: str, start: int, end: int) -> Change | None:
    """Replaces the opposite of a word of the question in [start, end): "abnormal" → "normal"."""
    question_words = set(phrase_words(question))
    for pair in ontology().language["opposites"]:
        for word, other in (pair, pair[::-1]):
            if word not in question_words or other in question_words:
                continue
            if match := re.search(rf"\b{other}\b", answer[start:end], re.IGNORECASE):
                return Change(
                    start + match.start(), start + match.end(), match_case(match.group(), word)
                )
    return None


def _affirm_no(answer: str, position: int, following: int, end: int, singular: bool) -> Change:
    """Replaces "no" by an article, or by nothing if what follows takes none."""
    rest = answer[following:end]
    capital = answer[position] == "N"
    if rest.lower().startswith(("evidence of", "sign")) or not singular:
        first = rest[:1].upper() if capital else rest[:1]
        return Change(position, following + 1, first)
    if capital and not _FINITE.search(rest):  # "No pneumothorax.", in the style of reports
        return Change(position, position + 2, f"There is {article(rest)}")
    new = match_case(answer[position : position + 2], article(rest))
    return Change(position, position + 2, new)


def _without_any(clause: str, denied: re.Match[str], singular: bool) -> tuple[str, int]:
    """What replaces the "any" after a removed negation, and where the change ends."""
    if denied["any"] is None:
        return "", denied.end()
    following = clause[denied.end() :].strip()
    first = following.split(maxsplit=1)[0].rstrip(".,") if following else ""
    counted = _COUNTED.match(following) is not None
    plain = not (singular or counted) or first.lower().endswith("s") or first.lower() == "evidence"
    return ("" if plain else f" {article(following)}"), denied.end()


def _deny_verb(clause: str, about: int | None) -> Change | None:
    """Negates the last verb before `about`, else the first: "is not", "does not show"."""
    copula = _last_before(list(_COPULA.finditer(clause)), about)
    verb = _last_before(list(_verbs().finditer(clause)), about)
    if verb and copula and about is not None and verb.start() < about <= copula.start():
        copula = None
    later = about is not None and copula and verb and copula.start() < verb.start() < about
    if verb and (later or not (copula and copula.start() < verb.start())):
        if re.search(r"\b(?:does|do|did)\s+$", clause[: verb.start()], re.IGNORECASE):
            return Change(verb.start(), verb.start(), "not ")
        adverb = f"{verb[1]} " if verb[1] and not _SURE.match(verb[1]) else ""
        bases = ontology().language["main_verbs"]
        low = verb[2].lower()
        auxiliary = "does" if low in bases else "do"
        new = f"{auxiliary} not {adverb}{bases.get(low, low)}"
        return Change(verb.start(), verb.end(), new)
    if copula is None:
        return None
    if copula.group().lower() == "can":
        return Change(copula.end(), copula.end(), "not")
    sure = _SURELY.match(clause, copula.end())  # "not clearly visible" would be half visible
    return Change(copula.end(), sure.end() if sure else copula.end(), " not")


def _last_before(matches: list[re.Match[str]], about: int | None) -> re.Match[str] | None:
    before = [match for match in matches if about is not None and match.start() < about]
    return before[-1] if before else next(iter(matches), None)


@functools.cache
def _verbs() -> re.Pattern[str]:
    bases = ontology().language["main_verbs"]
    forms = "|".join({*bases, *bases.values()})
    return re.compile(rf"\b(?:(\w+ly|also)\s+)?({forms})\b", re.IGNORECASE)


@functools.cache
def _third_person(verb: str) -> str:
    third_persons = {base: form for form, base in ontology().language["main_verbs"].items()}
    return third_persons.get(verb.lower(), f"{verb}s")
