"""The report of a synthetic run: complete, self-contained, and safe from untrusted text."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import html
import html.parser
import io
import random
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from rich.console import Console

from medray.config import Config, CorruptionConfig, DataConfig, LoopConfig, RunConfig
from medray.data.dataset import open_dataset
from medray.errors import UserError
from medray.imaging.corruption import corrupt
from medray.imaging.load import load_image
from medray.ledger import Ledger, read_ledger
from medray.records import Case, Dropped, Pair, PairScore, Response, Span
from medray.report import (
    PairFilter,
    find_rows,
    pair_text,
    read_rows,
    write_pairs_page,
    write_report,
)
from medray.report.pairs import PairImages, choose_pairs, error_types, text_parts
from medray.report.pairs.cards import Pictures, card, choices
from medray.report.pairs.page import PairList
from medray.report.templates import render
from medray.rundir import RunDirectory
from medray.seeds import item_seed
from tests.support.datasets.token_ratios import token_ratios

BIDI = "\u202eodd\u2028\u2066\x1b[2J"
EVIL = "<script>alert('x')</script> \"quoted\" <img src=https://evil.example/p.png onerror=a()>"
KINDS = ("side", "size", "zone")


def write_dataset(folder: Path, cases: int) -> Path:
    """A JSON-lines dataset of 48-pixel images, each with one box."""
    folder.mkdir(parents=True)
    lines = []
    for i in range(cases):
        pixels = np.random.default_rng(i).integers(0, 255, (48, 48, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
        lines.append(
            f'{{"id": "case-{i}", "image": "{i}.png", "question": "Describe the radiograph.",'
            f' "answer": "There is a nodule in the left apex.",'
            f' "regions": [{{"label": "nodule", "box": [10, 12, 22, 26]}}],'
            f' "split": "{"heldout" if i % 4 == 3 else "train"}"}}\n'
        )
    path = folder / "cases.jsonl"
    path.write_text("".join(lines))
    return path


def make_run(folder: Path, *, steps: int = 6, evil: bool = False) -> RunDirectory:
    """A finished run of `steps` steps with eight answers each, its ledger written by Ledger."""
    data = write_dataset(folder / "data", 16)
    config = Config(
        run=RunConfig(name="synthetic", output=str(folder)),
        data=DataConfig(kind="jsonl", path=str(data)),
        loop=LoopConfig(steps=steps),
    )
    run = RunDirectory(config.run_dir)
    run.create(config)
    cases = open_dataset(config.data).train
    ledger, rng = Ledger(run.path), random.Random(0)
    for step in range(1, steps + 1):
        counts = fill_step(ledger, step, cases, config, rng, evil=evil)
        run.append_metrics(metrics_of(step, counts.trained, counts.dropped, rng))
    for step in (0, steps // 2, steps):
        run.write_eval(step, evaluation_of(step / steps, step))
    return run


def fill_step(
    ledger: Ledger, step: int, cases: tuple[Case, ...], config: Config, rng, *, evil: bool
):
    for i in range(8):
        case = cases[rng.randrange(len(cases))]
        if evil:
            case = dataclasses.replace(case, question=EVIL)
        item, version = f"s{step}-{i}", step - 1
        ledger.issue(step, [(item, case)])
        answer = EVIL if evil else f"There is a small nodule in the right apex. {i}"
        ledger.response(Response(item, case.case_id, version, answer, (1, 2), (-0.1, -0.2), True))
        if i == 7:
            reason = "<script>evil()</script>" if evil else "edit-too-large"
            ledger.drop(Dropped(item, case.case_id, version, reason))
        else:
            pair = pair_of(item, case, version, answer, KINDS[i % 3], config.corruption)
            if i == 6:  # the pair of a sentence
                prefix = f"{EVIL} " if evil else "The heart is normal. "
                pair = dataclasses.replace(pair, scope="sentence", sentence=1, prefix=prefix)
            score = PairScore(item, rng.random(), -3.0, -4.0, -3.2, -3.9)
            ledger.trained(pair, score, tokens=token_ratios(pair, rng) if i in (2, 6) else None)
    return ledger.close_step(step)


def pair_of(
    item: str, case: Case, version: int, answer: str, error_type: str, corruption: CorruptionConfig
) -> Pair:
    start = answer.find("right")
    start = start if start >= 0 else 8
    chosen = answer[:start] + "left" + answer[start + 5 :]
    corrupted = corrupt(
        load_image(case.image), case.regions, corruption, seed=item_seed(0, case.case_id)
    )
    assert corrupted is not None
    reason = 'the reference says "left"'
    return Pair(
        pair_id=item,
        item_id=item,
        case_id=case.case_id,
        policy_version=version,
        chosen=chosen,
        rejected=answer,
        chosen_spans=(Span(start, start + 4, error_type, 1.0, reason),),
        rejected_spans=(Span(start, start + 5, error_type, 1.0, reason),),
        response_was_correct=False,
        relevance=0.8,
        editor="findings",
        corrupted_sha256=corrupted.sha256,
        region_source=corrupted.region_source,
        corruption=corrupted.kind,
    )


def metrics_of(step: int, trained: int, dropped: int, rng: random.Random) -> dict:
    decay = 0.69 / (1 + 0.1 * step)
    return {
        "step": step,
        "policy_version": step,
        "loss": decay + rng.uniform(-0.02, 0.02),
        "loss_rank": decay * 0.9,
        "loss_visual": decay * 0.3,
        "loss_kl": 0.01 * step**0.5,
        "reward_margin": 0.05 * step + rng.uniform(-0.1, 0.1),
        "grad_norm": 1 / step,
        "reward_accuracy": min(1.0, 0.5 + 0.02 * step),
        "lr": 3e-4,
        "answers_issued": 8,
        "answers_trained": trained,
        "answers_dropped": dropped,
        "answers_in_flight": 0,
        "pairs_issued": 8,
        "pairs_trained": trained,
        "pairs_dropped": dropped,
        "lag_max": 0,
        "tokens_generated": 410,
        "t_generate": 1.0,
        "t_edit": 0.1,
        "t_learn": 1.4,
        "t_sync": 0.2,
        "t_step": 2.8,
        "sync_bytes": 3_400_000,
        "logp_gap": 0.003 * rng.random(),
    }


def evaluation_of(progress: float, step: int) -> dict:
    rates = {"side": 0.2 - 0.15 * progress, "size": 0.1, "zone": 0.09}
    figures = {
        "report_exact": 0.31 + 0.4 * progress,
        "closed_accuracy": 0.74 + 0.1 * progress,
        "open_recall": 0.52 - 0.01 * progress,
        "finding_f1": 0.6 + 0.2 * progress,
        "hallucination_rate": 0.35 - 0.2 * progress,
    }
    intervals = {name: [value - 0.03, value + 0.03] for name, value in figures.items()}
    return figures | {
        "n": 512,
        "answers": 1536,
        "n_by": {"report": 512, "closed": 512, "open": 512},
        "by_error_type": {
            kind: {"asserted": 100, "contradicted": round(100 * rate), "rate": rate}
            for kind, rate in rates.items()
        },
        "intervals": intervals
        | {f"by_error_type.{kind}": [rate - 0.02, rate + 0.02] for kind, rate in rates.items()},
        "clusters": 512,
        "policy_version": step,
        "seconds": 12.0,
    }


class Loads(html.parser.HTMLParser):
    """Every tag name, and every attribute through which a page could load something."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.targets: list[str] = []
        self.handlers: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name in {"src", "href", "srcset", "data", "poster", "xlink:href", "action"}:
                self.targets.append(value or "")
            if name.startswith("on"):
                self.handlers.append(name)


