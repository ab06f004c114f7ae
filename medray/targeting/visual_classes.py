"""What must be seen to answer a question: MedHEval's four classes of visual misinterpretation.

    anatomical    which organ or structure is shown        "Does the picture contain the liver?"
    measurement   where, how large, how many, which plane  "Where is the nodule?"
    symptom       what is abnormal                         "Is there a pneumothorax?"
    technique     how the image was made                   "What modality was used?"

Source of the classes: MedHEval, arXiv 2503.02157. The rules here are medray's own.
"""

from __future__ import annotations

import functools
import re
from typing import Literal, get_args

from medray.editing.ontology.lexicon import ontology
from medray.editing.reading.claims import read

VisualClass = Literal["anatomical", "measurement", "symptom", "technique"]
CLASSES: tuple[VisualClass, ...] = get_args(VisualClass)

_TECHNIQUE = re.compile(
    r"\b(?:modality|modalities|technique|contrast(?!\s+between)\w*|non-?contrast|gadolinium|"
    r"sequence|weight(?:ed|ing)|flair|t[12]|dwi|adc|phase|window(?:ing|\s+setting)?|angiogra\w+|"
    r"anteroposterior|posteroanterior|pa|ap|pet)\b|"
    r"\bimaging\s+(?:method|type|study|exam\w*|technology)|"
    r"\b(?:type|kind|sort)\s+of\s+(?:image|imaging|scan|study|x-?ray|radiograph|picture|exam\w*|mri)\b|"
    r"\bhow\s+(?:was|is|were)\s+(?:this|the)\s+(?:image|scan|picture|study|x-?ray)\b",
    re.IGNORECASE,
)
_IS_MODALITY = re.compile(
    r"^\W*(?:is|was)\s+(?:this|it|the\s+(?:image|study|scan|picture))(?:\s+(?:image|study|scan|"
    r"picture))?\s+an?\s+(?:[\w-]+\s+){0,2}?(?:mri|mr|ct|cat\s+scan|ultrasound|x-?ray|radiograph|"
    r"sonogram|pet|fluoroscop\w+|mammogra\w+)\b",
    re.IGNORECASE,
)
_PLANE = re.compile(
    r"\b(?:plane|axial|sagittal|coronal|transverse|cross[\s-]sectional|slice\s+level|supine|prone|"
    r"upright|erect|lateral\s+view|orientation|position\s+of\s+the\s+patient|patient'?s\s+position)\b",
    re.IGNORECASE,
)
_WHERE = re.compile(
    r"^\W*(?:where|(?:in|on|at)\s+(?:which|what)|which\s+(?:side|lobe|lung|kidney|hemisphere|zone|"
    r"quadrant|half|ventricle|region\s+is|part\s+is)|what\s+(?:side|lobe|zone|quadrant|level|"
    r"location|hemisphere))\b|\b(?:located|location|situated|midline(?!\s+shift)|deviat\w+|"
    r"displaced|on\s+the\s+(?:left|right)\s+or)\b",
    re.IGNORECASE,
)
_HOW_MUCH = re.compile(
    r"\bhow\s+(?:many|large|big|small|long|wide|thick|tall|far|high|much)\b|\bnumber\s+of\b|"
    r"\b(?:size|diameter|length|width|thickness|volume|extent|larger|smaller|bigger|largest|"
    r"smallest|enlarged|dilated|centimet\w+|millimet\w+|cm|mm)\b",
    re.IGNORECASE,
)
_ASKS_PRESENCE = re.compile(
    r"^\W*(?:is|are|was|were)\s+(?:there|any)\b|^\W*(?:do|does|did|has|have|can)\b", re.IGNORECASE
)
_DEFINITE = re.compile(r"^\W*(?:is|are|was|were)\s+(?:the|this|these)\b", re.IGNORECASE)
_PLACED = re.compile(
    r"\b(?:in|on|at|above|below|under|over|behind|near)\s+(?:the|his|her|its)\s+(?:[\w-]+\s+)*?"
    r"(?:left|right|upper|lower|middle|mid|anterior|posterior|side|lobe|zone|lung|quadrant|"
    r"hemisphere|diaphragm|base|apex|apices|hilum|midline)\b|\babove\b|\bbelow\b",
    re.IGNORECASE,
)
_ABNORMAL = re.compile(
    r"\b(?:normal|abnormal\w*|healthy|diseased?|diagnos\w+|patholog\w+|disorder|condition|nature|"
    r"evidence\s+of|signs?\s+of|suggest\w*|indicat\w*|intact|wrong|symptoms?|kind\s+of\s+lesion)\b",
    re.IGNORECASE,
)
_ANATOMY = re.compile(
    r"\b(?:organs?|organ\s+system|structures?|anatom\w+|body\s+part|part\s+of\s+the|region\s+of\s+the\s+"
    r"body|area\s+of\s+the\s+body|bones?|ribs?|clavicles?|trachea|ventricles?|vertebra\w*|"
    r"aort(?:a|ic)\s*(?:arch)?)\b",
    re.IGNORECASE,
)


@functools.lru_cache(maxsize=1 << 16)
def visual_class(question: str) -> VisualClass:
    """The class of a question.

    >>> visual_class("Is the heart visible?"), visual_class("Is the heart enlarged?")
    ('anatomical', 'measurement')
    """
    if _TECHNIQUE.search(question) or _IS_MODALITY.search(question):
        return "technique"
    finding = _names_finding(question)
    if _ASKS_PRESENCE.search(question) and finding and not _PLANE.search(question):
        return "symptom"
    if any(pattern.search(question) for pattern in (_PLANE, _WHERE, _HOW_MUCH)):
        return "measurement"
    if finding and _DEFINITE.search(question) and _PLACED.search(question):
        return "measurement"
    if finding or _ABNORMAL.search(question):
        return "symptom"
    parsed = read(question)
    organs = [m for m in parsed.study if m.attribute in ("organ", "vessel", "space", "joint")]
    if organs or _ANATOMY.search(question):
        return "anatomical"
    return "technique" if any(m.attribute == "modality" for m in parsed.study) else "symptom"


def _names_finding(question: str) -> bool:
    """Whether a question names something abnormal."""
    onto = ontology()
    parsed = read(question)
    return any(
        statement.subject == "lesion" and statement.head and statement.head.value in onto.findings
        for statement in (*parsed.statements, *parsed.uncertain)
    )
