"""Replaces what one clause, or the text about the study, states wrongly, in its own words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypeVar

from medray.editing.base import CannotRewrite, Change, Replacement
from medray.editing.language.grammar import (
    heart_phrase,
    lower_first,
    match_case,
    takes_no_article,
    trimmed,
)
from medray.editing.language.text import Mention
from medray.editing.ontology.lexicon import ontology, phrase_words, plural
from medray.editing.reading.claims import ParsedText, Statement, read
from medray.editing.reading.compare import PLACE_OR_TIME, Comparison
from medray.editing.reading.facts import Facts
from medray.editing.reading.judge import Judgement, is_short, names_image, without_incidental_organs
from medray.editing.rewriting.counting import recount, recount_things
from medray.editing.rewriting.declare import as_said
from medray.editing.rewriting.overlaps import asides, one_per_word
from medray.editing.rewriting.places import both_of, place_phrase
from medray.editing.rewriting.polarity import (
    SIZED,
    affirm,
    deny,
    deny_chain,
    restate,
    without_modifiers,
)
from medray.editing.rewriting.rename import rename

_T = TypeVar("_T")
_DEPENDENT_DENIAL = re.compile(r"\s+(without|but no)\b")
_DENIAL = re.compile(r"\b(?:no|not|nor|without|absent)\b|n['’]t\b", re.IGNORECASE)


_FINITE = re.compile(r"\b(?:is|are|was|were|has|have|shows?|appears?|remains?)\b", re.IGNORECASE)
_COORDINATED = re.compile(r"\band\b[^.;]*\b(?:are|were)\b", re.IGNORECASE)
_INDICATES = re.compile(
    r"\b(?:indicates?|suggests?|represents?|confirms?|does\s+have)\s+$", re.IGNORECASE
)
_IDLE = re.compile(  # what is denied is nothing more, and of no two lungs
    r"\s+(?:also|bilaterally|(?:in|within|throughout|on)\s+both\s+(?:lungs|sides|lung\s+fields|lung\s+bases))\b",
    re.IGNORECASE,
)
_ONE_VALUE = 2  # words of an answer that is a number and hardly more
_FUNCTION_OF = re.compile(
    r"(?:\b(?:is|are|for|in|as|of|with|by|be|to)\s+(?:the\s+)?|:\s*|^\W*(?:the\s+)?)$",
    re.IGNORECASE,
)
_COMPOUND = re.compile(r"[\s-]+(?!(?:and|or|in|of|by|for|through|to|which|with|as)\b)\w")
_SINGLE = frozenset(
    ("heart", "liver", "spleen", "brain", "pancreas", "stomach", "bladder", "chest", "abdomen")
)


def rewrite_study(judgement: Judgement, comparison: Comparison, facts: Facts) -> list[Replacement]:
    parsed, attribute = judgement.answer, ontology().attributes.get(comparison.attribute)
    if attribute is None:  # found by the words of the question, without a smallest change
        is_echo = comparison.attribute == "echo"
        echo = restate(parsed.text, *comparison.span, facts.word is True) if is_echo else None
        change = require(echo)
        denied = not facts.word and comparison.span[1] > change.end
        idle = _IDLE.finditer(parsed.text, change.end, comparison.span[1]) if denied else ()
        changes = [change, *(Change(*match.span(), "") for match in idle)]
        return [replacement(change, comparison) for change in changes]
    if comparison.wanted is None:
        if parsed.word is None:
            raise CannotRewrite
        return []  # denied with the yes or no it depends on
    if comparison.attribute == "count":
        for statement in parsed.statements:
            if comparison.mention and statement.head and _counted(statement, comparison.mention):
                changes = recount(parsed.text, statement, comparison.mention, comparison.wanted)
                return [replacement(change, comparison) for change in changes]
        if comparison.mention is not None and parsed.n_words > _ONE_VALUE:
            changes = recount_things(parsed.text, comparison.mention, comparison.wanted)
            return [replacement(change, comparison) for change in changes]
    in_phrase = comparison.wanted.surface in facts.reference.text and facts.reference.n_words > 1
    if attribute.short_only and in_phrase and is_short(parsed) and is_short(facts.reference):
        raise CannotRewrite  # "left kidney" and "head of the pancreas" have no common structure
    stated = [m for m in parsed.study if m.attribute == comparison.attribute]
    relevant = without_incidental_organs(parsed.study, parsed.text, facts.question)
    values = {m.value for m in relevant}
    stated = [m for m in stated if m.value in values and not names_image(m, parsed.study)] or stated
    kept, removals = asides(parsed.text, stated)
    if comparison.attribute == "function" and not all(_stands(parsed.text, m) for m in kept):
        raise CannotRewrite
    values_changed = _values(parsed.text, kept, comparison)
    if attribute.error_type == "organ":
        values_changed = [place_phrase(parsed.text, change, facts) for change in values_changed]
    return [*values_changed, *(replacement(r, comparison) for r in removals)]


def _stands(text: str, mention: Mention) -> bool:
    """Whether what an organ does is said by this word alone, and not by a compound with it."""
    before = _FUNCTION_OF.search(text[: mention.start]) is not None
    return before and _COMPOUND.match(text, mention.end) is None


def _counted(statement: Statement, mention: Mention) -> bool:
    return any(m.attribute == "number" and m.start == mention.start for m in statement.details)


def rewrite_statement(
    parsed: ParsedText, statement: Statement, comparisons: list[Comparison], facts: Facts
) -> list[Replacement]:
    """All replacements in one statement."""
    replacements: list[Replacement] = []
    renamed = next((c for c in comparisons if c.attribute == "kind"), None)
    dropped: set[str] = set()
    if renamed is not None:
        if _has_more(statement, renamed.fact) and is_short(parsed) and is_short(facts.reference):
            raise CannotRewrite  # details of the wrong finding need not apply to the right one
        others = [c for c in comparisons if c is not renamed]
        context = f"{facts.question} {facts.reference.text}"
        changes, dropped = require(rename(parsed.text, statement, renamed, others, context))
        replacements += [replacement(change, renamed) for change in changes]
    for comparison in comparisons:
        if comparison.attribute == "presence":
            replacements += _presence(parsed, statement, comparison, facts)
        elif comparison.attribute == "heart":
            if _COORDINATED.search(parsed.text[statement.start : statement.end]):
                raise CannotRewrite  # "heart size and mediastinal contours are normal"
            value = comparison.wanted.value if comparison.wanted else ""
            change = heart_phrase(parsed.text, statement.start, statement.end, value)
            before = parsed.text[statement.start : change.start if change else statement.end]
            if change and value == "normal" and _INDICATES.search(before):
                change = deny(parsed.text, statement.start, statement.end, change.start)
            if change is None:  # "does not show an enlarged heart"
                change = affirm(parsed.text, statement.start, statement.end, singular=True)
            replacements.append(replacement(require(change), comparison))
            if value == "normal" and replacements[-1].text.lower().startswith("no "):
                replacements += _dependent_denial(parsed.text, statement, comparison)
        elif comparison is not renamed and comparison.attribute not in dropped:
            replacements += _detail(parsed, statement, comparison)
    wanted = {c.attribute: c.wanted.value for c in comparisons if c.wanted}
    return one_per_word(replacements, wanted)


def _detail(parsed: ParsedText, statement: Statement, comparison: Comparison) -> list[Replacement]:
    stated = [m for m in statement.details if m.attribute == comparison.attribute]
    if comparison.wanted is None:
        change = deny(parsed.text, statement.start, statement.end, None)
        return [replacement(require(change), comparison)]
    if comparison.attribute == "number":
        changes = recount(parsed.text, statement, stated[0], comparison.wanted)
        return [replacement(change, comparison) for change in changes]
    if all(m.negated for m in stated):
        change = affirm(parsed.text, statement.start, statement.end, singular=True)
        return [replacement(require(change), comparison)]
    return _values(parsed.text, stated, comparison)


def _values(text: str, stated: list[Mention], comparison: Comparison) -> list[Replacement]:
    """Replaces every mention of a wrong value by the wanted value in the same form.

    "On the right, not on the left": if the wanted value is the denied one, the two are swapped.
    """
    wanted = comparison.wanted
    assert wanted is not None
    wrong = {m.value for m in stated if not m.negated}
    if len(wrong) != 1:
        raise CannotRewrite
    attribute = ontology().attributes[wanted.attribute]
    replacements = []
    for m in stated:
        if m.negated and m.value != wanted.value:
            continue
        value = next(iter(wrong)) if m.negated else wanted.value
        if value == "both" and m.form == "adjective" and (change := both_of(text, m.start)):
            replacements.append(replacement(change, comparison))
            continue
        new = attribute.forms.get(value, {}).get(m.form)
        if wanted.form == m.form and not m.negated and not (new and new[:2].isupper()):
            new = lower_first(_range(wanted, comparison))
        if new is None:
            raise CannotRewrite
        if m.form == "noun" and m.surface.lower() == plural(attribute.forms[m.value]["noun"]):
            new = new if new.endswith("s") or wanted.value in _SINGLE else plural(new)
        change = Change(m.start, m.end, match_case(m.surface, new))
        replacements.append(replacement(change, comparison))
    return replacements


def _range(wanted: Mention, comparison: Comparison) -> str:
    """A value as the reference gives it: "small to moderate", if it does not say more exactly."""
    core = comparison.fact.core if comparison.fact else ""
    found = re.search(rf"\b{re.escape(wanted.surface)}(?:\s|-)to(?:\s|-)\w+", core, re.IGNORECASE)
    return found.group() if found else wanted.surface


def _presence(
    parsed: ParsedText, statement: Statement, comparison: Comparison, facts: Facts
) -> list[Replacement]:
    """Corrects the assertion of an absent finding, or the denial of a present one."""
    fact = comparison.fact
    replaceable = bool(fact and fact.core and _has_own_clause(parsed, statement))
    if replaceable and not _is_better_inverted(parsed, statement, comparison):
        return [replace_clause(parsed, comparison, report=facts.report)]
    try:
        return _inverted(parsed, statement, comparison, facts)
    except CannotRewrite:
        if not replaceable:
            raise
        return [replace_clause(parsed, comparison, report=facts.report)]


def _is_better_inverted(parsed: ParsedText, statement: Statement, comparison: Comparison) -> bool:
    """Whether a clause is better inverted in its own words than replaced by the reference's."""
    fact, in_sentence = comparison.fact, _in_sentence(parsed, statement)
    assert fact is not None
    if statement.head and statement.head.form == "" and statement.values("side"):
        return True
    if len(in_sentence) > 1 or (fact.start, fact.end) != fact.sentence:
        return True
    clause = parsed.text[statement.start : statement.end]
    if not statement.polarity and _names_specific(statement) and _FINITE.search(clause):
        return True  # "no hiatal hernia is identified"
    head = fact.head
    spelled = head is not None and head.form in ("singular", "plural")
    generic = spelled and head is not None and ontology().findings[head.value].generic
    return statement.polarity and spelled and not generic


