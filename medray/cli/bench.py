"""`medray bench`: the project's own figures, as ratios against the usual ways."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medray.cli.common import AsJson, print_result, progress, require_actors
from medray.errors import RunFailed, UserError

if TYPE_CHECKING:
    from medray.bench.online import OnlineSettings

app = typer.Typer(no_args_is_help=True, help="Benchmarks, as ratios against the usual ways.")


@app.command()
def learner(
    objective: Annotated[str, typer.Option(help="Name of the objective.")] = "fire",
    shape: Annotated[
        str, typer.Option(help="small, tiny, llava-med-7b, tiny-qwen2.5-vl or qwen2.5-vl-7b.")
    ] = "small",
    batch: Annotated[int, typer.Option(help="Number of images.")] = 4,
    questions: Annotated[int, typer.Option(help="Questions about an image.")] = 1,
    answers: Annotated[int, typer.Option(help="Answers to a question.")] = 1,
    sentences: Annotated[int, typer.Option(help="Pairs of an answer, one a sentence.")] = 1,
    prompt: Annotated[int, typer.Option(help="Prompt tokens after the image.")] = 30,
    common: Annotated[int, typer.Option(help="Tokens that both answers begin with.")] = 20,
    tail: Annotated[int, typer.Option(help="Tokens after the common ones.")] = 40,
    edited: Annotated[int, typer.Option(help="Tokens that differ, at the start of the tail.")] = 6,
    places: Annotated[int, typer.Option(help="Places that the edits are spread over.")] = 1,
    vocab: Annotated[int | None, typer.Option(help="Vocabulary. Default: the shape's.")] = None,
    image_tokens: Annotated[int | None, typer.Option(help="Default: the shape's.")] = None,
    micro_batch: Annotated[
        int | None, typer.Option(help="Pairs of one forward pass, or memory for so many.")
    ] = None,
    repeats: Annotated[int, typer.Option(help="Timed repeats after a warm-up.")] = 5,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    dtype: Annotated[str | None, typer.Option(help="float32 or bfloat16.")] = None,
    sweep: Annotated[bool, typer.Option("--sweep", help="Also vary one size at a time.")] = False,
    naive: Annotated[
        bool, typer.Option("--naive/--no-naive", help="Also measure naive scoring.")
    ] = True,
    trl: Annotated[
        bool, typer.Option("--trl/--no-trl", help="Also measure TRL, if it is installed.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Time one forward and backward pass on pairs: medray, the naive way, and TRL."""
    from medray.bench.learner.settings import make_settings

    task = make_settings(
        shape,
        objective=objective,
        batch=batch,
        questions=questions,
        answers=answers,
        sentences=sentences,
        micro_batch=micro_batch,
        prompt=prompt,
        common=common,
        tail=tail,
        edited=edited,
        places=places,
        vocabulary=vocab,
        image_tokens=image_tokens,
        repeats=repeats,
        device=device,
        dtype=dtype,
    )
    from medray.bench.learner.console import show_learner
    from medray.bench.learner.run import run_learner

    result = run_learner(
        task, with_naive=naive, with_trl=trl, sweep=sweep, progress=progress(quiet=as_json)
    )
    print_result(result, as_json=as_json, show=show_learner)


@app.command("all")
def every(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A folder for results and rows.md.")],
    small: Annotated[
        bool, typer.Option("--small", help="Sizes of a minute, to see that everything runs.")
    ] = False,
    limit: Annotated[float, typer.Option(help="Seconds that one benchmark may take.")] = 1800.0,
) -> None:
    """Run the benchmarks of learner, generators, sync and loop, on a GPU if there is one."""
    import torch

    from medray.bench.series import plan_series, run_series

    known = [
        str(command.name or command.callback.__name__)
        for command in app.registered_commands
        if command.callback
    ]
    benches = plan_series(known, gpu=torch.cuda.is_available(), small=small)
    results = run_series(benches, out, progress(quiet=False), limit=limit)
    typer.echo((out / "rows.md").read_text())
    if failed := [name for name, result in results.items() if "error" in result]:
        raise RunFailed(f"{', '.join(failed)}", "failed", f"see {out}/NAME.log")


