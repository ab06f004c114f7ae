"""English that an edit must not leave behind: articles, number, negation, adjectives for nouns."""

from __future__ import annotations

import functools
import re

from medray.editing.language.grammar import EPONYMS, article, is_plural, takes_no_article
from medray.editing.ontology.lexicon import ontology, phrase_words, plural

_ADJECTIVE_NOUNS = frozenset(
    phrase_words(
        "canal signal interval hospital clinic topic material individual integral total trial "
        "potential proposal referral pedal normal abnormal visible ovary capillary boundary "
        "summary category territory history memory laboratory molar collar pillar arrival removal"
    )
)
_PATTERNS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"\bno\s+(?:an?|the|no|not|also|any|or|and|one|is|are|of|in|with|some|every)\b",
        r"\b(?:consistent\s+with|compatible\s+with|suggest\w*|indicat\w+|represent\w*|due\s+to|"
        r"caused\s+by|related\s+to|signs?\s+of\s+|likely)\s+(?:of\s+)?no\b",
        r"\bnot\s+(?:no|not|nor|without)\b",
        r"\b(?:an?|the)\s+(?:an?|the|no|is|are|and|or|of|in|with|any|some|one\s+of)\b",
        r"\b(?:are|were)\s+(?:an?|one|another)\s+(?!(?:of|or|few|number|couple|total|pair|lot|"
        r"variety|series|result|sign|part|possible|common|type|group|set|kind|form)\b)",
        r"\b(?:is|was)\s+(?:two|three|four|five|several|multiple|many|both|numerous)\b",
        r"\b(?:of|in|on|at|with|by|from|the|an?|and|or|to|for)\s*(?:[.,;!?]|$)",
        r"\b(?:upper|lower|middle|mid)\s+of\b",
        r"\b(?:does|do|did)\s+(?:does|do|did)\b",
        r"\b(?:does|do|did)\s+not\s+(?:is|are|was|were|shows|has|appears|contains|no|an?)\b",
        r"\b(?:is|are|was|were)\s+(?:is|are|was|were|shows?|has|have|does|do)\b",
        r"\bthere\s+(?:is|are)\s+(?:not|also\s+not)\s+(?!(?:an?|any|enough|sufficient|one|only)\b|\W*$)",
        r"\bno\s+\w+ing\s+out\b|"
        r"(?<!there)(?<!it)(?<!they)\s(?:is|are|was|were|be|been|can|to)(?:\s+not)?\s*[.!?]\W*$",
        r"[,;:]\s*[,;:.]|\(\s*\)|\s[.,;!?](?!\d)|\b(?:and|or|but)\s*[,;.]|\.\.(?!\.)",
        r"(?<![siu])s,\s+which\s+(?:is|was|has|shows)\b",
        r"(?<!and)\s+(?:the|an?|one)\s+(?:heart|liver|spleen|brain|pancreas|stomach|bladder|lung|kidney|"
        r"chest|abdomen|nodule|mass|opacity)\s+(?:are|were|have|show|appear)\b",
        r"\b(?:lungs|kidneys|eyes|ventricles|nodules|masses|opacities|lobes)\s+(?:is|was|has|shows|"
        r"appears)\b",
        r"\b(\w+)\s+\1\b(?<!\bthat that)(?<!\bhad had)",
        r"\b(?:one|each|every|single)\s+(?:lungs|kidneys|hearts|nodules|masses|lesions|hands|"
        r"images|lobes|ribs|organs|vertebrae|breasts|eyes)\b",
        r"\b(?:two|three|four|five|six|several|multiple|many|both)\s+(?:lung|kidney|heart|nodule|"
        r"mass|lesion|hand|image|lobe|rib|organ|vertebra|breast|type|kind|sign|area|eye)\b(?!\s+\w{2,}s\b)(?!-)",
        r"\bnormal\s+in\s+size\s+in\s+size\b|\bborderline\s+normal\b",
        r"\b(?:mildly|moderately|markedly|severely|slightly|grossly|massively|minimally)\s+normal\b|"
        r"\btop\s+enlarged\b|\b(?:old|remote|chronic)\s+acute\b|\bacute\s+(?:old|healed|chronic)\b",
        r"\ban?\s+(?:\w+\s+){0,2}bilateral\s+(?:\w+\s+){0,2}(?:effusion|opacity|nodule|infiltrate|"
        r"fracture|consolidation)\b",
        r"\bbilateral\s+(?:[\w-]+\s+){0,2}?(?:lung|kidney|hemithorax|lobe|zone|base|apex|hilum|side|sinus|scapula|clavicle|humerus|femur|"
        r"shoulder|hip|knee|breast|axilla|hemidiaphragm|atrium|ventricle|rib)\b|"
        r"\b(?:both|bilateral)\b[^.;]*\bonly\b",
        r"(?<!and\s)\b(?:left|right)\s+(?:[\w-]+\s+)?effusions\b|\b(?:midline|normal|central|clear)\s+side\b",
        r"\b(?:consistent|compatible|keeping|associated)\s+without\b|"
        r"\b(?:by|from|to|for|into|through|behind|over|against)\s+no\b",
        r"\bno\b[^,.;]*\bwith\s+no\b|\bno\s+(?:healthy|normal)\b|\balso\s+(?:does|do|is|are)\s+not\b",
        r"\b(left|right)\s+(?:is\s+)?(?:greater|more|larger|worse|smaller|less)\s+than\s+(?:the\s+)?\1\b",
        r"\bin\s+the\s+(?:[\w-]+\s+){0,2}zone\s+(?:consolidation|effusion|opacity|nodule|edema)\b",
        r"\b(?:in|on|of|at|to|from|with)\s+(?:in|on|of|at|from|with)\b",
        r"\bthe\s+(\w+)\s+(?:is|are)\s+(?:\w+\s+)?in\s+the\s+\1\b",
        r"\bthe\s+(?:underneath|under|below|above|behind|near|beside|between|along|around)\b",
        r"\bthe\s+(?:axial|coronal|sagittal|transverse|PA|AP)\s*(?:[.,;]|$)",
        r"\b(?:is|are|was|were)\s+not\s+(?:(?!(?:but|and|or)\b)\w+\s+){0,6}?"
        r"\b(?:not|no|without|absent)\b",
        r"\bno\b[^,.;]*\bwithout\b",
        r"\b(?:does|do|did|is|are|was|were)\s+not\s+(?:(?!(?:but|and|or)\b)[\w-]+\s+)*?"
        r"(?:without|only)\b",
        r"\bon\s+the\s+(left|right)\s+than\s+(?:on\s+)?(?:the\s+)?\1\b|\benlarged,?\s+(?:\w+,?\s+and\s+)?"
        r"(?:and\s+)?(?:shape|position|contour|configuration|location)\b",
        r"\bof\s+(?:enlarged|dilated)\s+size\b|\b\w+s\s+in\s+the\s+\w+\s+is\s+\w+s\b",
        r"\b(?:FLAIR|DWI|ADC|STIR)-weighted\b|\blimits?\s+of\s+(?!normal)\w+|\b(?:left|right)ward\b",
        r"\b(left|right)\b[^.;]*?\b(?:compared\s+(?:with|to)|than|versus|relative\s+to)\s+(?:the\s+)?\1\b",
        r"^\W*no\s+(?:[\w-]+\s+)+?(?:intact|clear|normal|unremarkable|stable|unchanged|preserved)\W*$",
        r"\bboth\b[^.;,]*?\b(?:do|does|did|is|are|was|were|can|could)\s+not\b",
        r"\ban?\s+(?:\w+\s+)?tissue\s*(?:[.,;]|$)|\bfollowing(?:\s+\w+)?\s*[.;]?$",
        r"\b(?:finding|abnormality|diagnosis|disease|condition|problem)s?\s+(?:is|are|was)\s+no\b",
        r"^\W*no\s+(?!(?:there|it|this|that|these|they|the)\b)(?:[\w/-]+\s+){1,4}?(?:is|are|was|were|remains?)\s+(?!(?:(?:\w+ly|also|now|currently)"
        r"\s+)?(?:in\s+(?:place|situ)|seen|noted|identified|present|visible|visuali[sz]ed|evident|demonstrated|appreciated|"
        r"detected|found|observed|apparent|shown|depicted|recogni[sz]ed|discernible|suspected)\b)\w",
    )
)
_THERE_ARE = re.compile(
    r"\bthere\s+(?:are|were)\s+([^.,;:]+?)(?=\s+(?:in|on|of|at|with|within|involving|overlying|seen|"
    r"noted|present|throughout|along)\b|[.,;:]|\s*$)",
    re.IGNORECASE,
)
_THERE_IS = re.compile(
    r"\bthere\s+(?:is|was)\s+([^.,;:]+?)(?=\s+(?:in|on|of|at|with|within|involving|overlying|seen|"
    r"noted|present|throughout|along|and|or|which|that|whose|where|to|by|from|consistent|\w+ing)\b|[.,;:]|\s*$)",
    re.IGNORECASE,
)
_PLURAL = re.compile(
    r"\w+(?<!s)s\b|\w+(?:ae|ia|ea|ula|ra|ta|ci|li|chi|men|usen)\b|\band\b|\b(?:two|three|four|many|several|few|"
    r"multiple|both|no\s+\w+s|lines|findings)\b",
    re.IGNORECASE,
)
_ARTICLE = re.compile(r"\b(an?)\s+([\w][\w-]*)", re.IGNORECASE)
_BARE_ADJECTIVE = re.compile(
    r"\b(?:the|an?)\s+(?:[\w-]+\s+)??(\w+(?:al|ic|ar|ary|ory|ous|ive))\s*(?=[.,;:)]|$)",
    re.IGNORECASE,
)
_LOWER_START = re.compile(r"(?<=[a-z]{3})\.\s+[a-z]")
_MID_CAPITAL = re.compile(r"(?<=[a-z,]\s)[A-Z][a-z]{2,}\b")


