"""The records that cross boundaries between actors: frozen, slotted, plain data.

    Case ──generate──▶ Response ──edit──▶ Edit ──▶ Pair ──train──▶ StepReport

Every record holds Python scalars, strings, tuples and other records only. Pixels and
tensors are never part of a record: they are identified by `image_sha256` and pulled from
the object store. An item, one answer to be given, has the same `item_id` in all of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from math import nan
from typing import Any, Literal

AnswerType = Literal["report", "closed", "open", "choice"]
VerdictName = Literal["right", "wrong", "abstain"]
Scope = Literal["sentence", "answer"]


_FIELDS: dict[Any, tuple[str, ...]] = {}  # names, by kind of record


class _Record:
    """A record travels as the values of its fields, in half the time that a dataclass takes by
    itself: the driver sends and receives some with every answer."""

    __slots__ = ()

    def __reduce__(self) -> tuple[type[Any], tuple[Any, ...]]:
        kind: Any = type(self)
        names = _FIELDS.get(kind) or _FIELDS.setdefault(kind, tuple(f.name for f in fields(kind)))
        return kind, tuple([getattr(self, name) for name in names])


@dataclass(frozen=True, slots=True)
class Region(_Record):
    """Where a lesion (or organ) is, in pixels of the original image.

    Either `box` = (x0, y0, x1, y1), x1/y1 exclusive, or `mask` = path of a PNG of the
    size of the image whose non-zero pixels are the region (`mask.png#5`: those of value 5);
    a mask without a file is the PNG itself, as a data URI. `score`: a localiser's confidence.
    `image`: which of the case's images it is on, from 0.

    >>> Region(label="nodule", box=(10, 12, 20, 24)).box
    (10, 12, 20, 24)
    """

    label: str
    box: tuple[int, int, int, int] | None = None
    mask: str | None = None
    source: str = "dataset"
    score: float | None = None
    image: int = 0


@dataclass(frozen=True, slots=True)
class ImageFile(_Record):
    """An image as it lies on disk: its path (`x.dcm#3`: the third frame), and the digest of its
    bytes ("" if the file cannot be read)."""

    path: str
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class GivenSide(_Record):
    """The rejected side of a preference pair that was made elsewhere; the chosen one is the case's
    reference.

    `chosen_spans`, `rejected_spans`: the characters [start, end) in which they differ; without any,
    a comparison of the two texts finds them. `rejected_image`: in v' the image that stands for the
    case's first, "" if there is none. `score`: the pair's relevance, None if it has none.
    """

    rejected: str
    rejected_image: str = ""
    chosen_spans: tuple[tuple[int, int], ...] = ()
    rejected_spans: tuple[tuple[int, int], ...] = ()
    score: float | None = None
    response_was_correct: bool | None = None


@dataclass(frozen=True, slots=True)
class Case(_Record):
    """One question about one image or several, as the dataset has it.

    `image` is the path of the file (`x.dcm#3`: its third frame); `image_sha256` the digest of its
    bytes ("" if the file cannot be read: the case is then dropped, with the reason, when it is
    issued). `other_images`: those that are shown behind it, in order. `truth` holds structured
    attributes if they are known (phantoms), as (attribute, value) pairs. `patient_id` is used for
    splitting only and is never written out. `given`: what the case's answer is preferred to, if the
    dataset consists of pairs.
    If `answer_type` is "choice", the question ends with its options, each on a line of its own
    ("B. Coronal"), and the reference is one of these lines.

    >>> Case(case_id="rad-0", image="a.png", image_sha256="00", question="Is there a nodule?",
    ...      reference="Yes", answer_type="closed").source
    ''
    """

    case_id: str
    image: str
    image_sha256: str
    question: str
    reference: str
    answer_type: AnswerType
    regions: tuple[Region, ...] = ()
    truth: tuple[tuple[str, str], ...] = ()
    patient_id: str = field(default="", repr=False)
    source: str = ""
    licence: str = ""
    given: GivenSide | None = None
    other_images: tuple[ImageFile, ...] = ()

    @property
    def images(self) -> tuple[ImageFile, ...]:
        """All images, in the order in which they are shown."""
        return (ImageFile(self.image, self.image_sha256), *self.other_images)


@dataclass(frozen=True, slots=True)
class Request(_Record):
    """A request for one answer. `images` are indices into the images passed with the call.

    `prefix_ids`: tokens that the answer begins with; only what follows them is sampled.
    """

    item_id: str
    case_id: str
    question: str
    images: tuple[int, ...]
    seed: int
    prefix_ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Response(_Record):
    """One answer of the policy, and the policy version that gave it.

    `token_ids` are the sampled tokens themselves, end-of-turn included when `finished`;
    `token_logps` their raw (untempered) log-probabilities under that version, in nats, or empty
    where nothing reads them.
    `text` is the decoded answer without special tokens. The first `given` tokens were not sampled
    but given with the request; their log-probabilities are 0.
    """

    item_id: str
    case_id: str
    policy_version: int
    text: str
    token_ids: tuple[int, ...]
    token_logps: tuple[float, ...]
    finished: bool
    given: int = 0


@dataclass(frozen=True, slots=True)
class Span(_Record):
    """Characters [start, end) of one text that an edit changed; empty for an insertion point.

    `error_type` is one of those in editing/ontology/severity.yaml; `severity` in [0, 1],
    1 = could change management.
    """

    start: int
    end: int
    error_type: str
    severity: float
    reason: str


@dataclass(frozen=True, slots=True)
class EditedSentence(_Record):
    """One sentence of an answer and its other side; nothing behind it is looked at.

    It is number `sentence` (from 0) of the answer, its characters [start, end) without blanks
    around them. `text` stands in its place: corrected if the answer is wrong, contradicting the
    reference if it is right. `answer_spans` are ranges of the sentence as it is, `text_spans` of
    `text`; spans at the same index are the two sides of one replacement.
    """

    sentence: int
    start: int
    end: int
    text: str
    answer_spans: tuple[Span, ...]
    text_spans: tuple[Span, ...]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Edit(_Record):
    """The result of editing one answer.

    wrong:   `text` is the corrected answer; spans mark what was replaced and by what.
    right:   `text` is the smallest clinically wrong variant of the answer.
    abstain: `text` is ""; `reason` says why.

    `answer_spans` are ranges of the answer, `text_spans` of `text`; spans at the same index
    are the two sides of one replacement.

    `sentences`: those of the answer's sentences whose other side is sure; the most severe first if
    the answer is wrong, in an order drawn at random if it is right: then only one becomes a pair.
    `text` is "" if the answer as a whole has no other side that is sure, but a sentence has.
    An answer of one sentence has that sentence here, with the same texts.

    `refusal`, in kebab-case: why no pair may be made, although verdict and text are known.
    """

    verdict: VerdictName
    text: str = ""
    answer_spans: tuple[Span, ...] = ()
    text_spans: tuple[Span, ...] = ()
    reason: str = ""
    sentences: tuple[EditedSentence, ...] = ()
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Pair(_Record):
    """A preference: `chosen` over `rejected` for one case.

    One of the two sides is the policy's own: the chosen one if `response_was_correct`; its tokens
    are the sampled ones, never re-encoded. Of a pair made elsewhere neither is, and
    `response_was_correct` is None if unknown. `scope` "answer": both are complete answers, the only
    pair of the item `item_id`. "sentence": both are sentence number `sentence` of the answer, and
    stand behind `prefix`, the answer's own beginning; nothing stands behind them. An item may have
    several such pairs. Spans are ranges of `chosen` and `rejected`. `corrupted_sha256` is "" if the
    pair has no v'.
    """

    pair_id: str
    item_id: str
    case_id: str
    policy_version: int
    chosen: str
    rejected: str
    chosen_spans: tuple[Span, ...]
    rejected_spans: tuple[Span, ...]
    response_was_correct: bool | None
    relevance: float
    editor: str
    corrupted_sha256: str = ""
    region_source: str = ""
    corruption: str = ""
    scope: Scope = "answer"
    sentence: int = 0
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class Dropped(_Record):
    """An issued item that became no trained pair; `reason` in kebab-case says why."""

    item_id: str
    case_id: str
    policy_version: int
    reason: str


@dataclass(frozen=True, slots=True)
class Continuation(_Record):
    """An answer to go on with behind its first wrong sentence, corrected.

    `prefix_ids`: the tokens as sampled up to that sentence, then those of the corrected one.
    """

    item_id: str
    prefix_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class BatchContent(_Record):
    """What a batch of pairs on the same images holds, for those who need not read it.

    prompts: tokens of the longest prompt under each view (the images, and every v' of them), by the
    digests of the view; sides: tokens behind the prompt, of each pair by its id.
    """

    images: tuple[str, ...]
    prompts: tuple[tuple[tuple[str, ...], int], ...]
    sides: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class EditResults(_Record):
    """What became of the items of one call, and the content of each batch of its pairs."""

    results: tuple[Pair | Dropped | Continuation, ...]
    contents: tuple[BatchContent, ...]


@dataclass(frozen=True, slots=True)
class PairScore(_Record):
    """Per pair, before the update: loss, and log-probabilities (nats) summed over the tokens
    that the objective reads (the edited ones for `fire`). `visual_contrast`: how much less likely
    the edited tokens of the chosen side are under v' (NaN without v'). `relevance`: the pair's
    weight, its raw relevance normalised over the step."""

    pair_id: str
    loss: float
    chosen_logp: float
    rejected_logp: float
    chosen_ref_logp: float
    rejected_ref_logp: float
    visual_contrast: float = nan
    relevance: float = 1.0


@dataclass(frozen=True, slots=True)
class TokenRatio(_Record):
    """log π/π₀ of one token in nats, and the characters [start, end) of its side that it holds;
    empty for the end-of-turn token."""

    start: int
    end: int
    log_ratio: float


@dataclass(frozen=True, slots=True)
class TokenRatios(_Record):
    """Those of all tokens of both sides of a pair, before the update, on the clean image."""

    pair_id: str
    chosen: tuple[TokenRatio, ...]
    rejected: tuple[TokenRatio, ...]


@dataclass(frozen=True, slots=True)
class StepReport(_Record):
    """The result of one learner step. `policy_version` is the version that it started from.

    `metrics` holds means over the step's pairs: loss, loss_rank, loss_visual, loss_kl,
    reward_margin, reward_accuracy, grad_norm, lr. `skipped` is true if a non-finite
    loss left all weights unchanged. `token_ratios` are of a few of the pairs.
    """

    policy_version: int
    metrics: tuple[tuple[str, float], ...]
    scores: tuple[PairScore, ...]
    skipped: bool = False
    token_ratios: tuple[TokenRatios, ...] = ()
