"""Digests of the files of a checkpoint, taken by pieces in several threads."""

from __future__ import annotations

import pytest

from actors.weights import inventory
from actors.weights.inventory import find_difference, take_inventory
from tests.support.processes.disks import flip_a_bit


@pytest.mark.parametrize("size", [0, 1, 1000, 1024, 1025, 2048, 5000])
def test_every_byte_of_a_file_in_pieces_counts(tmp_path, monkeypatch, size):
    """Also at the edges of pieces and blocks, and at the file's end."""
    monkeypatch.setattr(inventory, "PIECE", 1024)
    monkeypatch.setattr(inventory, "_BLOCK", 256)
    file = tmp_path / "weights"
    file.write_bytes(bytes(n % 251 for n in range(size)))
    taken = take_inventory(tmp_path, without="manifest.json")
    assert taken["weights"]["size"] == size
    for place in {0, 255, 256, 1023, 1024, 2047, size - 1} & set(range(size)):
        flip_a_bit(file, place)
        assert find_difference(tmp_path, taken) == "weights differs from the manifest", place
        flip_a_bit(file, place)
    assert find_difference(tmp_path, taken) is None
