"""A closed question as the statement that its yes or no stands for.

"Is this a study of the neck?" → "this is not a study of the neck". Only for forms of question in
which subject and predicate are sure to be told apart.
"""

from __future__ import annotations

import functools
import re

from medray.editing.base import Change
from medray.editing.language.grammar import article, is_plural, lower_first, takes_no_article
from medray.editing.ontology.lexicon import ontology, phrase_words
from medray.editing.reading.claims import Statement

_THERE_IS = re.compile(r"there\s+(?:is|are|was|were)\b", re.IGNORECASE)
_SEEN = re.compile(
    r"\b(?:is|are|was|were)\s+(seen|identified|noted|present|visible|visualized|demonstrated|evident)"
    r"\W*$",
    re.IGNORECASE,
)
_HAS_VERB = re.compile(r"\b(?:is|are|was|were|has|have|shows?|appears?|remains?)\b", re.IGNORECASE)
_NOUN_ENDS = re.compile(r"\s+(?:of|in|with|at|on|along|over|within|involving)\b|,")
_THERE = re.compile(
    r"(?P<verb>is|are|was|were)\s+there\s+(?P<det>an?\s+|any\s+|some\s+)?(?P<rest>.+)",
    re.IGNORECASE,
)
_THIS = re.compile(
    r"(?P<verb>is|are|was|were)\s+(?P<subject>this|it|that|these|those)\s+"
    r"(?P<noun>(?:image|picture|scan|film|study|x-ray|xray|radiograph|ct|mri|slice|section|photo)\s+)?"
    r"(?P<rest>.+)",
    re.IGNORECASE,
)
_SUBJECT = r"(?P<verb>is|are|was|were)\s+(?P<subject>(?:the|both|these|those|this)\s+.+?)\s+"
_THIS_NOUN = re.compile(
    r"(?P<verb>is|are|was|were)\s+(?P<subject>(?:this|that|these|those)\s+(?!an?\b|the\b)[\w-]+)\s+"
    r"(?P<rest>bilateral|unilateral|acute|chronic|normal|abnormal|healthy|benign|malignant)",
    re.IGNORECASE,
)
_PREDICATE = re.compile(
    _SUBJECT
    + r"(?P<rest>(?:(?:normal|abnormal|healthy|enlarged|visible|present|seen|shown|visualized|"
    r"intact|clear|symmetric|symmetrical|midline|dilated|displaced|deviated|enhancing|enhanced|calcified|"
    r"fractured|collapsed|atrophied|elevated|flattened|widened|blunted|sharp|obscured|noted|"
    r"identified|viewed|located|involved|affected|diseased|unremarkable|hyperdense|hypodense|"
    r"hyperintense|hypointense|homogeneous|heterogeneous|well-circumscribed|ring-enhancing|"
    r"unhealthy|homogenous|open|closed|patent|large|small|(?:high|low|larg|small|bigg)er(?=\s+than)|"
    r"consistent|evident|apparent|observed|sufficient|secondary|due)\b).*)",
    re.IGNORECASE,
)
_ONE_ARE = re.compile(
    r"(?:are|were)\s+the\s+(?:[\w-]+\s+)*?\w+(?:ture|ion|ity|gland)\b\s", re.IGNORECASE
)
_PLACED = re.compile(
    _SUBJECT + r"(?P<rest>(?:at|in|on|within|outside|inside|above|below|behind)\s+\S.*)",
    re.IGNORECASE,
)
_DO = re.compile(
    r"(?P<verb>does|do|did)\s+(?P<subject>(?:the|this|these|those|both|it|they|you|we|he|she)\b.*?)"
    r"\s*\b(?P<main>show|contain|exist|appear|look|have|include|demonstrate|reveal|belong|see|"
    r"suggest|indicate|represent|cross|involve|extend|enhance|depict|display|seem|cause|affect)\b"
    r"(?P<rest>.*)",
    re.IGNORECASE,
)
_CAN = re.compile(
    r"(?P<verb>can|could)\s+(?P<subject>.+?)\s+(?P<rest>be\s+(?:observed|seen|identified|detected|"
    r"visualized|found|made|diagnosed|appreciated|noted|used)\b.*)",
    re.IGNORECASE,
)
_ANY = re.compile(r"(?P<verb>do|are|is|does)\s+any\s+(?P<rest>of\s+the\s+.+)", re.IGNORECASE)
_HAS = re.compile(
    r"(?P<verb>has|have|had|can|could)\s+(?P<subject>(?:the|this|these|it|they)\s+\w+?)\s+"
    r"(?P<rest>(?:been|be)\s+.+)",
    re.IGNORECASE,
)
_SHOWS_HEALTH = re.compile(
    r"(?:the|this)\s[^,;.]*?\b(?:image|picture|scan|x-?ray|radiograph|mri|ct)\b[^,;.]*?\s"
    r"(?:shows?|indicates|displays|depicts|reveals|demonstrates)\s(?P<object>(?:the\s+presence\s+of\s+)?"
    r"(?:an?\s+|only\s+|no\b)?(?:(?:completely|perfectly|entirely)\s+)?(?:(?<=no)|normal|healthy|clear)\b"
    r"[^.;]*)\.?",
    re.IGNORECASE,
)
_NAMES = 8  # words of names that are no sentence
_STATES = re.compile(r"\b(?:is|are|was|were|shows?|has|have|no|not|yes)\b|[.;:/()]", re.IGNORECASE)
_STATE = re.compile(
    r"\s(?:fractured|abnormal|normal|enlarged|visible|present|seen|shown|healthy|unhealthy|involved|"
    r"affected|calcified|displaced|broken)\b.*$",
    re.IGNORECASE,
)
_SIDE = re.compile(r"\b(?:Left|Right|Upper|Lower)\b")
_UNCLEAR = re.compile(r"\bor\b|\bis/are\b|/|[,;:]|\bnot\b|\bno\b|\bif\b", re.IGNORECASE)
_THIRD = {"have": "has", "cross": "crosses"}


