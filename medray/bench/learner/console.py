"""Print the result of a benchmark for people."""

from __future__ import annotations

from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

NAMES = {
    "ours": "medray",
    "naive": "naive",
    "apart": "a tree per pair",
    "ours-dpo": "medray, dpo",
    "trl": "TRL, dpo",
}

WIDTH = 100  # columns, if the output is not a terminal


def show_learner(result: dict[str, Any]) -> None:
    """At most two small tables, the ratios in words, and the command that measures them again."""
    console = Console(highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console = Console(highlight=False, soft_wrap=True, width=WIDTH)
    sizes = ", ".join(f"{name} {value}" for name, value in result["sizes"].items())
    console.print(f"{result['shape']}, {result['objective']}, {result['dtype']}: {sizes}")
    console.print(variants_table(result))
    for line in sentences(result):
        console.print(line)
    if "sweep" in result:
        console.print(sweep_table(result["sweep"]))
    for note in result["notes"]:
        console.print(note)
    versions = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
    machine = f"{result['device']}, {result['threads']} threads"
    console.print(f"{result['command']}  # {machine}; {versions}", markup=False)


def variants_table(result: dict[str, Any]) -> Table:
    """One row per variant."""
    table = Table("variant", box=SIMPLE)
    columns = ("s per step", "range", "of limit", "pairs/s", "peak GB", "model GB")
    for column in (*columns, "loss", "‖gradient‖"):
        table.add_column(column, justify="right", no_wrap=True)
    for name, variant in result["sides"].items():
        if "error" in variant:
            table.add_row(NAMES[name], *["–"] * 8)
            continue
        seconds = variant["seconds"]
        table.add_row(
            NAMES[name],
            f"{seconds['median']:.3g}",
            f"{seconds['min']:.3g}–{seconds['max']:.3g}",
            f"{variant['of_limit']:.2f}" if "of_limit" in variant else "–",
            f"{variant['pairs_per_second']:.3g}",
            f"{variant['peak_bytes'] / 1e9:.2f}",
            f"{variant['baseline_bytes'] / 1e9:.2f}",
            f"{variant['loss']:.7f}",
            f"{variant['gradient_norm']:.7f}",
        )
    return table


def sentences(result: dict[str, Any]) -> list[str]:
    """The ratios, and the differences between the results, as sentences."""
    lines = [
        f"{NAMES[name]} failed: {variant['error']}"
        for name, variant in result["sides"].items()
        if "error" in variant
    ]
    for name, suffix in (("naive", ""), ("apart", "_vs_apart"), ("trl", "_vs_trl")):
        if f"speedup_vs_{name}" in result:
            lines.append(
                f"{NAMES[name]}: medray is {result[f'speedup_vs_{name}']:.2f} × as fast with "
                f"{result[f'memory_vs_{name}']:.2f} × the memory; the losses differ by "
                f"{result[f'loss_difference{suffix}']:.1e}, gradients by "
                f"{result[f'gradient_difference{suffix}']:.1e} at most"
            )
    if "model_flop_utilisation" in result:
        shares = ", ".join(
            f"{NAMES[name]} {variant['model_flop_utilisation']:.0%}"
            for name, variant in result["sides"].items()
            if "model_flop_utilisation" in variant
        )
        lines.append(f"of the device's peak: {shares}")
    return lines


def sweep_table(rows: list[dict[str, Any]]) -> Table:
    """One row per size that was changed, one size at a time."""
    table = Table("size", box=SIMPLE)
    columns = ("value", "s, medray", "of limit", "GB", "s, naive", "speed-up", "memory")
    for column in (*columns, "gradients differ"):
        table.add_column(column, justify="right")
    previous = ""
    for row in rows:
        name = "" if row["size"] == previous else row["size"]
        previous = row["size"]
        if "error" in row:
            table.add_row(name, str(row["value"]), *["–"] * 6, "failed")
            continue
        table.add_row(
            name,
            str(row["value"]),
            f"{row['seconds_ours']['median']:.3g}",
            f"{row['of_limit']:.2f}" if row["of_limit"] else "–",
            f"{row['peak_bytes_ours'] / 1e9:.2f}",
            f"{row['seconds_naive']['median']:.3g}",
            f"{row['speedup_vs_naive']:.2f}",
            f"{row['memory_vs_naive']:.2f}",
            f"{row['gradient_difference']:.1e}",
        )
    return table
