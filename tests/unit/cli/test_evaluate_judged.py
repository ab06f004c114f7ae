"""`medray eval --metric nli`: the judge of the configuration, its figures, its absence."""

from __future__ import annotations

import json

import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from medray.cli import main
from tests.support.processes.chat_server import ChatRequest, Say, serve


@pytest.fixture
def evaluate(tmp_path, monkeypatch, capsys):
    """`medray eval c.yaml` on four open held-out questions: (exit code, stdout, stderr)."""
    (tmp_path / "data").mkdir()
    Image.new("RGB", (8, 8), (0, 0, 99)).save(tmp_path / "data/t.png")
    rows = [
        {"id": "t", "image": "t.png", "question": "Where?", "answer": "Here.", "split": "train"}
    ]
    answers = []
    for i in range(4):
        Image.new("RGB", (8, 8), (40 * i, 0, 0)).save(tmp_path / f"data/{i}.png")
        row = {"id": f"q{i}", "image": f"{i}.png", "question": "Where is the nodule?"}
        rows.append(row | {"answer": f"In the left lung, part {i}.", "split": "heldout"})
        answers.append({"case_id": f"q{i}", "answer": "left" if i < 3 else "right"})
    for name, lines in (("data/records", rows), ("a", answers), ("b", answers[::-1])):
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (tmp_path / f"{name}.jsonl").write_text(text)
    config = {
        "run": {"name": "r", "output": "runs"},
        "model": {"path": "on-another-machine"},
        "data": {"kind": "jsonl", "path": "data"},
    }
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(config))
    monkeypatch.chdir(tmp_path)

    def evaluate(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["medray", "eval", "c.yaml", *arguments])
        code = 0
        try:
            main()
        except SystemExit as ended:
            code = ended.code or 0
        return (code, *capsys.readouterr())

    return evaluate


def reads(request: ChatRequest) -> Say:
    """A judge that knows two facts of every reference, and which answers agree with them."""
    if "facts" not in request.inputs:
        return Say({"facts": ["It is in a lung.", "It is on the left."]})
    second = "Entailment" if request.inputs["answer"] == "left" else "CONTRADICTION"
    return Say({"labels": [{"fact": 1, "label": "neutral"}, {"fact": 2, "label": second}]})


def judge_at(url: str) -> tuple[str, ...]:
    return (f"eval.judge.url={url}", "eval.judge.model=m", "eval.judge.retries=0")


def test_judged_figures_have_intervals_and_are_kept_by_answer(evaluate, tmp_path):
    with serve(reads) as server:
        options = (*judge_at(server.url), "--metric", "nli", "--predictions", "a.jsonl")
        code, out, err = evaluate(*options, "--against", "b.jsonl", "--answers", "kept.parquet")
    assert code == 0, err
    result = json.loads(out)
    assert result["nli.comprehensiveness"] == 3 / 8
    assert result["nli.hallucination"] == 1 / 8
    low, high = result["intervals"]["nli.hallucination"]
    assert 0 <= low < 1 / 8 < high <= 1 / 2
    assert result["difference"]["nli.hallucination"]["value"] == 0
    assert result["judge"]["model"] == "m"
    assert len(result["judge"]["prompts"]) == 8
    assert result["notes"] == [note for note in result["notes"] if not note.startswith("nli")]
    rows = pq.read_table(tmp_path / "kept.parquet").to_pylist()
    kept = {row["case_id"]: row for row in rows}
    assert [kept[f"q{i}"]["nli.hallucination"] for i in range(4)] == [0, 0, 0, 1 / 2]
    assert json.loads(kept["q3"]["nli.judgement"])[1]["label"] == "contradiction"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "eval.judge: no model is named that judges"),
        (judge_at("http://127.0.0.1:9/v1"), "eval.judge = m: does not reply"),
        (judge_at("http://10.0.0.1/v1"), "unencrypted to another machine"),
        (("eval.judge.url=http://127.0.0.1:9/v1",), "url and model go together"),
        (("eval.judge.path=x", "eval.judge.model=m"), "path is served here"),
        (("eval.judge.path=x",), "eval.judge.path = x: no such directory"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_without_a_judge_it_is_one_line(evaluate, options, message):
    code, out, err = evaluate(*options, "--metric", "nli", "--predictions", "a.jsonl")
    assert (code, out) == (2, ""), err
    assert message in err
    assert err.count("\n") == 1, err


def test_the_names_of_judged_metrics_are_listed(evaluate):
    code, _, err = evaluate("--metric", "gpt", "--predictions", "a.jsonl")
    assert code == 2
    assert "nli, crimson, radmatch" in err
