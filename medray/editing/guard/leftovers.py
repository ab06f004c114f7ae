"""What an edit leaves standing around what it changed, and what no edit can mend."""

from __future__ import annotations

import re

from medray.editing.language.grammar import takes_no_article
from medray.editing.language.negation import n_negations
from medray.editing.language.text import stem
from medray.editing.ontology.lexicon import phrase_words
from medray.editing.reading.claims import read
from medray.records import EditedSentence

_EARLIER = (
    r"(?:compared|comparison|relative)\s+(?:to|with)\s+(?:the\s+)?"
    r"(?:prior|previous|last|earlier|old)|since\s+the\s+(?:prior|previous|last)|"
    r"\b(?:interval|in\s+the\s+interim|prior\s+(?:study|exam\w*|film|radiograph|imaging)|"
    r"previous\s+(?:study|exam\w*|film|radiograph|imaging))\b"
)
# Per direction: what a sentence says of a change, and the words by which a reference confirms it.
# "Increased opacity" is no change, "has increased" is one.
_CHANGES = tuple(
    (re.compile(phrase, re.IGNORECASE), re.compile(stated, re.IGNORECASE))
    for phrase, stated in (
        (
            r"\b(?:has|have|had|is|are|was)\s+(?:now\s+|slightly\s+|mildly\s+|markedly\s+|"
            r"significantly\s+)*(?:increased|worsened|progressed|grown|enlarged\s+since|worse)\b|"
            r"\b(?:worsening|enlarging|progressing|progressive|increasing|growing)\b|"
            r"\b(?:interval|slight|mild)\s+(?:increase|worsening|progression|enlargement|growth)\b|"
            r"\b(?:larger|worse|more\s+\w+)\s+than\s+(?:before|on\s+the\s+(?:prior|previous))",
            r"increas|wors|progress|\bgrow|\blarger|enlarging|enlargement\s+of|has\s+enlarged",
        ),
        (
            r"\b(?:has|have|had|is|are|was)\s+(?:now\s+|slightly\s+|mildly\s+|markedly\s+|"
            r"significantly\s+|nearly\s+|completely\s+)*(?:decreased|improved|diminished|"
            r"shrunk|cleared|better)\b|\b(?:improving|resolving|decreasing|clearing)\b|"
            r"\b(?:interval|slight|mild)\s+(?:decrease|improvement|resolution|clearing)\b|"
            r"\b(?:smaller|better|less\s+\w+)\s+than\s+(?:before|on\s+the\s+(?:prior|previous))",
            r"decreas|improv|diminish|shrunk|shrink|clear|resol|smaller|better",
        ),
        (
            r"\b(?:unchanged|stable|persistent|persists|again\s+(?:seen|noted)|"
            r"redemonstrated|no\s+(?:significant\s+)?(?:interval\s+)?change)\b",
            r"unchanged|stable|persist|again|redemonstrat|no\s+(?:significant\s+|interval\s+)*change",
        ),
        (
            r"\b(?:has|have)\s+(?:\w+ly\s+)?(?:developed|appeared)\b|\b(?:is|are|an?)\s+new\b|"
            r"\bnew\s+(?:since|compared|finding|onset)\b|\bnewly\b|\brecurrent\b",
            r"develop|appear|new|recurr",
        ),
        (
            _EARLIER,
            r"compar|since|interval|prior|previous|interim|earlier|wors|improv|increas|decreas|"
            r"progress|unchanged|stable|persist|resol|\bnew\b",
        ),
    )
)
_DENIED_MANY = re.compile(
    r"\bno\s+(?:[\w-]+\s+){0,2}?(?:bilateral|unilateral|multiple|several|numerous|many|scattered|both)\b|"
    r"\bnot\s+\w+\s+(?:bilateral|unilateral|multiple|several|numerous|many|scattered)\b|"
    r"\b(?:no|not|without)\b[^.;]*\bboth\b|"
    r"\b(?:small|large|tiny|moderate|bilateral|multiple|several|scattered)\s+(?:[\w-]+\s+)*?"
    r"(?:is|are|was|were)\s+not\b",
    re.IGNORECASE,
)
_DENIED_MORE = re.compile(
    r"\b(?:no|not|without)\b(?!,|\s+\w+er\s+than\b)[^.;]*(?:,\s*|\s)(?:larger|greater|more|worse|smaller|most|slightly\s+"
    r"(?:larger|greater|more)|right\s+(?:greater|more)|left\s+(?:greater|more)|predominantly|"
    r"especially|particularly|mainly|mostly|primarily|measuring|(?:concerning|worrisome|suspicious)"
    r"\s+for|bilaterally)\b|"
    r"\bno\s+(?:[\w-]+\s+){1,4}?(?<!consistent\s)(?<!compatible\s)(?<!keeping\s)with\b|"
    r"\bnot\s+(?:show|demonstrate|reveal|contain|include|have|depict|display|exhibit)\s+(?:[\w-]+\s+)"
    r"{1,5}?(?<!consistent\s)(?<!compatible\s)with\b|\bno\s+(?:\w+\s+)?amount\s+of\b",
    re.IGNORECASE,
)
_CONTRAST = re.compile(
    r"\b(?:but|although|though|however|yet|whereas|while|despite|except|nevertheless)\b", re.I
)
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_THE = re.compile(r"\W*the\s+(\w+)", re.IGNORECASE)
_A_THING = re.compile(r"\W*an?\s", re.IGNORECASE)
_BARE_THING = re.compile(  # a subject without an article, and no plural
    r"\W*(?!(?:an?|the|there|no|this|these|it)\b)(?:[\w-]+\s+)*?([\w-]*[^s\W])\s+(?:is|was|has)\b",
    re.IGNORECASE,
)
_NORMAL_WITH = re.compile(
    r"\b(?:normal|clear|straight|unremarkable|intact|midline|healthy)\s+(?:in\s+\w+\s+)?,?\s*with\s+"
    r"(?!no\b|normal\b|out\b|a\s+normal)",
    re.IGNORECASE,
)
_CLEAR = re.compile(
    r"\b(?:lungs?(?:\s+fields?)?|image|picture|x-?ray|radiograph|scan|study|film|everything)\s+"
    r"(?:(?!not\b)[\w-]+\s+){0,4}(?:clear|normal|healthy|unremarkable)\b",
    re.IGNORECASE,
)
_NORMAL = re.compile(r"\b(?:normal|unremarkable|clear|intact|healthy)\b", re.IGNORECASE)
_IS_NORMAL = re.compile(
    r"\b([a-z]{4,})\s+(?:is|are|appears?)\s+(?:\w+ly\s+)?(?:normal|unremarkable|clear|intact|healthy)\b",
    re.I,
)
_WITHOUT = re.compile(r"\b(?:without|with\s+no)\b", re.IGNORECASE)
_WITH = re.compile(r"(?<!consistent\s)(?<!compatible\s)\bwith\b(?!\s+no\b)", re.IGNORECASE)
_TASK = re.compile(
    r"\b(?:original|given|provided|reference|correct)\s+(?:answer|question|caption|response)s?\b|"
    r"\bdispreferred\b|\bcontradict(?:ory|s|ing)\b|\bgiven\s+the\s+task\b|"
    r"\bprovided\s+(?:information|context|text)\b|\b(?:AI|language)\s+(?:language\s+)?model\b|"
    r"\bas\s+an\s+(?:AI|assistant)\b",
    re.IGNORECASE,
)
_WHICH_PART = re.compile(r"\b(?:which|what)\s+part\b|\bwhere\b", re.IGNORECASE)
_ORGAN_IS = re.compile(r"\W*the\s+organs?\b[^,;.]*?\b(?:is|are)\s+the\b", re.IGNORECASE)
_YES_NO = re.compile(r"^\W*(?:yes|no)\b\s*,\s*", re.IGNORECASE)
_MORE_SAID = re.compile(r"[,;]|\b(?:and|with|or|but)\b", re.IGNORECASE)


