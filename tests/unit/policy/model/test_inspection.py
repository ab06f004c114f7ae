"""`medray check` on model directories that look complete and cannot start."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from medray.config import LoraConfig, ModelConfig
from medray.errors import ModelError
from medray.policy.model import chat
from medray.policy.model.inspection import inspect_model
from medray.policy.model.loading import model_facts

TINY = (
    "tiny_llava",
    "tiny_llava_qwen2",
    "tiny_qwen2_vl",
    "tiny_qwen2_5_vl",
    "tiny_qwen3_vl",
    "tiny_internvl",
    "tiny_gemma3",
)
GROUPS = ("language", "projector", "vision")
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4665\nsize 134217728\n"


def check(path: Path, **model) -> None:
    config = ModelConfig(path=str(path), **model)
    inspect_model(model_facts(config), config)


def rewrite(file: Path, change) -> None:
    tree = json.loads(file.read_text())
    change(tree)
    file.write_text(json.dumps(tree))


def config(change):
    return lambda path: rewrite(path / "config.json", change)


def processor(change):
    return lambda path: rewrite(path / "processor_config.json", change)


def template(text: str):
    return lambda path: (path / "chat_template.jinja").write_text(text)


def file(name: str, content: str | bytes):
    data = content.encode() if isinstance(content, str) else content
    return lambda path: (path / name).write_bytes(data)


def weights(change):
    """Change the tensors themselves, in a file that remains valid."""

    def apply(path: Path) -> None:
        tensors = load_file(path / WEIGHTS)
        change(tensors)
        save_file(tensors, path / WEIGHTS, metadata={"format": "pt"})

    return apply


def sharded(path: Path) -> dict[str, str]:
    """Two files and an index in place of one file; the index's map."""
    tensors = load_file(path / WEIGHTS)
    names = sorted(tensors)
    parts = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for part, own in parts.items():
        save_file({name: tensors[name] for name in own}, path / part, metadata={"format": "pt"})
    (path / WEIGHTS).unlink()
    shards = {name: part for part, own in parts.items() for name in own}
    (path / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": shards}))
    return shards


def shard_missing(path: Path) -> None:
    sharded(path)
    (path / "b.safetensors").unlink()


def index_missing(path: Path) -> None:
    sharded(path)
    (path / INDEX).unlink()


def index_of_others(path: Path) -> None:
    shards = sharded(path)
    shards["no.such.weight"] = "a.safetensors"
    (path / INDEX).write_text(json.dumps({"weight_map": shards}))


def two_sets(path: Path) -> None:
    single = (path / WEIGHTS).read_bytes()
    sharded(path)
    (path / WEIGHTS).write_bytes(single)


def cut(path: Path) -> None:
    data = (path / WEIGHTS).read_bytes()
    (path / WEIGHTS).write_bytes(data[: len(data) // 2])


def quantised(**settings):
    return config(lambda tree: tree.update(quantization_config=settings))


def no_template(path: Path) -> None:
    """As published with `chat_template: null` and no file of its own."""
    (path / "chat_template.jinja").unlink()
    for name in ("tokenizer_config.json", "processor_config.json"):
        rewrite(path / name, lambda tree: tree.update(chat_template=None))


def other_names(path: Path) -> None:
    (path / WEIGHTS).rename(path / "llava.fp16.safetensors")


def larger_tokenizer(path: Path) -> None:
    def change(tree):
        last = max(tree["model"]["vocab"].values())
        tree["model"]["vocab"]["nowhere"] = last + 500

    rewrite(path / "tokenizer.json", change)


ENDLESS = (
    "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}"
    "{% endfor %}{% endfor %}{% endfor %}"
)
HEAD = "language_model.lm_head.weight"
VARIANTS = {
    "shard missing": (shard_missing, r"b\.safetensors is missing"),
    "git-lfs pointer": (file(WEIGHTS, POINTER), "is a git-lfs pointer"),
    "cut in half": (cut, "is cut short"),
    "no patch size": (processor(lambda t: t.pop("patch_size")), "has no patch_size"),
    "patch size null": (processor(lambda t: t.update(patch_size=None)), "has no patch_size"),
    "template for text": (
        template("{% for m in messages %}[INST] {{ m['content'] }} [/INST]{% endfor %}"),
        "leaves the image out",
    ),
    "template for joined text": (
        template("{% for m in messages %}{{ '[INST] ' + m['content'] }}{% endfor %}"),
        "fails on a question with an image",
    ),
    "template without the image": (
        template("{% for m in messages %}{{ m['content'][1]['text'] }}{% endfor %}"),
        "leaves the image out",
    ),
    "template null": (no_template, "has no chat template"),
    "template with an error": (template("{% for m in messages %}"), "TemplateSyntaxError"),
    "template that raises": (
        template("{{ raise_exception('System role not supported') }}"),
        "System role not supported",
    ),
    "template without end": (template(ENDLESS), "runs for over"),
    "vocabulary larger": (
        config(lambda t: t["text_config"].update(vocab_size=4096)),
        r"weights do not fit config\.json: .* has to be \[4096, 32\]",
    ),
    "bitsandbytes": (
        quantised(quant_method="bitsandbytes", load_in_4bit=True),
        r"is quantised \(bitsandbytes\)",
    ),
    "awq": (quantised(quant_method="awq", bits=4), r"is quantised \(awq\)"),
    # Others of these kinds.
    "undeclared quantisation": (
        weights(lambda t: t.update({HEAD: t[HEAD].to(torch.uint8)})),
        "stored as U8: its weights are quantised",
    ),
    "index cut": (lambda p: (sharded(p), file(INDEX, '{"weight_m')(p)), "is no index"),
    "index a pointer": (lambda p: (sharded(p), file(INDEX, POINTER)(p)), "git-lfs pointer"),
    "index of other tensors": (index_of_others, r"names a tensor .* a\.safetensors: no\.such"),
    "index missing": (index_missing, f"no {INDEX}"),
    "another file name": (other_names, rf"holds llava\.fp16\.safetensors, but no {WEIGHTS}"),
    "two sets of weights": (two_sets, "two sets of weights"),
    "adapter beside the model": (file("adapter_config.json", "{}"), "an adapter beside a model"),
    "empty weights": (file(WEIGHTS, b""), "is empty"),
    "web page": (file(WEIGHTS, "<!doctype html><p>Sign in</p>"), "is a web page"),
    "pickle renamed": (file(WEIGHTS, b"PK\x03\x04" + bytes(64)), "is a pickled checkpoint"),
    "weight missing": (weights(lambda t: t.pop(HEAD)), r"lm_head\.weight is missing"),
    "weight of no layer": (
        weights(lambda t: t.update({"language_model.model.extra": torch.zeros(3)})),
        "extra belongs to no layer",
    ),
    "more layers": (
        config(lambda t: t["text_config"].update(num_hidden_layers=3)),
        r"layers\.2\..* is missing",
    ),
    "another model type": (
        config(lambda t: t.update(model_type="qwen2_5_vl")),
        "its architecture is LlavaForConditionalGeneration",
    ),
    "no model that can be built": (
        config(lambda t: t["text_config"].update(hidden_act="nonesuch")),
        "describes no model that can be built|transformers cannot read it",
    ),
    "tokenizer a pointer": (file("tokenizer.json", POINTER), r"tokenizer\.json: is a git-lfs"),
    "tokenizer of a larger model": (larger_tokenizer, "its tokenizer has ids up to"),
    "another image token": (
        config(lambda t: t.update({k: 7 for k in t if k.startswith("image_token_i")})),
        "no token 7, which config.json names",
    ),
    "another image size": (
        processor(lambda t: t["image_processor"].update(crop_size={"height": 24, "width": 24})),
        "an image becomes 24 × 24 px, not 16 × 16",
    ),
    "another patch size": (processor(lambda t: t.update(patch_size=4)), "makes 16 tokens .* 4"),
    "template without the question": (
        template("{% for m in messages %}<image>{% endfor %}"),
        "leaves the question out",
    ),
    "template with two images": (
        template("{% for m in messages %}<image><image>{{ m['content'][1]['text'] }}{% endfor %}"),
        "writes 2 images for one",
    ),
    "template that calls itself": (
        template("{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}"),
        "RecursionError",
    ),
    "image processor of nothing": (
        processor(lambda t: t["image_processor"].update(image_processor_type="Nonesuch")),
        "no usable processor",
    ),
}


@pytest.fixture
def copied(tiny_llava, tmp_path):
    return Path(shutil.copytree(tiny_llava, tmp_path / "model"))


@pytest.mark.parametrize("name", VARIANTS)
def test_a_directory_that_cannot_start_is_refused_for_the_true_cause(name, copied, monkeypatch):
    monkeypatch.setattr(chat, "TEMPLATE_SECONDS", 1.0)
    change, why = VARIANTS[name]
    check(copied)
    change(copied)
    with pytest.raises(ModelError, match=why) as caught:
        check(copied)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 500
    assert str(copied) in message


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize(
    "tuning",
    [{}, {"lora": None, "trainable": GROUPS}, {"lora": LoraConfig(targets=("language", "vision"))}],
)
def test_complete_directories_pass(name, tuning, request):
    check(request.getfixturevalue(name), **tuning)


def test_shards_with_an_index_pass(copied):
    sharded(copied)
    check(copied)


def test_odd_files_that_do_no_harm_pass(copied):
    (copied / "generation_config.json").write_text("{not json")
    rewrite(copied / "config.json", lambda tree: tree.update(auto_map={"AutoModel": "x.Y"}))
    (copied / "consolidated.safetensors").write_text(POINTER)
    check(copied)


def test_buffers_that_older_checkpoints_hold_are_no_sign_of_quantisation(copied):
    name = "vision_tower.vision_model.embeddings.position_ids"
    weights(lambda tensors: tensors.update({name: torch.arange(5)[None]}))(copied)
    check(copied)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"patch_size": 2}, "a patch has .* values, not 96"),
        ({"temporal_patch_size": 1}, "a patch has 48 values, not 96"),
        ({"merge_size": 1}, "makes .* tokens of an image"),
    ],
)
def test_a_processor_of_another_qwen_is_refused(change, why, tiny_qwen2_5_vl, tmp_path):
    copied = shutil.copytree(tiny_qwen2_5_vl, tmp_path / "model")
    processor(lambda tree: tree["image_processor"].update(change))(copied)
    with pytest.raises(ModelError, match=why):
        check(copied)
