"""Measurements: a number, several ("2 x 3 cm"), a range or a limit, compared as one value."""

from __future__ import annotations

import re

_NUMBER = re.compile(r"(\d+(?:\.\d+)?)(?:\s?(mm|cm)\b)?", re.IGNORECASE)
_RANGE = re.compile(r"\d\s?(?:mm|cm)?\s?(?:-|–|to\b)", re.IGNORECASE)
_LIMITS = {"less": "<", "under": "<", "more": ">", "over": ">"}


def measure_value(number: str, unit: str) -> str:
    """A measurement in millimetres; without a unit, the number.

    >>> measure_value("2 x 3.5", "cm"), measure_value("2-3", "cm"), measure_value("0.3", "")
    ('20 x 35 mm', '20 - 30 mm', '0.3')
    >>> measure_value("less than 1", "cm")
    '< 10 mm'
    """
    if number[:1].isalpha() and number[1:].isdigit():
        return number.lower()  # a vertebra
    values = []
    for digits, own_unit in _NUMBER.findall(number):
        scale = 10 if (own_unit or unit).lower().startswith("c") else 1
        values.append(f"{float(digits) * scale:g}")
    joined = (" - " if _RANGE.search(number) else " x ").join(values)
    limit = _LIMITS.get(number.split(maxsplit=1)[0].lower(), "")
    return f"{limit} {joined} mm".lstrip() if unit else joined


def measures_agree(one: str, other: str) -> bool:
    """Whether two values can be the same measurement: equal, or one a part of the other.

    >>> measures_agree("20 mm", "20 x 30 mm"), measures_agree("25 mm", "20 - 30 mm")
    (True, True)
    >>> measures_agree("100 x 100 mm", "100 x 5 mm"), measures_agree("< 10 mm", "50 mm")
    (False, False)
    """
    if one == other or one[:1].isalpha():
        return one == other
    first, second = _numbers(one), _numbers(other)
    for limits, numbers in ((one, second), (other, first)):
        low, high = min(_numbers(limits)), max(_numbers(limits))
        if limits.startswith("<"):
            return max(numbers) <= high
        if limits.startswith(">"):
            return min(numbers) >= low
        if " - " in limits:
            return low <= min(numbers) and max(numbers) <= high
    fewer, more = sorted((sorted(first), sorted(second)), key=len)
    return all(number in more for number in fewer) if len(fewer) < len(more) else fewer == more


def _numbers(value: str) -> list[float]:
    return [float(digits) for digits, _ in _NUMBER.findall(value)]
