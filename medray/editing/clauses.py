"""The clauses of a sentence that lean on what stands before them.

"The image is a CT scan, which uses X-rays": whoever replaces the CT must take the clause along.
"""

from __future__ import annotations

import re

from medray.editing.ontology.lexicon import ontology, phrase_words

# the errors whose correction takes along what explains them
EXPLAINED = frozenset({"presence", "kind", "organ", "modality", "plane", "count"})

_MEANS = re.compile(r"\b(?:mean|indicat|suggest|consistent|typical)", re.IGNORECASE)
_LINKS = (
    r"which|who|whose|where(?:by|as|in)?|because|since|so(?:\s+that)?|thus|therefore|hence|thereby|"
    r"as\s+(?:it|this|that|they|there|these|those|evidenced|indicated|seen|shown|demonstrated|"
    r"opposed|the|a|an|its|their|well\s+as)|"
    r"due\s+to|owing\s+to|caused|causing|causes|resulting|leading|giving|"
    r"meaning|indicating|indicative|indicates|suggesting|suggestive|suggests|implying|implies|"
    r"signifying|representing|reflecting|confirming|demonstrating|showing|revealing|"
    r"consistent|inconsistent|compatible|in\s+keeping|associated|secondary|related|likely|possibly|"
    r"probably|perhaps|known|also|called|named|referred|characteri[sz]ed|defined|described|"
    r"i\.?e\.?|e\.?g\.?|such\s+as|like|including|includes|particularly|especially|specifically|"
    r"namely|rather|instead|providing|provides|allowing|allows|making|makes|affecting|involving|"
    r"compressing|obstructing|containing|composed|consisting|used|using|often|typically|"
    r"commonly|usually|generally|focusing|focused|with\s+(?:a|the)\s+focus|for\s+example|"
    r"that\s+(?:is|are|was|were|has|have|had|can|could|may|might|would|will|should|occurs?|"
    r"causes?|affects?|uses?|shows?|allows?|provides?|divides?|helps?|involves?|extends?|"
    r"appears?|contains?|includes?|surrounds?|forms?)"
)
_LINK = re.compile(rf"(?P<comma>\s*[,;–—:]|\s+-)?\s+(?:{_LINKS})\b", re.IGNORECASE)
_APPOSITION = re.compile(
    r"\s*(?:,|\s[–—-])\s+(?:an?|the|one|or|its|their|another)\s+", re.IGNORECASE
)
_BRACKET = re.compile(r"\s*[(\[][^()\[\]]*[)\]]")
_FINITE = r"is|are|was|were|shows?|has|have|appears?|can|could|does|do|measures?|remains?|seems?"
_RESUMES = re.compile(rf",(?=\s+(?:{_FINITE})\b)", re.IGNORECASE)
_OTHER_CLAUSE = re.compile(
    r",?\s+(?:and|but|while|whereas|however|although|though)\s+"
    r"(?=(?:the|there|no|both|neither|an?)\b)",
    re.IGNORECASE,
)
_PLACE = re.compile(
    r",?\s+which\s+(?:is|lies)\s+(?:located\s+)?in(?:side)?\s+the\s+([\w ]+)", re.IGNORECASE
)
_CARRIES_ON = re.compile(
    r",?\s+(?:and|but|with)\s+(?:it|they|this|these|that|its|their|is|are|was|has|have|measur\w+|"
    r"located|extend\w*|appears?|causing|involv\w+)\b",
    re.IGNORECASE,
)
_CLOSING = re.compile(r"[\s.!?\"'”’)\]*]*$")
_GENERAL = re.compile(
    r"\b(?:would|typically|generally|usually|commonly|often|sometimes|in\s+general|if|whether|"
    r"unless|refers?\s+to|(?:is|are)\s+defined\s+as|in\s+(?:some|many|most)\s+cases|"
    r"(?:original|candidate|correct|provided|given|reference|preferred|dispreferred)\s+answers?|"
    r"an?\s+AI|language\s+model|healthcare\s+professionals?|i\s+(?:cannot|can't|am\s+unable))\b",
    re.IGNORECASE,
)
_DEFINITION = re.compile(
    r"(?:(?:An?\s+)?(?!(?:The|This|That|These|Those|It|There|They|Yes|No|Here)\b)[\w'-]+\s+"
    r"(?:[\w'-]+\s+){0,4}?(?:\([^)]*\)\s+)?|(?:This|It|That)\s+)"
    r"(?:is|are|means?|represents?)\s+(?:an?|the|one|any)\s+(?:[\w-]+\s+){0,4}?"
    r"(?:accumulation|collection|condition|conditions|disease|disorder|disorders|type|types|form|"
    r"kind|technique|procedure|infection|inflammation|process|abnormality|abnormalities|term|"
    r"growth|sac|sacs|connection|organ|part|structure|plane|measure|method|sequence|tumou?r|"
    r"cancer|modality|view|device)\s+(?:of|in|that|which|where|caused|characteri[sz]ed|used)\b",
    re.IGNORECASE,
)


