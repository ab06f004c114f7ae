"""The command that evaluates any model, and compares two."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medray.cli.common import Address, ConfigPath, Overrides, require_actors
from medray.errors import DataError, UserError

if TYPE_CHECKING:
    from medray.config import Config
    from medray.evaluation.answers import AnswerRow, Answers
    from medray.evaluation.judging import Judge
    from medray.evaluation.sums import Figure
    from medray.records import Case

app = typer.Typer()


@app.command("eval")
def evaluate(
    config: ConfigPath,
    overrides: Overrides = None,
    model: Annotated[
        Path | None, typer.Option(metavar="DIR", help="A model, or a LoRA adapter on model.path.")
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="checkpoints/step-NNNNNN, or a run: its newest."),
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(metavar="F.jsonl", help="Answers made elsewhere: case_id, answer a line."),
    ] = None,
    against: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Any of these, compared case by case.")
    ] = None,
    answers: Annotated[
        Path | None,
        typer.Option(metavar="F", help="Also write the answers: .jsonl, or .parquet with scores."),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Also nli, crimson, radmatch (by the model of eval.judge), or a metric of another "
            "package, e.g. radeval:radgraph.",
        ),
    ] = None,
    address: Address = None,
) -> None:
    """Evaluate a model on the held-out cases; prints JSON. By default the one in CONFIG."""
    path = _only_one({"--model": model, "--checkpoint": checkpoint, "--predictions": predictions})
    _require_writable(answers)
    paths = [path] if against is None else [path, against]
    if not all(map(_is_answer_file, paths)):
        require_actors()
    from medray.config import load_config
    from medray.evaluation.judging import JUDGED, open_judge
    from medray.evaluation.packages import find_metrics

    names = find_metrics(metric or [], JUDGED)
    settings = load_config(config, overrides or [])
    judge = None if JUDGED.keys().isdisjoint(names) else open_judge(settings.eval.judge)
    cases, found = _answers_of(settings, paths, address)
    from medray.evaluation.metrics import compare, score_answers, summarise

    sides = [score_answers(cases, part.texts, confidences=part.confidences) for part, _ in found]
    measured = _measure(sides, names, settings, judge, address)
    rows, more, (given, metadata) = measured.sides[0], measured.figures, found[0]
    result = summarise(rows, more)
    notes = [*_lines(result["notes"]), *_lines(metadata.get("notes")), *measured.notes]
    result |= metadata | measured.about | {"notes": list(dict.fromkeys(notes))}
    if measured.paired is not None:
        result |= compare(*measured.paired, more)
        if not result["cases"]:
            raise DataError(f"--against {against}", "has no case in common", "give another")
    if answers is not None:
        _write(answers, given, rows, more)
    typer.echo(json.dumps(result, indent=1, allow_nan=False))


@dataclass(frozen=True, slots=True)
class Measured:
    """The scored answers of each side with what further metrics say of them, and their figures.

    `paired`: two sides as they are to be compared; `about`: for the result, which judge it was.
    """

    sides: list[list[AnswerRow]]
    paired: tuple[list[AnswerRow], list[AnswerRow]] | None
    figures: list[Figure]
    notes: list[str]
    about: dict[str, Any]


def _measure(
    sides: list[list[AnswerRow]],
    names: Sequence[str],
    settings: Config,
    judge: Judge | None,
    address: str | None,
) -> Measured:
    """What the metrics of other packages and of the judge say of the answers."""
    from medray.evaluation.judging import JUDGED, judge_answers, shared
    from medray.evaluation.metrics import WORDED
    from medray.evaluation.packages import add_external

    judged = [JUDGED[name] for name in names if name in JUDGED]
    external = [name for name in names if name not in JUDGED]
    figures: list[Figure] = []
    notes: list[str] = []
    for number, side in enumerate(sides):
        sides[number], figures, missing = add_external(side, external, types=WORDED)
        notes += missing
    if not judged:
        return Measured(sides, _pair(sides), figures, notes, {})
    with _at_work(judge, settings, address) as model:
        sides, more, lines = judge_answers(sides, judged, model)
        about = {"judge": model.describe()}
    notes += lines[0] + [f"--against: {line}" for side in lines[1:] for line in side]
    paired = _pair(sides)
    paired = paired and shared(*paired, judged)
    return Measured(sides, paired, [*figures, *more], notes, about)


def _pair(sides: list[list[AnswerRow]]) -> tuple[list[AnswerRow], list[AnswerRow]] | None:
    return (sides[0], sides[1]) if len(sides) == 2 else None


@contextlib.contextmanager
def _at_work(judge: Judge | None, settings: Config, address: str | None) -> Iterator[Judge]:
    """The judge; one whose model is served here, as long as the context lasts."""
    if judge is not None:
        yield judge
        return
    require_actors()
    from actors.evaluate import serve_judge
    from medray.evaluation.judging import Judge

    with serve_judge(settings, address=address) as served:
        yield Judge(settings.eval.judge, served)


Found = tuple["Answers", dict[str, Any]]  # answers, and what is said of them beside the figures


def _only_one(given: dict[str, Path | None]) -> Path | None:
    """The one path that is given, if any; a file of answers is not taken for a model, nor a model
    for answers."""
    named = {name: path for name, path in given.items() if path is not None}
    if len(named) > 1:
        raise UserError(" and ".join(named), "are alternatives", "give one; another --against it")
    for name, path in named.items():
        if name != "--predictions" and path.is_file():
            todo = "give a folder; a file of answers is --predictions"
            raise UserError(f"{name} {path}", "is a file", todo)
        if name == "--predictions" and not path.is_file():
            why = "is a folder" if path.is_dir() else "no such file"
            todo = "give a file of answers; a model is --model, a run --checkpoint"
            raise UserError(f"{name} {path}", why, todo)
    return next(iter(named.values()), None)


def _require_writable(answers: Path | None) -> None:
    """Refuse a place where no answers could be written, before anything is evaluated."""
    if answers is None:
        return
    if answers.suffix not in (".jsonl", ".parquet"):
        why = "does not end with .jsonl or .parquet"
        raise UserError(f"--answers {answers}", why, "give a name that ends so")
    if not answers.parent.is_dir():
        raise UserError(f"--answers {answers}", f"{answers.parent}: no such folder", "create it")


def _answers_of(
    config: Config, paths: Sequence[Path | None], address: str | None
) -> tuple[list[Case], list[Found]]:
    """The cases, and the answers of every path to them; None is the configuration's own model."""
    if all(map(_is_answer_file, paths)):
        from medray.plan import open_data

        cases = _evaluated(*open_data(config))
        return cases, [_read(path, cases) for path in paths if path is not None]
    from actors.evaluate import answer_with, find_candidate
    from medray.plan import make_plan

    candidates = {path: find_candidate(path) for path in paths if not _is_answer_file(path)}

    first = next(iter(candidates.values()))
    replaced = all(candidate.kind == "model" for candidate in candidates.values())
    plan = make_plan(_with_model(config, first.path) if replaced else config, resume=True)
    cases = _evaluated(plan.config, plan.dataset)
    files = {
        path: _read(path, cases) for path in paths if path is not None and _is_answer_file(path)
    }
    answered = answer_with(plan, list(candidates.values()), address=address)
    found: dict[Path | None, Found] = {
        path: (policy.answers, policy.metadata(version))
        for path, (policy, version) in zip(candidates, answered, strict=True)
    }
    return cases, [(found | files)[path] for path in paths]


