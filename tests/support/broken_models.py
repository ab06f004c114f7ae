"""Model directories that look complete and cannot start: what is changed, and what is said."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4665\nsize 134217728\n"


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


def dangling(path: Path) -> None:
    """As a snapshot of a cache whose blobs were not copied."""
    (path / WEIGHTS).unlink()
    (path / WEIGHTS).symlink_to("../../blobs/4665")


def a_shard_dangling(path: Path) -> None:
    sharded(path)
    (path / "b.safetensors").unlink()
    (path / "b.safetensors").symlink_to("../../blobs/4665")


def renamed(tensors: dict) -> None:
    """As a wrapper for several GPUs saves them."""
    for name in list(tensors):
        tensors["module." + name] = tensors.pop(name)


def beginning(name: str):
    return lambda path: (path / name).write_bytes((path / name).read_bytes()[:200])


def image_token(value: int | None):
    def change(tree):
        tree.update({key: value for key in tree if key.startswith("image_token_i")})

    return config(change)


def no_image_token(tree) -> None:
    tree["added_tokens"] = [t for t in tree["added_tokens"] if t["content"] != "<image>"]
    tree["model"]["vocab"].pop("<image>", None)


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
    "config a pointer": (file("config.json", POINTER), r"config\.json: is a git-lfs pointer"),
    "config empty": (file("config.json", b""), r"config\.json: is empty"),
    "config of no model": (file("config.json", "[]"), "not a model configuration"),
    "no text config": (config(lambda t: t.pop("text_config")), "text_config .* is wrong"),
    "no vision config": (config(lambda t: t.pop("vision_config")), "vision_config is wrong"),
    "no image token named": (image_token(None), "names no image token"),
    "image token beyond all": (image_token(10**6), "no token 1000000, which config.json names"),
    "image token unknown to the tokenizer": (
        lambda p: rewrite(p / "tokenizer.json", no_image_token),
        "writes no token",
    ),
    "tokenizer cut": (beginning("tokenizer.json"), "no usable processor"),
    "no end of text": (
        lambda p: rewrite(p / "tokenizer_config.json", lambda t: t.update(eos_token=None)),
        "has no eos_token",
    ),
    "processor cut": (beginning("processor_config.json"), "no usable processor"),
    "processor without a size": (
        processor(lambda t: t["image_processor"].update(size=None)),
        "cannot encode an image",
    ),
    "processor of another class": (
        processor(lambda t: t.update(processor_class="Nonesuch")),
        "its processor has no tokenizer",
    ),
    "patch size zero": (processor(lambda t: t.update(patch_size=0)), "cannot encode an image"),
    "class token for the processor only": (
        processor(lambda t: t.update(vision_feature_select_strategy="full")),
        "makes 5 tokens of an image, its config.json 4",
    ),
    "class token for the model only": (
        config(lambda t: t.update(vision_feature_select_strategy="full")),
        "makes 4 tokens of an image, its config.json 5",
    ),
    "feature layer of a larger tower": (
        config(lambda t: t.update(vision_feature_layer=-24)),
        "vision_feature_layer is -24, and the tower has 2 layers",
    ),
    "template empty": (template(""), "is empty"),
    "template of another family": (
        template("{% for m in messages %}<img>{{ m['content'][1]['text'] }}{% endfor %}"),
        "leaves the image out: it writes no <image>",
    ),
    "weights a link to nothing": (dangling, "is a link to nothing"),
    "a shard a link to nothing": (a_shard_dangling, r"b\.safetensors is a link to nothing"),
    "weights a folder": (
        lambda p: ((p / WEIGHTS).unlink(), (p / WEIGHTS).mkdir()),
        r"model\.safetensors: is no file",
    ),
    "weights with more behind them": (
        lambda p: (p / WEIGHTS).write_bytes((p / WEIGHTS).read_bytes() + bytes(99)),
        "is cut short, or no safetensors file",
    ),
    "weights with a prefix": (weights(renamed), "is missing"),
    "weights transposed": (
        weights(lambda t: t.update({HEAD: t[HEAD].T.contiguous()})),
        r"lm_head\.weight is \[32, \d+\] and has to be \[\d+, 32\]",
    ),
    "fp8": (
        weights(lambda t: t.update({HEAD: t[HEAD].to(torch.float8_e4m3fn)})),
        "stored as F8_E4M3",
    ),
    "fewer layers": (
        config(lambda t: t["text_config"].update(num_hidden_layers=1)),
        r"layers\.1\..* belongs to no layer",
    ),
    "another tower": (
        config(lambda t: t["vision_config"].update(hidden_size=24)),
        "weights do not fit",
    ),
    "heads of another model": (
        config(lambda t: t["text_config"].update(num_attention_heads=3)),
        "weights do not fit|no model that can be built",
    ),
    "a context without room": (
        config(lambda t: t["text_config"].update(max_position_embeddings=8)),
        "has a context of 8 tokens; a question with an image takes",
    ),
    "GGUF renamed": (file(WEIGHTS, b"GGUF" + bytes(50)), "is GGUF"),
    "index of nothing": (
        lambda p: (sharded(p), file(INDEX, '{"weight_map": {}}')(p)),
        "is no index of weights",
    ),
    "image processor of nothing": (
        processor(lambda t: t["image_processor"].update(image_processor_type="Nonesuch")),
        "no usable processor",
    ),
}
