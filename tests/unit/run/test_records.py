"""Records survive the way between processes."""

import dataclasses
import inspect
import pickle

import pytest

from medray import records

KINDS = [
    kind
    for _, kind in inspect.getmembers(records, inspect.isclass)
    if dataclasses.is_dataclass(kind)
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_record_is_the_same_on_the_other_side(kind):
    record = kind(**{field.name: field.name for field in dataclasses.fields(kind)})
    for protocol in (2, 5):
        assert pickle.loads(pickle.dumps(record, protocol)) == record
