"""Invalid input to `medray launch`: exit code 2, one line on stderr, nothing left on disk."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest
import yaml
from PIL import Image

from medray import cli
from tests.support.paths import ROOT

ROW = {"id": "a", "image": "a.png", "question": "Is there a nodule?", "answer": "No"}


@pytest.fixture
def workdir(tmp_path, monkeypatch, tiny_llava):
    """A working directory with a small dataset and a configuration that could be launched."""
    monkeypatch.chdir(tmp_path)
    for name in ("HF_HUB_OFFLINE", "RAY_USAGE_STATS_ENABLED"):
        monkeypatch.setenv(name, os.environ.get(name, "1"))  # main() sets them: undo it at the end
    data = tmp_path / "data"
    data.mkdir()
    rows = []
    for name, split in (("a", "train"), ("b", "heldout")):
        Image.new("RGB", (16, 16), (name == "a" and "red") or "blue").save(data / f"{name}.png")
        rows.append(ROW | {"id": name, "image": f"{name}.png", "split": split})
    (data / "records.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = {
        "run": {"name": "r", "output": "runs"},
        "model": {"path": str(tiny_llava), "lora": {"rank": 4}},
        "data": {"kind": "jsonl", "path": "data"},
        "generator": {"max_new_tokens": 16},
        "corruption": {"region": "lesion-or-whole"},
    }
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(config))
    return tmp_path


@pytest.fixture
def refused(workdir, capsys, monkeypatch):
    """Run `medray ARGUMENTS`, check that it refuses them, and return the line on stderr."""

    def run(*arguments):
        before = tree(workdir)
        monkeypatch.setattr(sys, "argv", ["medray", *arguments])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        out, err = capsys.readouterr()
        assert caught.value.code == 2
        check_line(err)
        assert out == ""
        assert tree(workdir) == before
        return err

    return run


def tree(folder):
    return {str(p): p.lstat().st_size for p in folder.rglob("*")}


def check_line(err):
    assert err.startswith("medray: "), err
    assert err.endswith("\n")
    assert err.count("\n") == 1, err
    assert "Traceback" not in err


def test_the_unchanged_configuration_is_valid(workdir):
    """Each test below changes one thing in it."""
    from medray.config import load_config
    from medray.plan import make_plan

    make_plan(load_config("c.yaml", ["corruption.region=lesion-or-saliency"]))
    plan = make_plan(load_config("c.yaml"))
    assert (len(plan.dataset.train), len(plan.dataset.heldout)) == (1, 1)
    assert dict(plan.lines())["editor"] == "findings: can read 100.0% of the training cases"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("loop.stepz=5", "loop.stepz: unknown key — did you mean steps?"),
        ("loop.steps=many", "loop.steps = 'many'"),
        ("loop.steps=0", "loop.steps = 0"),
        ("nonsense", "not of the form key=value"),
        ("loop.steps=[", "not valid YAML"),
        ("data.path=nowhere", "nowhere"),
        ("data.path=null", "path"),
        ("data.path=data/a.png", "a.png"),
        ("data.kind=imagenet", "data.kind = 'imagenet'"),
        ("data.kind=vqa-rad", "not VQA-RAD"),
        ("model.path=nowhere", "model.path = nowhere: no directory with a config.json"),
        ("model.path=data", "no directory with a config.json"),
        ("model.max_length=100000", "model.max_length = 100000"),
        (
            "generator.max_model_len=100000",
            "generator.max_model_len = 100000: the model's context is",
        ),
        ("generator.max_model_len=20", "a generator's context is 20 tokens"),
        (
            "generator.max_num_batched_tokens=60",
            "max_num_batched_tokens is below max_num_seqs (256)",
        ),
        ("generator.max_new_tokens=5000", "generator.max_new_tokens = 5000"),
        ("generator.max_new_tokens=155", "generator.max_new_tokens = 155"),
        ("objective.name=fier", "objective.name = 'fier'"),
        ("objective.epsilon=0.1", "fire has no such hyper-parameter"),
        ("objective.beta=0", "objective.beta = 0"),
        ("objective.visual=sideways", "objective.visual = 'sideways'"),
        ("objective={name: tdpo2, beta: -1}", "objective.beta = -1"),
        ("corruption.region=none", "fire: reads a corrupted image of every pair, and corruption"),
        ("corruption.region=lesion", "and no training case has a region"),
        ("model.adapter=data", "model.adapter = data: holds no adapter_config.json"),
        ("model.reference=nowhere", "nowhere: no directory with a config.json"),
        ("learner.offload=all", "needs zero_stage 3"),
        ("run.name=a/b", "run.name = 'a/b'"),
        ("run.output=c.yaml", "run.output"),
        ("run.output=c.yaml/below", "run.output"),
    ],
)
def test_one_invalid_value_is_refused(refused, override, message):
    assert message in refused("launch", "c.yaml", override)


@pytest.mark.parametrize("name", ["copo", "mdpo"])
def test_an_objective_on_corrupted_images_needs_regions(refused, name):
    overrides = [f"objective={{name: {name}}}", "corruption.region=lesion"]
    assert f"objective.name = {name}" in refused("launch", "c.yaml", *overrides)


def test_kto_needs_more_than_one_pair(refused):
    line = refused("launch", "c.yaml", "objective={name: kto}", "loop.batch=1")
    assert "needs more than one pair per step" in line


@pytest.mark.parametrize("override", ["run.output=c.yaml", "data.path=c.yaml/below"])
def test_phantoms_that_cannot_be_written_are_refused(refused, override):
    refused("launch", "c.yaml", "data={kind: phantom, limit: 3}", "eval.n=1", override)


def test_adapter_sync_without_an_adapter_is_refused(refused):
    line = refused("launch", "c.yaml", "loop.sync=adapter", "model.lora=null")
    assert "loop.sync 'adapter' needs model.lora" in line


@pytest.mark.parametrize(
    "text", ["", "- a\n", "data: [", "data: {kind: jsonl}\nrun: {name: 2024-13-45}\n", "\x00"]
)
def test_a_file_that_is_not_a_configuration_is_refused(refused, workdir, text):
    (workdir / "bad.yaml").write_text(text)
    assert "bad.yaml" in refused("launch", "bad.yaml")


def test_a_missing_configuration_is_refused(refused):
    assert "none.yaml: no such file" in refused("launch", "none.yaml")
    assert "data" in refused("launch", "data")


# --- datasets -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no case"),
        ("\n\n", "holds no case"),
        ("{}\n", "records.jsonl:1: image: is missing"),
        ("[1]\n", "records.jsonl:1"),
        ("{\n", "records.jsonl:1"),
        (json.dumps(ROW | {"split": "train"}) + "\n", "no held-out case"),
        (json.dumps(ROW) + "\n", "no "),
    ],
)
def test_unusable_datasets_are_refused(refused, workdir, text, message):
    (workdir / "data" / "records.jsonl").write_text(text)
    assert message in refused("launch", "c.yaml")


def test_an_empty_folder_is_not_a_dataset(refused, workdir):
    (workdir / "empty").mkdir()
    assert "no records.jsonl" in refused("launch", "c.yaml", "data.path=empty")


# --- models -------------------------------------------------------------------------------


@pytest.fixture
def model(workdir, tiny_llava):
    return shutil.copytree(tiny_llava, workdir / "model")


def change_config(model, **values):
    file = model / "config.json"
    tree = json.loads(file.read_text())
    tree |= values
    file.write_text(json.dumps({k: v for k, v in tree.items() if v is not ...}))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"architectures": ["LlamaForCausalLM"]}, "architecture LlamaForCausalLM is not supported"),
        ({"architectures": ...}, "architecture unknown is not supported"),
        ({"architectures": []}, "architecture unknown is not supported"),
        ({"architectures": "LlavaForConditionalGeneration"}, "config.json"),
        ({"text_config": ...}, "config.json"),
        ({"text_config": None}, "config.json"),
        ({"text_config": {"max_position_embeddings": "long"}}, "config.json"),
        ({"vision_config": ...}, "config.json"),
        ({"vision_config": {"image_size": 16}}, "config.json"),
        ({"vision_config": {"image_size": 16, "patch_size": 0}}, "config.json"),
    ],
)
def test_unsupported_models_are_refused(refused, model, values, message):
    change_config(model, **values)
    assert message in refused("launch", "c.yaml", "model.path=model")


def test_a_reference_with_another_vocabulary_is_refused(refused, model):
    config = json.loads((model / "config.json").read_text())
    change_config(model, text_config=config["text_config"] | {"vocab_size": 350})
    line = refused("launch", "c.yaml", "model.reference=model")
    assert "its vocabulary is 350, the policy's is" in line


def test_a_reference_of_another_architecture_is_refused(refused, tiny_qwen2_5_vl, workdir):
    other = shutil.copytree(tiny_qwen2_5_vl, workdir / "other")
    assert "model.reference = other" in refused("launch", "c.yaml", f"model.reference={other.name}")


def test_an_adapter_without_lora_is_refused(refused):
    line = refused("launch", "c.yaml", "model.adapter=data", "model.lora=null")
    assert "adapter needs lora" in line


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\x00"])
def test_a_model_without_a_readable_configuration_is_refused(refused, model, text):
    (model / "config.json").write_text(text)
    assert "config.json" in refused("launch", "c.yaml", "model.path=model")


@pytest.mark.parametrize(
    "missing_file",
    ["model.safetensors", "tokenizer.json", "processor_config.json", "chat_template.jinja"],
)
def test_a_model_with_a_missing_file_is_refused(refused, model, missing_file):
    (model / missing_file).unlink()
    assert str(model) in refused("launch", "c.yaml", "model.path=model")


def test_weights_that_are_only_a_pointer_are_refused_in_one_line(refused, model):
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4665\nsize 134217728\n"
    (model / "model.safetensors").write_text(pointer)
    line = refused("check", "c.yaml", "model.path=model")
    assert "is a git-lfs pointer" in line


def test_an_adapter_that_a_generator_cannot_apply_is_not_sent(refused, tiny_qwen3_vl, workdir):
    other = shutil.copytree(tiny_qwen3_vl, workdir / "other")
    tuning = "model.lora={targets: [language, vision]}"
    line = refused("check", "c.yaml", f"model.path={other.name}", tuning, "loop.sync=adapter")
    assert "vLLM cannot apply an adapter on vision of Qwen3VL" in line
    assert "loop.sync=full" in line


# --- run directories ----------------------------------------------------------------------


def test_another_run_is_not_overwritten(refused, workdir):
    run = workdir / "runs" / "r"
    run.mkdir(parents=True)
    (run / "config.yaml").write_text("anything")
    line = refused("launch", "c.yaml")
    assert "already holds a run — give another run.name, or --resume" in line


@pytest.mark.parametrize(
    "arguments",
    [
        ("pairs", "nowhere"),
        ("pairs", "data"),
        ("report", "nowhere"),
        ("report", "c.yaml"),
        ("eval", "c.yaml", "--checkpoint", "nowhere"),
        ("check", "none.yaml"),
        ("check", "c.yaml", "loop.stepz=5"),
        ("edit", "none.jsonl", "-o", "out.jsonl"),
        ("corrupt", "none.png", "-o", "out.png", "--box", "0,0,1,1"),
        ("corrupt", "data/a.png", "-o", "out.png", "--box", "a"),
        ("phantom", "write", "-o", "data"),
    ],
    ids=" ".join,
)
def test_other_commands_refuse_invalid_input_in_the_same_way(refused, arguments):
    refused(*arguments)


# --- the process --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("launch",),
        ("lunch", "c.yaml"),
        ("launch", "c.yaml", "--fast"),
        ("pairs", "runs", "--step", "x"),
        ("phantom",),
    ],
    ids=lambda a: " ".join(a) or "nothing",
)
def test_usage_errors_exit_with_code_2(workdir, capsys, monkeypatch, arguments):
    before = tree(workdir)
    monkeypatch.setattr(sys, "argv", ["medray", *arguments])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 2
    assert "Traceback" not in capsys.readouterr().err
    assert tree(workdir) == before


def test_a_process_exits_with_code_2_and_one_line(workdir):
    before = tree(workdir)
    done = subprocess.run(
        [sys.executable, "-m", "medray.cli", "launch", "c.yaml", "loop.stepz=5"],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 2
    check_line(done.stderr)
    assert done.stdout == ""
    assert tree(workdir) == before
