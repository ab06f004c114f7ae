"""The clauses of a sentence that lean on what stands before them.

"The image is a CT scan, which uses X-rays": whoever replaces the CT must take the clause along.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from medray.editing.language.grammar import content
from medray.editing.ontology.lexicon import ontology, phrase_words

# the errors whose correction takes along what explains them
EXPLAINED = frozenset({"presence", "kind", "organ", "modality", "plane", "count"})
_FOUND = ("presence", "kind")

_FINITE = r"is|are|was|were|shows?|has|have|appears?|can|could|does|do|measures?|remains?|seems?"
# they explain, wherever they stand
_EXPLAINS = (
    r"which|who|whose|where(?:by|as|in)?|because|since|so(?:\s+that)?|thus|therefore|hence|thereby|"
    r"given\s+(?:the|that|its|their|this)|"
    r"as\s+(?:it|this|that|they|there|these|those|evidenced|indicated|seen|shown|demonstrated|the|"
    r"a|an|its|their)|owing\s+to|resulting|leading|giving|"
    r"meaning|indicating|indicates|suggesting|suggests|implying|implies|signifying|reflecting|"
    r"confirming|ruling|demonstrating|likely|possibly|probably|perhaps|also\s+(?:known|called)|"
    r"i\.?e\.?|e\.?g\.?|such\s+as|particularly|especially|specifically|namely|rather|instead|"
    r"for\s+example|often|typically|commonly|usually|generally|focusing|with\s+(?:a|the)\s+focus"
)
# they explain behind a comma, or behind the name of what is replaced; else they narrow it down
_NARROWS = (
    r"and\s+(?:other|its|their)|as\s+well\s+as|due\s+to|caused|causing|causes|indicative|suggestive|consistent|inconsistent|compatible|"
    r"in\s+keeping|associated|secondary|related|known|called|named|referred|characteri[sz]ed|"
    r"defined|described|representing|showing|revealing|like|including|includes|providing|provides|"
    r"allowing|allows|making|makes|affecting|involving|compressing|obstructing|containing|composed|"
    r"consisting|used|using|focused|"
    r"that\s+(?:is|are|was|were|has|have|had|can|could|may|might|would|will|should|occurs?|"
    r"causes?|affects?|uses?|shows?|allows?|provides?|divides?|helps?|involves?|extends?|"
    r"appears?|contains?|includes?|surrounds?|forms?)"
)
_COMMA = r"\s*[,;–—:]\s*|\s+-\s+"
_LOOSE = re.compile(rf"(?:(?:{_COMMA})|\s+)(?:{_EXPLAINS})\b|(?:{_COMMA})(?:{_NARROWS})\b", re.I)
_ANY = re.compile(rf"(?:(?:{_COMMA})|\s+)(?:{_EXPLAINS}|{_NARROWS})\b", re.IGNORECASE)
_PREDICATE = re.compile(
    r"\b(?:is|are|was|were|be|been|not|being|most|more|very)\s*$", re.IGNORECASE
)
_BEHIND_VERB = 40  # characters: the word before, and blanks
_APPOSITION = re.compile(
    r"\s*(?:,|\s[–—-])\s+(?:an?|the|one|or|its|their|another)\s+", re.IGNORECASE
)
_BRACKET = re.compile(r"\s*[(\[][^()\[\]]*[)\]]")
_RESUMES = re.compile(rf",(?=\s+(?:{_FINITE})\b)", re.IGNORECASE)
_OTHER_CLAUSE = re.compile(
    r",?\s+(?:and|but|while|whereas|however|although|though)\s+"
    rf"(?=(?:the|there|no|both|neither|an?)\b(?:\s+[\w'-]+){{0,5}}?\s+(?:{_FINITE})\b)",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"[.!?\n]\s")
_VERB = re.compile(rf"\b(?:{_FINITE})\b", re.IGNORECASE)
_SEMICOLON = re.compile(r";\s+(?:it|this|these|they)\b", re.IGNORECASE)
_CARRIES_ON = re.compile(
    r":\s+(?=\w)|;\s+(?:it|this|these|they|that|its|their)\b|\s+(?:[–—]|-{1,2})\s+(?=\w)|,\s+(?!(?:including|during|following)\b)\w+ing\b|,\s+(?:it|they|this)\s+(?:is|are|was|has|have)\b|,?\s+(?:and|but|with)\s+(?:it|they|this|these|that|its|their|is|are|was|has|have|measur\w+|"
    r"located|extend\w*|appears?|causing|involv\w+)\b",
    re.IGNORECASE,
)
_SEQUEL = re.compile(
    r",?\s+(?:with\s+no|without|and\s+(?:(?:there\s+(?:is|are)|shows?|has|have)\s+)?no)\s+[^.;]*?"
    r"(?:abnormal|sign|evidence|disease|patholog|lesion|finding|issue)\w*",
    re.IGNORECASE,
)
_DENIAL = re.compile(r"\s*(?:no|not)\b(?!\s+(?:look|appear|seem)?\s*normal)", re.IGNORECASE)
_CLOSED = re.compile(r"\W*(?:is|are|was|were|does|do|did|has|have|can|could)\b", re.IGNORECASE)
_ASKS_ONE = re.compile(  # and no report: nothing else that the answer says is known
    r"\W*(?:is|are|was|were|does|do|did|has|have|can|could|which|where|how|(?:in|on|at)\s+(?:which|what)|"
    r"what\s+(?!(?:does|do|are|abnormal\w*|findings?)\b))",
    re.IGNORECASE,
)
_TAIL = re.compile(
    r"\s*[,;]\s+(?:and|but|while|whereas|with|without|which|as|because|since|so|relatively|quite|very|"
    r"one|both|each|all|likely|suggestive|consistent|\w+ing|\w+ed)\b|"
    r"\s+(?:as|because|since)\s+(?:both|all|no|one|only|some|most|such|[\w-]+\s+(?:is|are|was|were|can|has|"
    r"have))\b",
    re.IGNORECASE,
)
_NORMAL = re.compile(r"\b(?:normal|healthy|unremarkable)\b", re.IGNORECASE)
_ADJECTIVE = re.compile(r"\ban?\s+[\w-]+$", re.IGNORECASE)
_NOUN_ENDS = re.compile(r"\s+[a-z-]+\s*(?:[.,;]|$|\b(?:in|of|on|and|is|are)\b)", re.IGNORECASE)
_NEXT_CLAUSE = re.compile(r";\s+(?=\w)")
_TURNED = re.compile(r"\bnot\b|n['’]t\b", re.IGNORECASE)
_NOTHING = re.compile(r"\s*(?:no|not)\b", re.IGNORECASE)
_WITH = re.compile(r"\s+with\s+(?!(?:no|contrast)\b)", re.IGNORECASE)
_HEALTHY = re.compile(r"\b(?:normal|healthy|clear|unremarkable|no|not)\b", re.IGNORECASE)
_JOINT = re.compile(
    r",?\s+(?:and|but|while|whereas|however|although)\s+(?=(?:the|there|it|this|that|no|an?)\b"
    rf"(?:\s+[\w'-]+){{0,5}}?\s+(?:not\s+)?(?:{_FINITE})\b)"
    rf"|,?\s+(?:and|but)\s+(?=(?:{_FINITE})\b)",
    re.IGNORECASE,
)
_PLACE = re.compile(
    r",?\s+which\s+(?:is|lies)\s+(?:located\s+)?in(?:side)?\s+the\s+([\w ]+)", re.IGNORECASE
)
_MEANS = re.compile(
    r"\b(?:mean|indicat|suggest|consistent|typical|abnormal|unusual|location|refer|known|called|lead|caus|result|risk|severe)",
    re.IGNORECASE,
)
_REASON = re.compile(  # it gives the reason of whatever it stands behind
    r"\W*(?:because|given|where|thus|therefore|hence|thereby|as\s+(?:it|this|that|they|there|these|those|the|an?|"
    r"its|their|evidenced|indicated|shown|demonstrated)|since(?!\s+(?:the\s+)?(?:prior|previous|last|"
    r"earlier)))\b",
    re.IGNORECASE,
)
_JUDGES = re.compile(  # what a number or a degree means
    r"\b(?:normal\w*|abnormal\w*|limits?|range|enlarge\w*|dilat\w*|aneurysm\w*|ectatic|borderline|"
    r"widen\w*|narrow\w*|thick\w*|thin\w*|excess\w*|within|concern\w*|significant\w*|upper|lower|"
    r"small|large|mild\w*|moderate\w*|severe\w*|serious|benign|malignan\w*)\b",
    re.IGNORECASE,
)
_READING = re.compile(  # what a finding is read as, wherever it is
    r"\W*(?:which\s+(?:is|are|may\s+be|could\s+be|appears?\s+to\s+be)\s+|likely\s+)?"
    r"(?:consistent\s+with|compatible\s+with|suggestive\s+of|suggesting|indicative\s+of|indicating|"
    r"in\s+keeping\s+with|representing|which\s+(?:suggests?|indicates?|represents?))\b",
    re.IGNORECASE,
)
_PLACED = re.compile(
    r"\b(?:left|right|upper|lower|middle|side|sided|bilateral|both|unilateral)\b", re.IGNORECASE
)
_DESCRIBES = re.compile(  # behind "is solid": what shows that it is
    r"\s*[,;]\s+(?:with|and|but|while|having|showing)\b|\s+(?:with|and)\b", re.IGNORECASE
)
_IS = re.compile(
    r"\b(?:is|are|was|were|appears?|looks?|seems?|remains?)\s+(?:to\s+be\s+)?(?:\w+ly\s+)?$",
    re.IGNORECASE,
)
_OF_SIZE = re.compile(r"enlarg|normal|cardiomeg|increas|dilat|size", re.IGNORECASE)
_NEAR = re.compile(
    r",?\s+(?:near|close\s+to|adjacent\s+to|next\s+to|just\s+\w+)\s[^,;.]*|"
    r",\s+(?:above|below|behind|beneath|beside|in\s+front\s+of|at\s+the\s+level\s+of|abutting|"
    r"bordering)\s[^,;.]*",
    re.IGNORECASE,
)
_SINCE = re.compile(r"\W*since\s+(?:the\s+)?(?:prior|previous|last|earlier)\b", re.IGNORECASE)
_OF_MANY = re.compile(r",\s+(?:both|one|each|all)\b[^;.]*", re.IGNORECASE)
_LOCATED = frozenset({"zone", "organ"})
_BELONGS = content("part parts belong belongs organ organs component components member members")
_CLOSING = re.compile(r"[\s.!?\"'”’)\]*]*$")
_GENERAL = re.compile(
    r"\b(?:would|typically|generally|usually|commonly|often|sometimes|in\s+general|if|whether|"
    r"unless|refers?\s+to|(?:is|are)\s+defined\s+as|in\s+(?:some|many|most)\s+cases|"
    r"(?:can|could|may|might)\s+(?:also\s+)?(?:lead|cause|result|help|occur|affect|include|range|"
    r"indicate|vary|be\s+(?:caused|associated|due|related|an?))|"
    r"(?:original|candidate|correct|provided|given|reference|preferred|dispreferred)\s+answers?|"
    r"an?\s+AI|language\s+model|healthcare\s+professionals?|i\s+(?:cannot|can't|am\s+unable))\b"
    r"|\?\W*$",
    re.IGNORECASE,
)
_NO_NAME = r"(?!(?:The|This|That|These|Those|It|There|They|Yes|No|Here|Both|One)\b)"
_DEFINITION = re.compile(
    rf"(?:An?\s+|{_NO_NAME})[\w'-]+\s+(?:[\w'-]+\s+){{0,4}}?(?:\([^)]*\)\s+)?"
    r"(?:is|are|means?|represents?)\s+(?:(?:an?|any|one)\b|characteri|caused|used)"
    r"|(?:This|It|That)\s+(?:is|are|means?|represents?)\s+(?:an?|the|one|any)\s+"
    r"(?:[\w-]+\s+){0,4}?(?:accumulation|collection|conditions?|diseases?|disorders?|types?|form|"
    r"kind|technique|procedure|infection|inflammation|process|abnormality|term|growth|sacs?|"
    r"connection|organ|part|structure|plane|measure|method|sequence|tumou?r|cancer|modality|view|"
    r"device)\s+(?:of|in|that|which|where|caused|characteri[sz]ed|used)\b"
)


def explanation(
    text: str, position: int, end: int, *, narrowing: bool = True, adjacent: bool = False
) -> tuple[int, int] | None:
    """The characters of the first clause in text[position:end] that explains what is before it.

    `narrowing`: clauses that narrow a name down ("organs that digest food") count, too.
    `adjacent`: only clauses before the next verb do.

    >>> text = "A CT scan, which uses X-rays, is shown."
    >>> text[slice(*explanation(text, 9, len(text)))]
    ', which uses X-rays,'
    """
    stop = position + len(text[position:end]) - len(_closing(text[position:end]))
    bracket = _BRACKET.match(text, position, end)
    if bracket is not None:
        return bracket.span()
    link = _APPOSITION.match(text, position, stop)
    links = (_ANY if narrowing else _LOOSE).finditer(text, position, stop)
    link = link or next((m for m in links if not _is_predicate(text, m.start())), None)
    if link is not None and adjacent and _VERB.search(text, position, link.start()):
        return None
    if link is None:
        return None
    other = _OTHER_CLAUSE.search(text, link.end(), stop)
    medial = _RESUMES.search(text, link.end(), other.start() if other else stop)
    sentence = _SENTENCE_END.split(text[: link.start()])[-1]
    if medial is not None and not _VERB.search(sentence):
        return link.start(), medial.end()
    return link.start(), other.start() if other else stop


def _is_predicate(text: str, at: int) -> bool:
    """Whether what begins at `at` belongs to a verb or an adverb just before it."""
    return _PREDICATE.search(text, max(0, at - _BEHIND_VERB), at) is not None


def dependent(
    text: str, position: int, end: int, error_type: str, removed: str, new: str, question: str = ""
) -> tuple[int, int] | None:
    """The first clause in text[position:end] that leans on what was `removed` for `new` before it.

    What explains a finding, an organ or the study leans on its name; what follows a side, a size
    or a grade is about the finding, unless it takes up their words or says what they mean. What
    repeats the `question` belongs to the answer.
    """
    found = _dependent(text, position, end, error_type, removed, new)
    while found is not None and question and _repeats(text[slice(*found)], question):
        position = found[1]
        found = _dependent(text, position, end, error_type, removed, new)
    if error_type in _FOUND and _CLOSED.match(question):
        more = _NEXT_CLAUSE.search(text, position, end)  # it argues for the yes or no
        if more is not None and (found is None or more.start() < found[0]):
            return more.start(), end - len(_closing(text[position:end]))
    answers = _is_word(removed) and _is_word(new)
    tails = () if answers or not question else _TAIL.finditer(text, position, end)
    more = next((m for m in tails if not _is_adjective(text, m)), None)
    if more is None or error_type == "side" or not _ASKS_ONE.match(question):
        return found
    clause = text[more.start() : end].rstrip(". ")
    kept = _repeats(clause, question) or _is_in_same(clause, new)
    if (found is None or more.start() < found[0]) and not kept:
        return more.start(), end - len(_closing(text[position:end]))
    return found


def _is_word(text: str) -> bool:
    return text.strip(" .,").lower() in ("yes", "no")


def _is_adjective(text: str, tail: re.Match[str]) -> bool:
    """Whether a participle behind a comma is the second adjective of "a thick, enhancing wall"."""
    before = _ADJECTIVE.search(text[: tail.start()]) is not None
    return before and _NOUN_ENDS.match(text, tail.end()) is not None


def _repeats(clause: str, question: str) -> bool:
    """Whether a clause says only what the question does: ", which are part of the digestive
    system", where it asks what belongs to it."""
    query, stated = content(question), content(clause)
    return stated <= query or (bool(stated & query) and stated - _BELONGS <= query & stated)