def declared(question: str, *, affirmed: bool) -> str | None:
    """The statement, in lower case and without a full stop; None if the form is not sure.

    >>> declared("Is there a nodule in the left lung?", affirmed=False)
    'there is no nodule in the left lung'
    >>> declared("Does the image contain the liver?", affirmed=False)
    'the image does not contain the liver'
    """
    text = _bare_organ().sub(r"\1 the \2", question.strip()).rstrip("?. ").strip()
    text = _SIDE.sub(lambda side: side[0].lower(), text)
    if _UNCLEAR.search(text) or not text:
        return None
    if match := _THERE.fullmatch(text):
        return _there(match, affirmed)
    if match := _THIS_NOUN.fullmatch(text):
        denial = "" if affirmed else " not"
        return f"{_lower(match['subject'])} {match['verb'].lower()}{denial} {match['rest']}"
    if (match := _THIS.fullmatch(text)) or (match := _HAS.fullmatch(text)):
        noun = f" {match['noun'].strip()}" if match.groupdict().get("noun") else ""
        denial = "" if affirmed else " not"
        return f"{_lower(match['subject'])}{noun} {match['verb'].lower()}{denial} {match['rest']}"
    if (match := _ANY.fullmatch(text)) and (stated := _some(match, affirmed)):
        return stated
    if match := _CAN.fullmatch(text):
        verb = match["verb"].lower() if affirmed else f"{match['verb'].lower()}not"
        if verb != "couldnot":
            return f"{_lower(match['subject'])} {verb} {match['rest']}"
    if match := _DO.fullmatch(text):
        return _do(match, affirmed)
    if _ONE_ARE.match(text):
        return None  # "are the vasculature open?"
    if (match := _PREDICATE.fullmatch(text)) or (match := _PLACED.fullmatch(text)):
        denial = "" if affirmed else " not"
        return f"{_lower(match['subject'])} {match['verb'].lower()}{denial} {match['rest']}"
    return None


def is_seen(names: str) -> str | None:
    """The sentence that something is seen; None if it is not just named.

    >>> is_seen("Brain Edema, Brain Tumor"), is_seen("The heart is enlarged.")
    ('Brain edema and brain tumor are seen', None)
    """
    items = [lower_first(item.strip()) for item in re.split(r",|\band\b", names.strip(" ."))]
    if not 0 < len(names.split()) <= _NAMES or not all(items) or _STATES.search(names):
        return None
    listed = ", ".join(items[:-1]) + f" and {items[-1]}" if len(items) > 1 else items[0]
    many = len(items) > 1 or (items[0].endswith("s") and not takes_no_article(items[0]))
    verb = "are" if (many and not items[0].endswith(("is", "ss"))) or len(items) > 1 else "is"
    return f"{listed[:1].upper()}{listed[1:]} {verb} seen"