def _names_specific(statement: Statement) -> bool:
    """Whether a statement names its finding, and not only "an abnormality"."""
    head = statement.head
    named = head is not None and head.form in ("singular", "plural")
    return named and head is not None and not ontology().findings[head.value].generic


def _inverted(
    parsed: ParsedText, statement: Statement, comparison: Comparison, facts: Facts
) -> list[Replacement]:
    """Inverts a clause in its own words: it asserts what it denied or denies what it asserted."""
    head, text = statement.head, parsed.text
    if statement.polarity:
        if head is not None and (chain := deny_chain(text, statement.sentence, head.start)):
            return [replacement(change, comparison) for change in chain]
        change = require(deny(text, statement.start, statement.end, head.start if head else None))
        core = comparison.fact.core if comparison.fact else ""
        core = core or (facts.question if facts.word is False else "")
        if head is not None and core:
            kept = [m.start for m in statement.details if m.attribute in PLACE_OR_TIME]
            stop = min([head.start, *(start for start in kept if start >= change.end)])
            change = without_modifiers(text, change, stop, core)
        replacements = [replacement(change, comparison)]
        if change.text.lower().startswith("no"):
            idle = list(_IDLE.finditer(text, change.end, statement.end))
        else:  # "does not show severe edema" denies only that it is severe
            sized = SIZED.match(text, change.end, head.start) if head else None
            idle = [sized] if sized and " not " in f" {change.text} " else []
        replacements += [replacement(Change(*match.span(), ""), comparison) for match in idle]
        return [*replacements, *_dependent_denial(text, statement, comparison)]
    sides = [m for m in statement.details if m.attribute == "side"]
    other = ontology().attributes["side"].other(sides[0].value) if len(sides) == 1 else None
    if head and head.form == "" and other:  # "the left lung is clear", but the right one is
        new = ontology().attributes["side"].forms[other].get(sides[0].form)
        side = sides[0]
        turned = Change(side.start, side.end, match_case(side.surface, require(new)))
        return [replacement(turned, comparison)]
    following = [s for s in _in_sentence(parsed, statement) if s.start > statement.start]
    if any(not s.polarity and not _DENIAL.search(text[s.start : s.end]) for s in following):
        raise CannotRewrite  # "no mass or nodule": the denial is shared
    asserted = affirm(text, statement.start, statement.end, takes_article([statement]))
    return [replacement(require(asserted), comparison)]