def _dependent(
    text: str, position: int, end: int, error_type: str, removed: str, new: str
) -> tuple[int, int] | None:
    if _is_word(removed) and _is_word(new):
        return None  # what follows is the answer itself
    if error_type in EXPLAINED:
        found = explanation(
            text,
            position,
            end,
            narrowing=error_type != "presence",
            adjacent=error_type not in _FOUND,
        )
        more = _CARRIES_ON.search(text, position, end) if error_type in _FOUND else None
        if more is not None and (found is None or more.start() < found[0]):
            return more.start(), end - len(_closing(text[position:end]))
        if error_type == "presence" and _HEALTHY.search(f"{removed} {new}"):
            sequel = None if _DENIAL.match(new) else _SEQUEL.search(text, position, end)
            if sequel is not None and (found is None or sequel.start() < found[0]):
                return sequel.start(), end - len(_closing(text[position:end]))
        turned = _NOTHING.match(new) or _TURNED.search(removed) or _NORMAL.search(removed)
        turned = turned or _NOTHING.match(removed)
        more = _WITH.search(text, position, end) if turned else None
        if error_type == "presence" and more and (found is None or more.start() < found[0]):
            return more.start(), end - len(_closing(text[position:end]))
        found = None if found and _is_in_same(text[slice(*found)], new) else found
        return _earlier(found, _beside(text, position, end, error_type))
    if more := _SEMICOLON.search(text, position, end):
        return more.start(), end - len(_closing(text[position:end]))
    before = text[:position].removesuffix(new or removed).removesuffix(removed)
    if error_type == "attribute" and _IS.search(before):
        more = _DESCRIBES.search(text, position, end)
        if more is not None and not _OF_SIZE.search(f"{removed} {new}"):
            return more.start(), end - len(_closing(text[position:end]))
    found = _explaining(text, position, end, error_type, removed)
    return _earlier(found, _beside(text, position, end, error_type))