def explanation(text: str, position: int, end: int) -> tuple[int, int] | None:
    """The characters of the first clause in text[position:end] that explains what is before it.

    >>> text = "A CT scan, which uses X-rays, is shown."
    >>> text[slice(*explanation(text, 9, len(text)))]
    ', which uses X-rays,'
    """
    stop = position + len(text[position:end]) - len(_closing(text[position:end]))
    bracket = _BRACKET.match(text, position, end)
    if bracket is not None:
        return bracket.span()
    apposition = _APPOSITION.match(text, position, stop)
    link = apposition or _LINK.search(text, position, stop)
    if link is None:
        return None
    other = _OTHER_CLAUSE.search(text, link.end(), stop)
    medial = _RESUMES.search(text, link.end(), other.start() if other else stop)
    if medial is not None:
        return link.start(), medial.end()
    return link.start(), other.start() if other else stop


def dependent(
    text: str, position: int, end: int, error_type: str, removed: str, new: str
) -> tuple[int, int] | None:
    """The first clause in text[position:end] that leans on what was `removed` for `new` before it.

    What explains a finding, an organ or the study leans on its name; what follows a side, a size
    or a grade is about the finding, unless it takes up their words or says what they mean.
    """
    if removed.strip(" .,").lower() in ("yes", "no"):
        return None  # what follows is the answer itself
    if error_type in EXPLAINED:
        found = explanation(text, position, end)
        if error_type in ("presence", "kind") and (more := _CARRIES_ON.search(text, position, end)):
            if found is None or more.start() < found[0]:
                return more.start(), end - len(_closing(text[position:end]))
        return None if found and _is_in_same(text[slice(*found)], new) else found
    words = {word for word in re.findall(r"\w{4,}|left|right", removed.lower())}
    while (found := explanation(text, position, end)) is not None and found[1] > found[0]:
        clause = text[slice(*found)]
        if _MEANS.search(clause) or words & set(re.findall(r"\w+", clause.lower())):
            return found
        position = found[1]
    return None


def _is_in_same(clause: str, new: str) -> bool:
    """ "which is in the abdomen": also true of the liver that takes the spleen's place."""
    place = _PLACE.fullmatch(clause)
    if place is None:
        return False
    organ = ontology().attributes["organ"]
    values = [
        [e.value for e in ontology().entries.get(phrase_words(name), ()) if e.attribute == "organ"]
        for name in (place[1], new)
    ]
    return any(organ.related(one, other) for one in values[0] for other in values[1])


def clause_starts(text: str, start: int, end: int) -> list[int]:
    """Where the main clauses of text[start:end] begin: "the scan is a CT, and it shows the liver".

    >>> clause_starts("it is a CT, and it shows the liver", 0, 34)
    [0, 16]
    """
    joint = re.compile(
        r",?\s+(?:and|but|while|whereas|however|although)\s+(?=(?:the|there|it|this|that|no|an?)\b"
        r"(?:\s+[\w'-]+){0,5}?\s+(?:not\s+)?(?:" + _FINITE + r")\b)"
        r"|,?\s+(?:and|but)\s+(?=(?:" + _FINITE + r")\b)",
        re.IGNORECASE,
    )
    return [start, *(match.end() for match in joint.finditer(text, start, end))]


def is_general(sentence: str, first: bool) -> bool:
    """Whether a sentence speaks of no image: a definition, a rule, a condition, of answers."""
    main = sentence
    if link := re.search(r",?\s+which\b", sentence):
        main = sentence[: link.start()]
    if _GENERAL.search(main):
        return True
    return not first and _DEFINITION.match(main) is not None


def _closing(text: str) -> str:
    match = _CLOSING.search(text)
    return match.group() if match else ""