def flaw(text: str, sampled: str) -> bool:
    """Whether `text` has a fault of grammar that the sampled sentence does not have."""
    if any(_new(pattern, text, sampled) for pattern in _PATTERNS):
        return True
    return (
        _wrong_article(text, sampled)
        or _mass_noun_counted(text, sampled)
        or _adjective_for_noun(text, sampled)
        or _are_one(text, sampled)
        or _capital_inside(text, sampled)
        or _new(_LOWER_START, text, sampled)
        or _unbalanced(text) > _unbalanced(sampled)
    )


def _new(pattern: re.Pattern[str], text: str, sampled: str) -> bool:
    if pattern.search(text) is None:  # as a rule
        return False
    return any(match.group() not in sampled for match in pattern.finditer(text))


def _wrong_article(text: str, sampled: str) -> bool:
    return any(
        match[1].lower() != article(match[2]) and match.group() not in sampled
        for match in _ARTICLE.finditer(text)
        if match[2].lower() not in ("hour", "honest") and not (match[1] == "A" and match.start())
    )


def _mass_noun_counted(text: str, sampled: str) -> bool:
    patterns = (_counted_mass_noun(), _article_with_plural(), _bare_noun(), _the_disease())
    return any(_new(pattern, text, sampled) for pattern in patterns)