@app.command()
def edit(
    answers: Annotated[
        Path | None,
        typer.Option(metavar="F.jsonl", help="Answers to edit. Default: real or built-in ones."),
    ] = None,
    size: Annotated[int, typer.Option(help="Width and height of the image in pixels.")] = 512,
    feather: Annotated[int, typer.Option(help="Width of the soft edge in pixels.")] = 0,
    repeats: Annotated[int, typer.Option(help="Timed repeats after a warm-up.")] = 5,
    as_json: AsJson = False,
) -> None:
    """Count corrupted images and edited answers per second and core."""
    from medray.bench.edit import run_edit, show_edit

    result = run_edit(answers=answers, size=size, feather=feather, repeats=repeats)
    print_result(result, as_json=as_json, show=show_edit)


@app.command()
def localise(
    kind: Annotated[str, typer.Option(help="clipseg, grounding-dino or sam3.")] = "clipseg",
    path: Annotated[str, typer.Option(help="The model's directory.")] = "phantom/localiser",
    threshold: Annotated[float, typer.Option(help="As localiser.threshold.")] = 0.5,
    studies: Annotated[int, typer.Option(help="Number of held-out phantoms.")] = 200,
    seed: Annotated[int, typer.Option(help="Of the phantoms.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Measure how well and how fast a localiser finds what held-out phantoms show."""
    from medray.bench.localise import LocaliseSettings, run_localise, show_localise

    result = run_localise(LocaliseSettings(kind, path, threshold, studies, seed))
    print_result(result, as_json=as_json, show=show_localise)


@app.command()
def loop(
    generators: Annotated[
        str, typer.Option(help="Numbers of simulated generators, separated by commas.")
    ] = "1,4,16,64,256",
    per_process: Annotated[
        int, typer.Option(help="Simulated generators that share a process.")
    ] = 16,
    simulate: Annotated[
        bool, typer.Option("--simulate", help="Only the simulated generators, no real loop.")
    ] = False,
    steps: Annotated[int, typer.Option(help="Steps of the real loop.")] = 20,
    batch: Annotated[int, typer.Option(help="Cases per step of the real loop.")] = 16,
    responses: Annotated[int, typer.Option(help="Answers per case.")] = 4,
    against: Annotated[
        str | None,
        typer.Option(metavar="trl", help="Instead: beside TRL's online DPO, a pair per case."),
    ] = None,
    shape: Annotated[
        str, typer.Option(help="With --against: tiny, or small, which answers in paragraphs.")
    ] = "tiny",
    model: Annotated[
        str | None, typer.Option(help="With --against: instead of phantom/base, a model directory.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure the driver's cost per answer, and what overlapping the stages gains."""
    from medray.bench.loop import LoopSettings, show_loop

    require_actors()
    if against is not None:
        from medray.bench.online import make_online_settings

        _against_trl(against, make_online_settings(shape, model, steps=steps, pairs=batch), as_json)
        return
    if not all(part.strip().isdigit() for part in generators.split(",")):
        raise UserError(f"--generators {generators}", "not whole numbers", "write 1,4,16,64,256")
    counts = tuple(int(part) for part in generators.split(","))
    task = LoopSettings(
        counts, per_process, () if simulate else (0, 1), steps, batch=batch, responses=responses
    )
    from actors.bench.loop import run_loop

    result = run_loop(task, progress(quiet=as_json))
    print_result(result, as_json=as_json, show=show_loop)


def _against_trl(against: str, task: OnlineSettings, as_json: bool) -> None:
    from medray.bench.online import require_trl, show_online

    if against != "trl":
        raise UserError(f"--against {against}", "is not known", "give trl")
    require_trl()
    from actors.bench.loop import run_against_trl

    result = run_against_trl(task, progress(quiet=as_json))
    print_result(result, as_json=as_json, show=show_online)


@app.command()
def generate(
    model: Annotated[str, typer.Option(help="A model directory, as model.path.")] = "phantom/base",
    dtype: Annotated[str, typer.Option(help="bfloat16 or float32.")] = "bfloat16",
    prompts: Annotated[int, typer.Option(help="Questions of a round, each about an image.")] = 128,
    tokens: Annotated[int, typer.Option(help="Tokens of an answer, at most.")] = 48,
    size: Annotated[int, typer.Option(help="Width and height of an image in pixels.")] = 336,
    sequences: Annotated[
        int | None, typer.Option(help="Decoded together. Default: as in a run.")
    ] = None,
    repeats: Annotated[int, typer.Option(help="Timed rounds after a warm-up.")] = 5,
    as_json: AsJson = False,
) -> None:
    """Time a run's generator beside vLLM as it is, in turns, with equal sampling."""
    from medray.bench.generate import GenerateSettings, show_generate

    require_actors()
    task = GenerateSettings(model, dtype, prompts, tokens, size, sequences, repeats=repeats)
    from actors.bench.generate import run_generate

    result = run_generate(task, progress(quiet=as_json))
    print_result(result, as_json=as_json, show=show_generate)


@app.command()
def sync(
    gigabytes: Annotated[
        float, typer.Option(help="Size of the weights, at least, in units of 10^9 bytes.")
    ] = 1.0,
    generators: Annotated[
        int, typer.Option(help="Generators updated at the same time, measured beside one.")
    ] = 2,
    repeats: Annotated[int, typer.Option(help="Timed updates after a warm-up.")] = 5,
    as_json: AsJson = False,
) -> None:
    """Time a weight update from a learner to vLLM, beside a plain copy in memory."""
    from medray.bench.sync import SyncSettings, show_sync

    require_actors()
    task = SyncSettings(gigabytes, generators, repeats)
    from actors.bench.sync import run_sync

    result = run_sync(task, progress(quiet=as_json))
    print_result(result, as_json=as_json, show=show_sync)


@app.command()
def memory(
    width: Annotated[int, typer.Option(help="Of the language model's layers.")] = 512,
    layers: Annotated[int, typer.Option(help="Layers of the language model.")] = 8,
    vocabulary: Annotated[int, typer.Option(help="Rows of embedding and head.")] = 32_000,
    micro_batch: Annotated[int, typer.Option(help="As learner.micro_batch.")] = 4,
    tokens: Annotated[int, typer.Option(help="Tokens of an answer.")] = 64,
    dtype: Annotated[str, typer.Option(help="bfloat16 or float32.")] = "bfloat16",
    as_json: AsJson = False,
) -> None:
    """Compare the memory plan of `medray check` with what learners and an engine take."""
    from medray.bench.memory import MemorySettings, show_memory

    require_actors()
    task = MemorySettings(width, layers, vocabulary, micro_batch, tokens, dtype)
    from actors.bench.memory import run_memory

    result = run_memory(task, progress(quiet=as_json))
    print_result(result, as_json=as_json, show=show_memory)


@app.command()
def ledger(
    rows: Annotated[int, typer.Option(help="Rows of the long ledger.")] = 2_000_000,
    batch: Annotated[int, typer.Option(help="Rows of a step.")] = 32,
    tokens: Annotated[int, typer.Option(help="Words of an answer.")] = 300,
    as_json: AsJson = False,
) -> None:
    """Measure what a run's length costs its ledger, its report and a search in it."""
    from medray.bench.scale.ledger import LedgerSettings, run_ledger, show_ledger

    result = run_ledger(LedgerSettings(rows, batch, tokens), progress(quiet=as_json))
    print_result(result, as_json=as_json, show=show_ledger)


@app.command()
def start(
    cases: Annotated[
        int, typer.Option(help="Training cases, each with an image of its own.")
    ] = 377_000,
    as_json: AsJson = False,
) -> None:
    """Measure what a large collection costs check, launch up to its first step, and --resume."""
    from medray.bench.scale.start import StartSettings, run_start, show_start

    require_actors()
    result = run_start(StartSettings(cases), progress(quiet=as_json))
    print_result(result, as_json=as_json, show=show_start)