def _dependent_denial(text: str, statement: Statement, comparison: Comparison) -> list[Replacement]:
    """Adapts the denial after a newly denied clause: "no effusion without nodule" needs "or"."""
    denial = _DEPENDENT_DENIAL.match(text, statement.end)
    if denial is None:
        return []
    new = "or" if denial.group(1) == "without" else "and no"
    return [replacement(Change(*denial.span(1), new), comparison)]


def _in_sentence(parsed: ParsedText, statement: Statement) -> list[Statement]:
    """All statements of the statement's sentence."""
    return [s for s in parsed.statements if s.sentence == statement.sentence]


def _has_more(statement: Statement, fact: Statement | None) -> bool:
    """Whether a statement has more attributes than the one in the reference's text."""
    if fact is None or not fact.core:
        return False
    return bool({m.attribute for m in statement.details} - {m.attribute for m in fact.details})


def takes_article(statements: Sequence[Statement]) -> bool:
    """Whether the first finding named can have the article "a"."""
    head = next((s.head for s in statements if s.head and s.subject == "lesion"), None)
    return (
        head is not None
        and head.form == "singular"
        and not ontology().findings[head.value].mass_noun
        and not takes_no_article(head.surface)
    )


def replace_clause(
    parsed: ParsedText, comparison: Comparison, *, report: bool = False
) -> Replacement:
    """Replaces the statement's clause by the reference's sentence, in a report by one that is about
    as many findings."""
    statement, fact = comparison.statement, comparison.fact
    if statement is None or fact is None or not fact.core:
        raise CannotRewrite
    start, end = statement.sentence
    if statement.subject == "heart" and _COORDINATED.search(parsed.text[start:end]):
        raise CannotRewrite
    if not _has_sentence(parsed, statement):
        start, end = _after_connector(parsed.text, statement.start, statement.end), statement.end
    if report and _n_findings(read(fact.core)) > max(1, _n_findings(read(parsed.text[start:end]))):
        raise CannotRewrite  # the reference's sentence is about more
    core = as_said(parsed.text[start:end], fact)
    new = core if parsed.text[start].isupper() else lower_first(core)
    if parsed.text[start].isupper():
        new = new[:1].upper() + new[1:]
    return replacement(trimmed(parsed.text, start, end, new), comparison)