def shown(sentence: str, names: str) -> Change | None:
    """The change of what an image is said to show, if that is health alone, into the `names`.

    >>> shown("The scan shows a healthy lung with no nodules.", "Nodule, Pneumonia")
    Change(start=15, end=45, text='a nodule and pneumonia')
    """
    healthy = _SHOWS_HEALTH.fullmatch(sentence)
    if healthy is None or is_seen(names) is None:
        return None
    items = [_with_article(item.strip()) for item in re.split(r",|\band\b", names.strip(" ."))]
    if not all(items):
        return None
    listed = ", ".join(filter(None, items[:-1])) + f" and {items[-1]}" if items[1:] else items[0]
    return Change(*healthy.span("object"), listed or "")


def _with_article(name: str) -> str | None:
    """A finding's name with the article it takes; None if that is not known."""
    name = lower_first(name)
    if takes_no_article(name):
        return name
    entries = ontology().entries.get(phrase_words(name), ())
    forms = {e.form for e in entries if e.attribute == "kind"}
    mass = any(ontology().findings[e.value].mass_noun for e in entries if e.attribute == "kind")
    if mass or "plural" in forms:
        return name
    return f"{article(name)} {name}" if "singular" in forms else None


@functools.cache
def _bare_organ() -> re.Pattern[str]:
    """ "contain heart", which lacks its article."""
    forms = ontology().attributes["organ"].forms.values()
    nouns = "|".join(sorted({re.escape(form["noun"]) for form in forms if "noun" in form}))
    return re.compile(rf"\b(contain|show|include|see)\s+({nouns})\b", re.IGNORECASE)


def _there(match: re.Match[str], affirmed: bool) -> str:
    verb, rest = match["verb"].lower(), match["rest"]
    if not affirmed:
        return f"there {verb} no {rest}"
    determiner = (match["det"] or "").strip().lower()
    if determiner == "any":
        determiner = ""
    elif determiner in ("a", "an"):
        determiner = article(rest)
    return f"there {verb} {determiner} {rest}".replace("  ", " ")


def _do(match: re.Match[str], affirmed: bool) -> str | None:
    verb, subject = match["verb"].lower(), _lower(match["subject"]).strip()
    main = match["main"].lower()
    if subject in ("you", "we"):
        return None
    rest = match["rest"]
    if not affirmed:
        rest = re.sub(r"^\s+any\b", "", rest) if rest.lower().startswith(" any") else rest
        return f"{subject} {verb} not {main}{rest}"
    rest = re.sub(r"^\s+any\b", "", rest, flags=re.IGNORECASE)
    if verb == "did":
        return None
    return f"{subject} {_THIRD.get(main, main + 's') if verb == 'does' else main}{rest}"


def _some(match: re.Match[str], affirmed: bool) -> str | None:
    """ "do any of the organs belong to …" → "some of the organs belong to …", "none of …"."""
    amount = "some" if affirmed else "none"
    rest = match["rest"]
    if match["verb"].lower() == "do":
        return f"{amount} {rest}"
    predicate = _STATE.search(rest) if match["verb"].lower() == "are" else None
    if predicate is None:
        return None
    return f"{amount} {rest[: predicate.start()]} are{rest[predicate.start() :]}"


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def as_said(clause: str, fact: Statement) -> str:
    """The reference's sentence; a bare phrase of it as a sentence, if the clause is one."""
    head, seen = fact.head, _SEEN.search(clause)
    bare = head is not None and head.form in ("singular", "plural") and fact.polarity
    if not bare or head is None or _HAS_VERB.search(fact.core):
        return fact.core
    core = lower_first(fact.core)
    named = _NOUN_ENDS.split(core)[0]  # the changes of "postoperative changes of a lobectomy"
    plural_head = head.form == "plural" or is_plural(named)
    determined = re.match(r"(?:an?|the|some|multiple|two|three)\b", core) is not None
    mass_noun = ontology().findings[head.value].mass_noun or takes_no_article(head.surface)
    if not (plural_head or determined or mass_noun):
        core = f"{article(core)} {core}"
    if _THERE_IS.match(clause):
        return f"There {'are' if plural_head else 'is'} {core}"
    if seen is not None:
        return f"{core[:1].upper()}{core[1:]} {'are' if plural_head else 'is'} {seen[1]}"
    return fact.core