def assert_self_contained(page: str) -> None:
    """No load, no handler, and no style or script but the two whose digests the policy names."""
    loads = Loads()
    loads.feed(page)
    assert all(target.startswith(("data:image/", "#")) for target in loads.targets)
    assert not loads.handlers
    assert not {"iframe", "link", "object", "embed", "form"} & set(loads.tags)
    assert (loads.tags.count("script"), loads.tags.count("style")) == (1, 1)
    assert "style=" not in page
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    allowed = dict(part.split(" ", 1) for part in html.unescape(policy[1]).split("; "))
    assert allowed["default-src"] == "'none'"
    assert allowed["img-src"] == "data:"
    for tag in ("style", "script"):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.S)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert allowed[f"{tag}-src"] == f"'sha256-{digest}'"
        assert "url(" not in content
        assert "@import" not in content


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return make_run(tmp_path_factory.mktemp("run"))


def test_report_shows_what_happened(run: RunDirectory) -> None:
    page = write_report(run.path).read_text(encoding="utf-8")
    assert_self_contained(page)
    for expected in (
        "Of 48 answers, 42 gave 42 trained pairs and 6 were dropped.",
        "On 512 held-out studies, reports right in every attribute rose from 31.0 % to 71.0 %",
        "hallucination rate fell from 35.0 % to 15.0 %",
        "edit-too-large",
        "Reward margin",
        "Hallucination rate",
        "gaussian sigma=45",
        "max_edit_fraction: 0.5",  # the resolved configuration
        "torch",  # versions
    ):
        assert expected in page
    assert page.count('<article class="pair"') == 48
    shown = {row["case_id"] for row in read_ledger(run.path).to_pylist()}
    sample = choose_pairs([row for row in trained_rows(run) if row["chosen_tokens"]])
    corrupted = {row["corrupted_sha256"] for row in sample}
    assert page.count('href="data:image/png;base64,') == len(shown) + len(corrupted)  # once each
    also = [row for row in trained_rows(run) if row["corrupted_sha256"] in corrupted]
    assert page.count('<svg class="frame"') == 48 + len(also)  # v' where the sample has it
    assert page.count('class="over"') == 24  # the region outlined on both
    assert (
        '<mark title="side: the reference says &#34;left&#34;">right<sup>side</sup></mark>' in page
    )