def _explaining(
    text: str, position: int, end: int, error_type: str, removed: str
) -> tuple[int, int] | None:
    """The first clause that takes up the words of a side, a size or another value, gives its
    reason, or says what it means. What the finding is read as is of the finding."""
    words = set(re.findall(r"\w{4,}|left|right", removed.lower()))
    while (found := explanation(text, position, end)) is not None and found[1] > found[0]:
        clause = text[slice(*found)]
        judged = error_type in ("size", "count", "grade") and _JUDGES.search(clause)
        shares = bool(words & set(re.findall(r"\w+", clause.lower())))
        read_as = error_type in ("side", "zone") and _READING.match(clause)
        means = _MEANS.search(clause) and not (read_as and not _PLACED.search(clause))
        of_value = error_type == "attribute" and not _OF_SIZE.search(removed)
        of_value = of_value and not _SINCE.match(clause)
        if means or judged or shares or of_value or _REASON.match(clause):
            return found
        position = found[1]
    return None


def _beside(text: str, position: int, end: int, error_type: str) -> tuple[int, int] | None:
    """What belongs to a place or a number that is replaced: ", near the apex", ", both above"."""
    pattern = _NEAR if error_type in _LOCATED else _OF_MANY if error_type == "count" else None
    found = pattern.search(text, position, end) if pattern else None
    return found.span() if found else None


