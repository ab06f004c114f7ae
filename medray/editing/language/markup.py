r"""Where the final answer is, behind thoughts, headings and tags, and its words without marks.

    <think>Is the right lung clear? Yes.</think>**Answer:** A nodule in the **left** lung.
                                                            ^ final answer              ^

Thoughts and marks are never judged and never changed: an editor reads the unmarked words of the
final answer, and its ranges are brought back to the answer as it is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

Range = tuple[int, int]

_THOUGHT = r"think(?:ing)?|thoughts?|reason(?:ing)?|reflection|scratch_?pad|analysis|cot|rationale"
_ANSWER = r"(?:final[_ ]?)?(?:ans(?:wer)?|response|output|solution|conclusion)|final"
_OPENED = re.compile(
    rf"<\s*(?:{_THOUGHT})\s*>|\[think\]|◁think▷|<\|begin_of_thought\|>|<unused94>", re.IGNORECASE
)
_CLOSED = re.compile(
    rf"<\s*/\s*(?:{_THOUGHT})\s*>|\[/think\]|◁/think▷|<\|end_of_thought\|>|<unused95>",
    re.IGNORECASE,
)
_TAG = re.compile(
    rf"<\s*(?:{_ANSWER})\s*>|\[(?:{_ANSWER})\]|<\|begin_of_solution\|>"
    r"|<\|channel\|>final<\|message\|>",
    re.IGNORECASE,
)
_TAG_END = re.compile(
    rf"<\s*/\s*(?:{_ANSWER})\s*>|\[/(?:{_ANSWER})\]|<\|end_of_solution\|>", re.IGNORECASE
)
_BEGIN = r"(?:^|(?<=[.!?。])[ \t]+)[ \t>]*"
_LABEL = (
    r"(?:the[ \t]+|my[ \t]+)?(?:final[ \t]+)?(?:answer|response)|final[ \t]+(?:diagnosis|verdict)"
)
_HEADINGS = re.compile(
    # "**Final answer:** Yes", "### Answer: Yes", "So the final answer is: Yes"
    rf"{_BEGIN}(?:\#{{1,6}}[ \t]*)?[*_]{{0,3}}(?:(?:so|thus|hence|therefore),?[ \t]+)?"
    rf"(?:{_LABEL})(?:[ \t]+is)?[ \t]*[*_]{{0,3}}[ \t]*[:：][ \t]*(?:[*_]{{1,3}}(?=\s|\Z))?"
    # "### Final Answer" and "**Answer**", each a line of its own
    rf"|^[ \t]*(?:\#{{1,6}}[ \t]*[*_]{{0,3}}|[*_]{{2,3}})(?:{_LABEL})[ \t]*[*_]{{0,3}}[ \t]*$",
    re.IGNORECASE | re.MULTILINE,
)
_THINKING = re.compile(  # "## Thinking", without an answer's heading behind it
    rf"\A\s*(?:\#{{1,6}}[ \t]*|[*_]{{2,3}})(?:{_THOUGHT})[*_:]{{0,4}}[ \t]*$",
    re.IGNORECASE | re.MULTILINE,
)
_BOXED = re.compile(r"\\(?:boxed|fbox)\s*\{")
_USER = "human|user|question|instruction"
_SPEAKER = "assistant|ai|bot|gpt|chatgpt|doctor|radiologist|answer"
_TURN, _TURN_SHORT = (  # the short one, "Q: … A: …", only where a text begins with it
    re.compile(
        rf"{_BEGIN}(?:\#{{1,6}}[ \t]*)?[*_]{{0,3}}(?:(?P<user>{user})|(?:{speaker}))"
        r"[*_]{0,3}[ \t]*[:：][*_]{0,3}[ \t]*",
        re.IGNORECASE | re.MULTILINE,
    )
    for user, speaker in ((_USER, _SPEAKER), ("Q", "A"))
)
_JSON = re.compile(r'"(?:final_?)?(?:answer|response)"\s*:\s*"((?:[^"\\]|\\.)*)"', re.IGNORECASE)
_FENCE = re.compile(r"```[\w-]*[ \t]*\n?")
_TOKENS = (
    r"<\|im_start\|>\w+|<\|start_header_id\|>\w+|<\|[^|<>]{1,40}\|>|\[/?INST\]"
    r"|</?(?:s|eos|bos|pad|unk|end_of_turn|start_of_turn)>"
)
_TAGS = re.compile(r"<\|?/?[\w| ]{1,40}\|?>|\[/?\w{3,12}\]|◁/?think▷")
_EDGE = re.compile(rf"(?:\s|{_TOKENS})+")
_EDGE_END = re.compile(rf"(?:\s|{_TOKENS})+\Z")
_SECTIONS = (
    "(?:key )?findings|impression|conclusion|summary|(?:final )?diagnosis|description|report|"
    "observations?|technique|comparison|recommendations?|overview|interpretation|explanation|"
    "assessment|(?:image )?analysis|indication|history|(?:final )?answer"
)
_LINE = re.compile(  # what begins a line: a bullet, a number of a list, a quote, a heading's sign
    r"^[ \t]*(?:(?:[-*+•‣▪–—][ \t]+|\d{1,2}[.)][ \t]+(?=\S)|>[ \t]?|\#{1,6}[ \t]+)+)", re.MULTILINE
)
_TITLE = re.compile(  # a marked line that holds the name of a section and nothing else
    rf"^[ \t]*(?:\#{{1,6}}[ \t]+[*_]{{0,3}}|[*_]{{2,3}})(?:{_SECTIONS})[*_:]{{0,4}}[ \t]*$",
    re.IGNORECASE | re.MULTILINE,
)
_INLINE = r"(?:b|i|u|em|strong|span|sub|sup|mark|code|font|small|ins|del)"
_AT_START = re.compile(rf"(?:[*_~`]|<{_INLINE}(?:\s[^<>]*)?>)+\Z", re.IGNORECASE)
_AT_END = re.compile(rf"\A(?:[*_~`]|</{_INLINE}>)+", re.IGNORECASE)
_MARK = re.compile(
    r"\*{1,3}(?=\S)|(?<=\S)\*{1,3}|(?<!\w)_{1,3}(?=\S)|(?<=\S)_{1,3}(?!\w)|~~|`{1,3}"
    rf"|</?{_INLINE}(?:\s[^<>]*)?>"
    rf"|\\(?:text|textbf|textit|mathrm|mathbf)\s*\{{|(?<=\w)\}}|\$|{_TOKENS}",
    re.IGNORECASE,
)
_BREAK = re.compile(r"<\s*/?\s*(?:br|p|li|ul|ol|div|hr|h[1-6])\s*/?>", re.IGNORECASE)
_MARKUP = re.compile(r"[<\[\\`*_#{}~$>◁:：•‣▪–—]|^[ \t]*(?:[-+]|\d{1,2}[.)])[ \t]", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Unmarked:
    """The words of a part of a text without its marks. The part begins at `start`; places[i] is
    where character i of the words stands in the text, places[len(text)] where the part ends."""

    text: str
    places: Sequence[int]
    start: int

    def place(self, start: int, end: int) -> Range | None:
        """A range of the words as a range of the marked text; None if it would cut a mark out.

        >>> part = unmarked("**left** lung", 0, 13)
        >>> part.text, part.place(0, 4), part.place(0, 9)
        ('left lung', (2, 6), None)
        """
        if start == end:  # an insertion stays with the character before it, if that is a blank
            at = self.places[start] if start < len(self.text) else self.last(start)
            return at, at
        first, last = self.places[start], self.last(end)
        return (first, last) if last - first == end - start else None

    def last(self, end: int) -> int:
        """The end, in the marked text, of the character before `end`."""
        return self.places[end - 1] + 1 if end else self.start

    def with_marks(self, marked: str, start: int, end: int) -> Range:
        """A range of the words as one of the marked text, with the emphasis that touches it.

        >>> unmarked("**No**, *clear*.", 0, 16).with_marks("**No**, *clear*.", 0, 2)
        (0, 6)
        """
        first, last = self.places[start], self.last(end)
        opened = _AT_START.search(marked[self.last(start) : first])
        closed = _AT_END.search(marked[last : self.places[end]])
        return (
            first - len(opened.group()) if opened else first,
            last + len(closed.group()) if closed else last,
        )


def final_answer(text: str) -> Range | None:
    r"""The characters of a text's final answer; None if it has thoughts or headings and no answer.

    >>> final_answer("No nodule.")
    (0, 10)
    >>> final_answer("<think>Left or right?</think> Left")
    (30, 34)
    >>> final_answer(r"So it is \boxed{Yes}")
    (16, 19)
    >>> final_answer("<think>Left or right?") is None
    True
    """
    if not text.strip() or not _MARKUP.search(text):
        return 0, len(text)
    part = 0, len(text)
    for step in (_past_thoughts, _in_tags, _own_turn, _past_heading, _in_box, _code):
        inner = step(text, *part)
        if inner is None:
            return None
        part = _trimmed(text, *inner)
        if part[0] >= part[1]:
            return None
    return part


def unmarked(text: str, start: int, end: int) -> Unmarked:
    """The words of text[start:end] without emphasis, tags, bullets and titles of sections."""
    if not _MARKUP.search(text, start, end):
        return Unmarked(text[start:end], range(start, end + 1), start)
    part = text[start:end]
    hidden: dict[int, tuple[int, str]] = {}  # where a mark begins → its end, what stands for it
    titles = [m.span() for m in _TITLE.finditer(part)]
    if sum(b - a for a, b in titles) < len(part.strip()):
        hidden |= {a: (b, "") for a, b in titles}
    for pattern, stand_in in ((_LINE, ""), (_BREAK, "\n"), (_MARK, "")):
        for match in pattern.finditer(part):
            hidden.setdefault(match.start(), (match.end(), stand_in))
    letters, places, at = [], [], 0
    while at < len(part):
        if at in hidden:
            stop, stand_in = hidden[at]
            if stand_in:
                letters.append(stand_in)
                places.append(start + at)
            at = stop
            continue
        letters.append(part[at])
        places.append(start + at)
        at += 1
    return Unmarked("".join(letters), (*places, end), start)


def final_text(text: str) -> str:
    """The words of the final answer without marks; "" if there is none."""
    found = final_answer(text)
    return unmarked(text, *found).text if found else ""


def words_around(text: str, start: int, end: int) -> tuple[str, str]:
    """The words before and behind a final answer, without marks, tags, headings and speakers; ""
    where there are none.

    >>> words_around("<think>Left?</think> **Answer:** Yes", 33, 36)
    ('Left?', '')
    """
    parts = []
    for part in (text[:start], text[end:]):
        for pattern in (_HEADINGS, _THINKING, _TURN, _BOXED, _TAGS):
            part = pattern.sub("\n", part)
        part = unmarked(part, 0, len(part)).text.strip(" \n\t{}")
        parts.append(part if re.search(r"\w", part) else "")
    return parts[0], parts[1]


def _past_thoughts(text: str, start: int, end: int) -> Range | None:
    """What follows the last thought. A thought that is not closed hides its answer, unless tags
    enclose that."""
    last = start
    for match in _CLOSED.finditer(text, start, end):
        last = match.end()
    if opened := _OPENED.search(text, last, end):
        tag = _TAG.search(text, opened.end(), end)
        closed = _TAG_END.search(text, tag.end(), end) if tag else None
        return (tag.start(), end) if tag and closed else None
    if heading := _THINKING.match(text[last:end]):
        answered = (p.search(text, last + heading.end(), end) for p in (_HEADINGS, _TAG, _BOXED))
        return (last, end) if any(answered) else None
    return last, end


def _in_tags(text: str, start: int, end: int) -> Range:
    """The inside of the last <answer>, closed or not; a prompt may have opened it."""
    opened = [match.end() for match in _TAG.finditer(text, start, end)]
    first = opened[-1] if opened else start
    closed = _TAG_END.search(text, first, end)
    return first, closed.start() if closed else end


def _past_heading(text: str, start: int, end: int) -> Range:
    """What follows the last heading of an answer."""
    last = start
    for match in _HEADINGS.finditer(text, start, end):
        last = match.end()
    return last, end


def _own_turn(text: str, start: int, end: int) -> Range:
    """The first turn of the answer's own speaker: without what is asked of him, and without turns
    that the model invents after it."""
    short = _TURN_SHORT.match(text, start, end)
    pattern = _TURN_SHORT if short and short["user"] else _TURN
    turns = list(pattern.finditer(text, start, end))
    if not turns:
        return start, end
    first = -1  # an answer that begins without a name, then more turns
    if not text[start : turns[0].start()].strip():
        first = next((i for i, turn in enumerate(turns) if not turn["user"]), 0)
    begin = turns[first].end() if first >= 0 else start
    for i, turn in enumerate(turns[first + 1 :], first + 1):
        # "Question:" alone may be a line of a report
        answered = any(not later["user"] for later in turns[i + 1 :])
        if turn["user"] and (answered or turn["user"].lower() in ("human", "user")):
            return begin, turn.start()
    return begin, end


def _in_box(text: str, start: int, end: int) -> Range | None:
    """The inside of the last box."""
    boxes = list(_BOXED.finditer(text, start, end))
    if not boxes:
        return start, end
    first, depth = boxes[-1].end(), 1
    for at in range(first, end):
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        if not depth:
            return first, at
    return None


def _code(text: str, start: int, end: int) -> Range:
    """The inside of a code fence around the answer, and of the answer's field of a JSON object."""
    fence = _FENCE.match(text, start, end)
    if fence:
        closed = text.find("```", fence.end(), end)
        start, end = fence.end(), closed if closed >= 0 else end
    if text[start:end].lstrip().startswith("{"):
        field = _JSON.search(text, start, end)
        if field:
            return field.span(1)
    return start, end


def _trimmed(text: str, start: int, end: int) -> Range:
    """Without blanks and special tokens around it."""
    first = _EDGE.match(text, start, end)
    start = first.end() if first else start
    last = _EDGE_END.search(text[start:end])
    return start, start + last.start() if last else end
