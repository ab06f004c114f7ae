"""Code in a model's directory is never run, and nobody is asked whether it may be."""

from __future__ import annotations

import ast
import json
import shutil

import pytest

from medray.errors import ModelError
from medray.policy.model.chat import ChatCodec
from medray.policy.model.loading import load_model
from tests.support.paths import ROOT


def test_every_automatic_class_refuses_code():
    """Classes that are named run none; those that are found by a directory's files could."""
    loose = []
    for path in [*(ROOT / "medray").rglob("*.py"), *(ROOT / "actors").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            owner = node.func.value
            if node.func.attr != "from_pretrained" or not isinstance(owner, ast.Name):
                continue
            words = {word.arg: word.value for word in node.keywords}
            refused = getattr(words.get("trust_remote_code"), "value", None) is False
            if owner.id.startswith("Auto") and not refused:
                loose.append(f"{path.name}:{node.lineno}")
    assert loose == []


@pytest.mark.parametrize("file", ["config.json", "processor_config.json", "tokenizer_config.json"])
def test_code_of_a_directory_does_not_run(tiny_llava, tmp_path, file, monkeypatch):
    folder, mark = tmp_path / "model", tmp_path / "ran"
    shutil.copytree(tiny_llava, folder)
    (folder / "evil.py").write_text(f"open({str(mark)!r}, 'w')\nclass Evil: pass\n")
    path = folder / file
    content = json.loads(path.read_text()) if path.exists() else {}
    automatic = ("AutoConfig", "AutoModel", "AutoProcessor", "AutoTokenizer", "AutoImageProcessor")
    content["auto_map"] = dict.fromkeys(
        (*automatic, "AutoModelForImageTextToText"), "evil.Evil"
    ) | {"AutoTokenizer": ["evil.Evil", None]}
    if file == "config.json":
        content["model_type"] = "evil"
    path.write_text(json.dumps(content))
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    for load in (ChatCodec, lambda folder: load_model(folder, "float32")):
        try:
            load(folder)
        except ModelError as error:
            assert "\n" not in str(error)  # noqa: PT017
    assert not mark.exists()