def _earlier(one: tuple[int, int] | None, other: tuple[int, int] | None) -> tuple[int, int] | None:
    """The one of two clauses that begins first."""
    return min((c for c in (one, other) if c is not None), default=None)


def clauses(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The main clauses of text[start:end]: "the scan is a CT, and it shows the liver".

    >>> list(clauses("it is a CT, and it shows the liver", 0, 34))
    [(0, 16), (16, 34)]
    """
    starts = [start, *(match.end() for match in _JOINT.finditer(text, start, end))]
    yield from zip(starts, [*starts[1:], end], strict=True)


def is_general(sentence: str, first: bool) -> bool:
    """Whether a sentence speaks of no image: a definition, a rule, a condition, of answers."""
    link = re.search(r",?\s+which\b", sentence)
    main = sentence[: link.start()] if link else sentence
    if _GENERAL.search(main):
        return True
    return not first and _DEFINITION.match(main) is not None


def _is_in_same(clause: str, new: str) -> bool:
    """ "which is in the abdomen": also true of the liver that takes the spleen's place."""
    place = _PLACE.fullmatch(clause)
    if place is None:
        return False
    onto = ontology()
    organ = onto.attributes["organ"]
    places, organs = (
        [e.value for e in onto.entries.get(phrase_words(name), ()) if e.attribute == "organ"]
        for name in (place[1], new)
    )
    return any(organ.related(one, other) for one in places for other in organs)


def _closing(text: str) -> str:
    match = _CLOSING.search(text)
    return match.group() if match else ""