def changed_since(text: str, reference: str) -> bool:
    """Whether a text tells of a change since an earlier study that the reference does not state."""
    return any(
        phrase.search(text) is not None and stated.search(reference) is None
        for phrase, stated in _CHANGES
    )


def describes_denied(text: str, sampled: str) -> bool:
    """Whether a new denial keeps what described the finding: "no nodules, mainly apical"."""
    if n_negations(text) <= n_negations(sampled):
        return False
    return any(pattern.search(text) is not None for pattern in (_DENIED_MANY, _DENIED_MORE))


def measures_turned(sentence: str, edited: EditedSentence, reference: str) -> bool:
    """Whether a number measures what was turned into its opposite: "normal … with a ratio above
    0.5"."""
    types = {span.error_type for span in edited.text_spans}
    turned = n_negations(edited.text) != n_negations(sentence) or "attribute" in types
    numbers = set(_NUMBER.findall(edited.text)) - set(_NUMBER.findall(reference))
    return turned and bool(numbers & set(_NUMBER.findall(sentence)))


def praises_turned(sentence: str, text: str) -> bool:
    """Whether "without" became "with" behind a word for normal ("straight with scoliosis"), or
    behind no finding at all: "the veins are patent with a thrombus"."""
    if _NORMAL_WITH.search(text) is not None and _NORMAL_WITH.search(sentence) is None:
        return True
    before, after = _WITHOUT.search(sentence), _WITH.search(text)
    if before is None or after is None or _WITHOUT.search(text) or _WITH.search(sentence):
        return False
    stated = [s.head.start for s in read(text).statements if s.head and s.subject == "lesion"]
    found = [start > after.start() for start in stated]
    return any(found) and all(found)


