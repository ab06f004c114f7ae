"""Answers of evaluations graded blind: what is drawn, what the page hides, what is read back."""

from __future__ import annotations

import json
import sys

import pytest

from medray import cli
from medray.data.dataset import open_dataset
from medray.errors import DataError
from medray.evaluation.answer_files import write_answer_table
from medray.evaluation.metrics import score_answers
from medray.records import Case
from medray.review import AnswerKey, draw_answers, key_file, read_key
from medray.rundir import RunDirectory
from tests.unit.report.test_report import make_run
from tests.unit.review.review_files import grade, save

REFERENCE = "There is a small nodule in the right upper zone."
TEXTS = {
    "none found": "A nodule on the right.",
    "side": "A nodule on the left.",
    "presence": "No nodule.",
}


def cases(n: int) -> list[Case]:
    return [
        Case(f"case-{i}", f"{i}.png", str(i), "Describe.", REFERENCE, "report") for i in range(n)
    ]


def answered(texts):
    """Scored answers, one text a case."""
    rows = cases(len(texts))
    return score_answers(rows, {case.case_id: text for case, text in zip(rows, texts, strict=True)})


RIGHT, LEFT, NONE = TEXTS["none found"], TEXTS["side"], TEXTS["presence"]


def test_answers_are_drawn_evenly_over_what_the_rules_find():
    rows, key = draw_answers([("one", answered([RIGHT] * 20 + [LEFT] * 3 + [NONE] * 2))], 6, 0, "")
    groups = [entry.group for entry in key.pairs.values()]
    assert sorted(groups) == ["none found"] * 2 + ["presence"] * 2 + ["side"] * 2
    assert key.answered == {"none found": 20, "presence": 2, "side": 3}
    assert {entry.first for entry in key.pairs.values()} == {"A"}
    for row, entry in zip(rows, key.pairs.values(), strict=True):
        assert (row["chosen"], row["rejected"]) == (TEXTS[entry.group], None)
        assert entry.error_types == (entry.group,)
        assert entry.verdicts == ("right" if entry.group == "none found" else "wrong",)


def test_of_two_evaluations_only_answers_that_differ_are_drawn():
    ours, theirs = [RIGHT] * 8 + [LEFT] * 4, [RIGHT, *[LEFT] * 7, *[LEFT + " "] * 2, *[RIGHT] * 2]
    evaluations = [("one", answered(ours)), ("two", answered(theirs))]
    rows, key = draw_answers(evaluations, 50, 0, "")
    assert len(rows) == 9
    assert key.answered == {"side": 9}
    assert abs(sum(entry.first == "A" for entry in key.pairs.values()) - 4.5) == 0.5
    again = draw_answers(evaluations, 50, 0, "")
    assert again == (rows, key)
    assert draw_answers(evaluations, 50, 1, "")[1].pairs != key.pairs
    assert draw_answers(evaluations, 50, 0, "x")[1].pairs.keys() != key.pairs.keys()


def test_nothing_to_draw_is_refused():
    with pytest.raises(DataError, match="no case has two different answers"):
        draw_answers([("a", answered([RIGHT])), ("b", answered([RIGHT.upper()]))], 5, 0, "")
    with pytest.raises(DataError, match="there is no answer"):
        draw_answers([("a", [])], 5, 0, "")