def _adjective_for_noun(text: str, sampled: str) -> bool:
    for match in _BARE_ADJECTIVE.finditer(text):
        if match[1].lower() not in _ADJECTIVE_NOUNS and match.group() not in sampled:
            return True
    return False


def _are_one(text: str, sampled: str) -> bool:
    """ "There are mastectomy", "there is changes"."""
    one = [m for m in _THERE_ARE.finditer(text) if not _PLURAL.search(m[1])]
    many = [m for m in _THERE_IS.finditer(text) if is_plural(m[1])]
    return any(match.group() not in sampled for match in (*one, *many))


def _capital_inside(text: str, sampled: str) -> bool:
    return any(
        match.group() not in sampled and match.group().lower() not in EPONYMS
        for match in _MID_CAPITAL.finditer(text)
    )


def _unbalanced(text: str) -> int:
    return sum(abs(text.count(a) - text.count(b)) for a, b in ("()", "[]", "“”"))


@functools.cache
def _counted_mass_noun() -> re.Pattern[str]:
    """ "a large free air", "two edema"."""
    findings = ontology().findings.values()
    names = {f.name for f in findings if f.mass_noun}
    names |= {"free air", "fluid", "air", "free fluid", "edema", "gas", "ascites", "contrast"}
    nouns = "|".join(sorted(map(re.escape, names), key=len, reverse=True))
    counts = "an?|one|two|three|four|several|multiple|many|another"
    return re.compile(
        rf"\b(?:{counts})\s+(?:[\w-]+\s+){{0,3}}?(?:{nouns})(?=[\s.,;]|$)(?!\s+(?:"
        rf"level|collection|filled|pocket|trapping|bubble|fluid)\b)",
        re.IGNORECASE,
    )


@functools.cache
def _article_with_plural() -> re.Pattern[str]:
    """ "a pleural effusions"."""
    names = {plural(finding.name) for finding in ontology().findings.values()}
    names |= {"lungs", "kidneys", "hearts", "lobes", "ribs", "bones", "ventricles", "images"}
    nouns = "|".join(sorted(map(re.escape, names), key=len, reverse=True))
    return re.compile(rf"\b(?:an?|one)\s+(?:[\w-]+\s+){{0,2}}?(?:{nouns})\b", re.IGNORECASE)


@functools.cache
def _bare_noun() -> re.Pattern[str]:
    """ "shows abscess", "an amount of cavity"."""
    findings = (f for f in ontology().findings.values() if not f.mass_noun and not f.device)
    names = {f.name for f in findings if not takes_no_article(f.name)}
    nouns = "|".join(sorted(map(re.escape, names), key=len, reverse=True))
    return re.compile(
        rf"\b(?:amount\s+of|shows?|demonstrates?|reveals?|depicts?|displays?)\s+(?:{nouns})"
        r"(?=\s*(?:[.,;]|$)|\s+(?:in|on|of|at|with|within)\b)",
        re.IGNORECASE,
    )


@functools.cache
def _the_disease() -> re.Pattern[str]:
    """ "The diagnosis is the tuberculosis"."""
    names = {f.name for f in ontology().findings.values() if f.mass_noun and not f.generic}
    nouns = "|".join(sorted(map(re.escape, names), key=len, reverse=True))
    return re.compile(rf"\b(?:is|are)\s+the\s+(?:{nouns})\s*(?:[.,;]|$)", re.IGNORECASE)
