"""Where what torch compiled is kept, whatever the folder of temporary files is called."""

from __future__ import annotations

import tempfile

import pytest

from actors.head import own


@pytest.mark.parametrize("by_torch", [False, True])
@pytest.mark.parametrize("name", ["plain", "with space", "John's", "é", 'a"b', "a;b", "$HOME"])
def test_its_path_needs_no_quotes(name, by_torch, tmp_path, monkeypatch):
    folder = tmp_path / name
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    if by_torch:
        monkeypatch.setenv(own.COMPILED, str(folder / "torchinductor_me"))
    else:
        monkeypatch.delenv(own.COMPILED, raising=False)
    found = own.compiled_folder()
    assert found.name.startswith("torchinductor_")
    assert (found.parent == folder) == (name == "plain")
    assert own.PLAIN_PATH.fullmatch(str(found))


def test_what_cannot_be_helped_stays_torchs_own_place(tmp_path, monkeypatch):
    monkeypatch.delenv(own.COMPILED, raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "a b"))
    monkeypatch.setattr(own, "SHARED_PLACES", ("/proc/1",))
    assert own.compiled_folder().parent == tmp_path / "a b"