@pytest.fixture
def run(tmp_path) -> RunDirectory:
    """A run whose newest evaluation has kept its answers; rival.jsonl has others."""
    run = make_run(tmp_path / "runs", steps=2)
    heldout = open_dataset(run.read_config().data).heldout
    texts = {
        case.case_id: TEXTS["side" if i % 2 else "none found"] for i, case in enumerate(heldout)
    }
    write_answer_table(run.answers_file(2), score_answers(heldout, texts))
    lines = [{"case_id": case.case_id, "answer": NONE} for case in heldout]
    (tmp_path / "rival.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return run


@pytest.fixture
def medray(monkeypatch, capsys):
    for name in ("HF_HUB_OFFLINE", "RAY_USAGE_STATS_ENABLED"):
        monkeypatch.setenv(name, "1")

    def command(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["medray", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        out, err = capsys.readouterr()
        return int(caught.value.code or 0), out, err

    return command


def key_of(run: RunDirectory) -> AnswerKey:
    (path,) = (run.path / "review").iterdir()
    key = read_key(run.path, path.stem)
    assert isinstance(key, AnswerKey)
    return key


def test_one_evaluation_is_graded_and_read_back(run, tmp_path, medray):
    page = tmp_path / "page.html"
    code, out, err = medray("review", run.path, "--answers", run.path, "-o", page)
    assert (code, err) == (0, ""), err
    key = key_of(run)
    text = page.read_text()
    n = len(key.pairs)
    assert f"{page}: {n} answers" in out
    assert text.count("<article ") == n
    assert text.count("data:image/") == n
    assert 'data-side="B"' not in text
    assert not [hidden for hidden in _hidden(key, run) if hidden in text]

    grades = [
        grade(name, "A" if entry.group == "none found" else "neither", None)
        for name, entry in key.pairs.items()
    ]
    files = [save(tmp_path / "a.json", key.id, grades, reader="Anna")]
    other = [g | {"right": "A"} for g in grades[:-1]] + [grade(grades[-1]["pair"], "cannot tell")]
    files.append(save(tmp_path / "b.json", key.id, other, reader="Ben"))
    code, out, err = medray("review", run.path, "--read", files[0], "--json")
    assert code == 0, err
    (found,) = json.loads(out)["evaluations"]
    assert found["by_error_type"]["none found"]["accept_rate"] == 1
    assert found["by_error_type"]["side"]["accept_rate"] == 0
    assert found["by_verdict"]["wrong"]["wrong"] == 1
    share = key.answered["none found"] / sum(key.answered.values())
    assert found["all_answers"]["accept_rate"] == pytest.approx(share)
    code, out, err = medray("review", run.path, "--read", files[0], "--read", files[1])
    assert code == 0, err
    assert "cases graded by Anna, Ben" in out
    assert "Cohen's kappa" in out


def test_two_evaluations_are_graded_side_by_side(run, tmp_path, medray):
    page, rival = tmp_path / "page.html", tmp_path / "rival.jsonl"
    options = ("--answers", run.path, "--answers", rival, "--no-images")
    code, out, err = medray("review", run.path, *options, "-o", page)
    assert (code, err) == (0, ""), err
    key = key_of(run)
    text = page.read_text()
    assert key.sources == (str(run.path), str(rival))
    assert text.count('<section class="side" data-side="B"') == len(key.pairs)
    assert not [hidden for hidden in _hidden(key, run) if hidden in text]
    assert "rival" not in text

    names = list(key.pairs)
    grades = [grade(name, key.pairs[name].first) for name in names]
    grades[0], grades[1] = grade(names[0], "both"), grade(names[1], "neither")
    file = save(tmp_path / "a.json", key.id, grades)
    code, out, err = medray("review", run.path, "--read", file, "--json")
    assert code == 0, err
    summary = json.loads(out)
    n = len(names)
    first, second = summary["evaluations"]
    assert first["overall"]["accept_rate"] == pytest.approx((n - 1) / n)
    assert second["overall"]["accept_rate"] == pytest.approx(1 / n)
    preference = summary["preference"]
    counts = [preference[k] for k in ("first_alone", "second_alone", "both", "neither")]
    assert counts == [n - 2, 0, 1, 1]
    assert preference["difference"] == pytest.approx((n - 2) / n)
    assert preference["p"] == pytest.approx(min(1.0, 2 * 0.5 ** (n - 2)))
    code, out, _ = medray("review", run.path, "--read", file)
    assert code == 0
    assert "(sign test)" in " ".join(out.split())


def _hidden(key: AnswerKey, run: RunDirectory) -> list[str]:
    """What no page may tell: whose answers, which cases, what the rules say of them."""
    ids = [entry.case_id for entry in key.pairs.values()]
    return [*ids, key.salt, str(run.path), "none found", "verdict", "error_type"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--answers", "nowhere.jsonl"), "nowhere.jsonl: no such file"),
        (("--answers", "."), "is not a run directory"),
        (("--answers", "rival.jsonl") * 3, "--answers: is given 3 times"),
        (("--answers", "rival.jsonl", "--answers", "rival.jsonl"), "no case has two different"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_reviewed_is_one_line(run, tmp_path, medray, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    code, _, err = medray("review", run.path, *options, "-o", "page.html")
    assert code == 2, err
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "page.html").exists()


def test_a_changed_key_is_noticed(run, tmp_path, medray):
    assert medray("review", run.path, "--answers", run.path, "-o", tmp_path / "p.html")[0] == 0
    key = key_of(run)
    path = key_file(run.path, key.id)
    path.write_text(path.read_text().replace('"wrong"', '"right"', 1))
    file = save(tmp_path / "a.json", key.id, [grade(next(iter(key.pairs)), "A")])
    code, _, err = medray("review", run.path, "--read", file)
    assert code == 2
    assert "was changed" in err