def _is_answer_file(path: Path | None) -> bool:
    """By its name too, so that a missing file is not called a missing directory."""
    return path is not None and (path.is_file() or path.suffix in (".jsonl", ".parquet"))


def _read(path: Path, cases: Sequence[Case]) -> Found:
    from medray.evaluation.answer_files import read_answers

    answers, notes = read_answers(path, cases)
    unknown = {"unusable": None, "policy_version": None, "seconds": None}
    return answers, {**unknown, "notes": notes}


def _evaluated(config: Config, dataset: Any) -> list[Case]:
    from medray.data.stream import first_studies

    return first_studies(dataset.heldout, config.eval.n)


def _with_model(config: Config, path: Path) -> Config:
    """This model in the place of the configuration's own, which need not be here then."""
    own = {"path": str(path), "adapter": None, "reference": None}
    return config.model_copy(update={"model": config.model.model_copy(update=own)})


def _write(path: Path, answers: Answers, rows: Sequence[AnswerRow], more: Sequence[Figure]) -> None:
    from medray.evaluation.answer_files import write_answer_table, write_answers

    if path.suffix == ".parquet":
        write_answer_table(path, rows, more)
    else:
        write_answers(path, answers)


def _lines(notes: object) -> list[str]:
    return [str(note) for note in notes] if isinstance(notes, list) else []