def trained_rows(run: RunDirectory) -> list[dict]:
    return list(read_rows(run, find_rows(run, PairFilter())))


def test_untrusted_text_is_escaped_everywhere(tmp_path: Path) -> None:
    run = make_run(tmp_path, steps=2, evil=True)
    quoted = "'" + EVIL.replace("'", "''") + "'"
    text = run.config_file.read_text().replace("path: phantom/base", f"path: {quoted}")
    run.config_file.write_text(text)
    for page in (
        write_report(run.path).read_text(),
        write_pairs_page(run.path, tmp_path / "pairs.html").read_text(),
    ):
        assert_self_contained(page)
        assert "&lt;script&gt;" in page
        assert "evil.example" in page  # shown as text, not lost
    assert "evil()" in run.report_file.read_text()


def test_every_text_of_a_row_is_hostile(run: RunDirectory) -> None:
    hostile = f"{EVIL}</script></style>{BIDI}"
    row = trained_rows(run)[6]  # the pair of a sentence
    row = {key: hostile if isinstance(value, str) else value for key, value in row.items()}
    for name in ("chosen_spans", "rejected_spans"):
        row[name] = [span | {"error_type": hostile, "reason": hostile} for span in row[name]]
    dropped = row | {"chosen": None, "chosen_spans": None, "rejected": None}
    cards = [card(PairImages(each, note=hostile), Pictures(0)) for each in (row, dropped)]
    listed = PairList(cards, choices([row, dropped]), 2)
    page = render(
        "pairs/pairs.html.j2",
        title=hostile,
        list=listed,
        pictures=[],
        step=None,
        without_images=True,
    )
    assert_self_contained(page)
    assert not {*BIDI} - {*"odd[2J"} & {*page}
    assert page.count("</script>") == page.count("</style>") == 1
    assert "[U+202E]odd[U+2028][U+2066][U+001B][2J" in page


def test_report_of_a_run_that_has_just_started(tmp_path: Path) -> None:
    config = Config(data=DataConfig(kind="phantom"), run=RunConfig(output=str(tmp_path)))
    RunDirectory(config.run_dir).create(config)
    page = write_report(config.run_dir).read_text()
    assert "No step has finished yet." in page
    assert "has not been evaluated" in page


def test_report_survives_the_loss_of_its_dataset(tmp_path: Path) -> None:
    run = make_run(tmp_path, steps=1)
    (tmp_path / "data" / "cases.jsonl").unlink()
    page = write_report(run.path).read_text()
    assert "The dataset could not be read" in page
    assert "small nodule" in page


def test_a_folder_that_is_not_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a run directory"):
        write_report(tmp_path)


def test_chosen_pairs_are_spread_and_deterministic(run: RunDirectory) -> None:
    table = trained_rows(run)
    rows = choose_pairs(table, 12)
    assert rows == choose_pairs(table, 12)
    assert [row["step"] for row in rows] == sorted(row["step"] for row in rows)
    assert {row["step"] for row in rows} == {1, 2, 3, 4, 5, 6}
    kinds = [kind for row in rows for kind in error_types(row)]
    assert {kind: kinds.count(kind) for kind in KINDS} == dict.fromkeys(KINDS, 4)
    assert all(row["status"] == "trained" for row in rows)
    assert len(choose_pairs(table, 1000)) == 42


def span(start: int, end: int) -> dict:
    return {"start": start, "end": end, "error_type": "side", "severity": 1.0, "reason": ""}


def test_text_parts_split_clip_and_mark_insertions() -> None:
    parts = text_parts("a left apex", [span(2, 6), span(7, 7), span(8, 99)])
    assert [(p.text, p.edited) for p in parts] == [
        ("a ", False),
        ("left", True),
        (" ", False),
        ("", True),
        ("a", False),
        ("pex", True),
    ]
    overlapping = text_parts("abcdef", [span(0, 4), span(2, 6)])
    assert "".join(p.text for p in overlapping) == "abcdef"


@given(st.text(), st.lists(st.tuples(st.integers(-2, 30), st.integers(-2, 30)), max_size=4))
def test_text_parts_never_lose_text(text: str, ranges: list[tuple[int, int]]) -> None:
    parts = text_parts(text, [span(a, b) for a, b in ranges])
    assert "".join(part.text for part in parts) == text


def test_terminal_text_marks_spans_and_interprets_no_markup(run: RunDirectory) -> None:
    row = trained_rows(run)[0]
    shown = pair_text(row)
    assert "There is a small nodule in the right apex. 0" in shown.plain
    marked = {shown.plain[s.start : s.end] for s in shown.spans if "underline" in str(s.style)}
    assert marked == {"left", "right"}
    answer = "[bold]no tag[/] :smile: \\[x] \x1b[31m \u202e"
    evil = pair_text({**row, "rejected": answer, "rejected_spans": []})
    console = Console(file=io.StringIO(), width=300)
    console.print(evil)
    assert "[bold]no tag[/] :smile: \\[x] [U+001B][31m [U+202E]" in console.file.getvalue()