def clear_left(sentence: str, text: str) -> bool:
    """Whether a denial became an assertion beside lungs or an image still called clear."""
    if n_negations(text) >= n_negations(sentence):
        return False
    return _CLEAR.search(sentence) is not None and _CLEAR.search(text) is not None


def was_normal(prefix: str, text: str) -> bool:
    """Whether a text finds something in a thing that the prefix calls normal: "the pancreas is
    normal" before "the pancreas is enlarged"."""
    if n_negations(text) or _NORMAL.search(text):
        return False
    words = {stem(word) for word in phrase_words(text)}
    return any(stem(match[1].lower()) in words for match in _IS_NORMAL.finditer(prefix))


def loses_article(sentence: str, text: str) -> bool:
    """Whether "The lungs …" became "Lungs …", or "A pacemaker is …" "Pacemaker is …", in the
    reference's telegraphic style."""
    first = _THE.match(sentence)
    if first is not None and re.match(rf"\W*{first[1]}\b", text, re.IGNORECASE):
        return True
    bare = _BARE_THING.match(text) if _A_THING.match(sentence) else None
    return bare is not None and not takes_no_article(bare[1])


def contrasts(sentence: str, edited: EditedSentence) -> bool:
    """Whether a "but" contrasts with a statement that the edit has turned into its opposite."""
    if n_negations(edited.text) == n_negations(sentence) or not edited.text_spans:
        return False
    return _CONTRAST.search(edited.text) is not None


def is_a_part(question: str, text: str) -> bool:
    """Whether a text calls an organ what the question only asks its place for: "the organ is the
    pelvic cavity", to "Which part of the body is the organ in?"."""
    return _WHICH_PART.search(question) is not None and _ORGAN_IS.match(text) is not None


def speaks_of_task(text: str) -> bool:
    """Whether an answer speaks about its task instead of the image: a prompt that leaked."""
    return _TASK.search(text) is not None


def gives_up_more(sentence: str, shared: set[str]) -> bool:
    """Whether a sentence that says several things gave way to another one altogether."""
    phrase = _YES_NO.sub("", sentence).rstrip(" .")
    return not shared and _MORE_SAID.search(phrase) is not None