def _n_findings(parsed: ParsedText) -> int:
    """The number of findings that a text asserts."""
    return sum(s.polarity and s.subject == "lesion" and bool(s.head) for s in parsed.statements)


def _has_sentence(parsed: ParsedText, statement: Statement) -> bool:
    """Whether the sentence states nothing else: it has one statement, or a list of denials."""
    in_sentence = _in_sentence(parsed, statement)
    return len(in_sentence) == 1 or not any(s.polarity for s in in_sentence)


def _has_own_clause(parsed: ParsedText, statement: Statement) -> bool:
    """Whether a sentence can replace the statement ("with a nodule" has no verb)."""
    words = phrase_words(parsed.text[statement.start : statement.end])
    return _has_sentence(parsed, statement) or bool(set(words) & set(ontology().language["verbs"]))


def _after_connector(text: str, start: int, end: int) -> int:
    """The position after a leading "and", "with" and the like."""
    first = text[start:end].split(maxsplit=1)
    if len(first) == 2 and first[0].lower() in ontology().language["connectors"]:
        return start + text[start:end].index(first[1], len(first[0]))
    return start


def require(change: _T | None) -> _T:
    if change is None:
        raise CannotRewrite
    return change


def in_place(text: str, change: Change, comparison: Comparison, facts: Facts) -> Replacement:
    """The replacement of a change that quotes the reference, in the case of what it replaces."""
    old = text[change.start : change.end]
    new = lower_first(change.text) if old[:1].islower() else change.text
    placed = replacement(Change(change.start, change.end, new), comparison)
    return place_phrase(text, placed, facts) if comparison.error_type == "organ" else placed


def replacement(change: Change, comparison: Comparison) -> Replacement:
    return Replacement(*change, comparison.error_type, _reason(comparison))


def _reason(comparison: Comparison) -> str:
    """The reason in a few words, for the ledger."""
    if comparison.attribute == "word":
        return "the reference answers the other way"
    if comparison.change is not None or comparison.attribute == "echo":
        return f"{comparison.attribute}: the reference says otherwise"
    if comparison.attribute == "presence" and comparison.statement is not None:
        named = comparison.statement.head.value if comparison.statement.head else "finding"
        return f"{named} is not there" if comparison.statement.polarity else f"{named} is there"
    stated = comparison.mention.value if comparison.mention else "?"
    wanted = comparison.wanted.value if comparison.wanted else f"not {stated}"
    return f"{comparison.attribute}: {wanted}, not {stated}"
