"""`medray bench memory` on real parts: learners and an engine, each in a process of its own."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Callable
from contextlib import redirect_stdout, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from actors import ONE_MACHINE
from actors.generator.engine import start_engine
from actors.learner import Learner
from medray.bench.learner.worker_protocol import device_name, memory_now, memory_peak
from medray.bench.lookalike import write_lookalike
from medray.bench.memory import (
    CASES,
    WORDS,
    MemoryCase,
    MemorySettings,
    largest_batch,
    row,
    summarise,
)
from medray.config import Config
from medray.errors import RunFailed
from medray.memory.needs import WIDTH, between_steps, learner_needs, update_bytes
from medray.memory.report import sizes
from medray.objectives import needs_of
from medray.policy.model.chat import PROBE_IMAGE, ChatCodec
from medray.policy.model.loading import model_facts
from medray.policy.packing import PackedBatch
from medray.policy.shares import Share, content_of, share_out, split_by_images

Progress = Callable[[str], None]
Rows = list[dict[str, Any]]


def run_memory(task: MemorySettings, progress: Progress) -> dict[str, Any]:
    """Everything that is printed, as one tree of plain values."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rows: Rows = []
    with tempfile.TemporaryDirectory(prefix="medray-bench-") as folder, redirect_stdout(sys.stderr):
        write_lookalike(Path(folder), task.width, task.layers, task.vocabulary)
        for case in CASES:
            config = task.config(case, folder)
            if device.type == "cuda" and config.learner.world_size > torch.cuda.device_count():
                continue
            progress(f"a learner: {case.name}")
            rows += _learner_rows(case, config)
        progress("an engine")
        rows += _engine_rows(task.config(CASES[0], folder))
    return summarise(task, {"device": device_name(device)}, rows)


def _learner_rows(case: MemoryCase, config: Config) -> Rows:
    """Predicted and measured, of the rank that takes most."""
    facts = model_facts(config.model)
    prompt, (picture,) = ChatCodec(facts.path, facts.limits).encode("word " * WORDS, PROBE_IMAGE)
    given = largest_batch(config, facts.vocabulary, prompt, picture, on_one_image=case.on_one_image)
    own = sizes(config, facts)
    parts = learner_needs(config, own, needs_of(config.objective), len(prompt))
    states = between_steps(config, own, parts)
    step = sum(parts.values()) - parts["reserve"]
    ranks = _in_processes(_measure_learner, config, given)
    rows = [row(case.name, "step", step, max(rank["step"] for rank in ranks))]
    if config.model.lora is None:  # an adapter's are less than what a library keeps for itself
        rows.append(row("", "states", states, max(rank["states"] for rank in ranks)))
    if case == CASES[0]:
        rows.append(row("", "update", update_bytes(config, own), ranks[0]["update"]))
    return rows


def _engine_rows(config: Config) -> Rows:
    """Bytes of one token in the cache of an engine."""
    predicted = sizes(config, model_facts(config.model)).cache_values * WIDTH[config.model.dtype]
    (found,) = _in_processes(_measure_engine, config)
    return [row("an engine", "cache", predicted, found["cache"])]


def _in_processes(target: Callable[..., None], config: Config, *arguments: Any) -> list[Any]:
    """What `target` sends from each rank, run at the same time; RunFailed if one ends before."""
    context = multiprocessing.get_context("spawn")
    os.environ["MALLOC_MMAP_THRESHOLD_"] = "65536"  # what a tensor frees is not kept for later
    world = config.learner.world_size if target is _measure_learner else 1
    pipes, processes = [], []
    for rank in range(world):
        ours, theirs = context.Pipe()
        process = context.Process(target=target, args=(theirs, config, rank, *arguments))
        process.start()
        theirs.close()
        pipes.append(ours)
        processes.append(process)
    try:
        address = pipes[0].recv()
        for pipe in pipes:
            pipe.send(address)
        return [pipe.recv() for pipe in pipes]
    except EOFError:
        raise RunFailed("a process of the benchmark", "it ended early", "see above") from None
    finally:
        for process in processes:
            process.join(10)
            process.kill()


def _measure_learner(pipe: Connection, config: Config, rank: int, given: PackedBatch) -> None:
    """One rank: it learns a little with a tiny model first, so that all code is there."""
    os.environ |= {ONE_MACHINE: "1", "OMP_WAIT_POLICY": "PASSIVE"}
    os.dup2(2, 1)
    own = config.model.model_dump() | {"path": "phantom/base"}
    tiny = config.model_copy(update={"model": type(config.model).model_validate(own)})
    learner = Learner(tiny, rank)
    if rank == 0:
        pipe.send(learner.rendezvous())
    learner.join(*pipe.recv())
    learner.step(0, *_share(rank, tiny, _small(tiny, given)))
    before = _taken(learner.device)
    learner.reset(config)
    _forget_peak(learner.device)
    learner.step(0, *_share(rank, config, given))
    step = memory_peak(learner.device) - before
    states = _taken(learner.device) - before
    _, *shards = learner.export("full")
    update = sum(array.nbytes for shard in shards for array in shard.values())
    pipe.send({"states": states, "step": step, "update": update})


def _measure_engine(pipe: Connection, config: Config, rank: int) -> None:
    os.dup2(2, 1)
    pipe.send(None)
    pipe.recv()
    facts = model_facts(config.model)
    engine = start_engine(config, facts, ChatCodec(facts.path, facts.limits).pixel_limits)
    cache = engine.llm_engine.vllm_config.cache_config
    tensors = engine.llm_engine.model_executor.driver_worker.worker.model_runner.kv_caches
    taken = sum(tensor.nbytes for tensor in tensors)
    pipe.send({"cache": taken / (cache.num_gpu_blocks * cache.block_size)})


def _share(rank: int, config: Config, given: PackedBatch) -> tuple[Share, *tuple[PackedBatch, ...]]:
    """What this rank learns from, and the batches that it is in."""
    every = [(content_of(batch), batch) for batch in split_by_images(given)]
    weights = {pair.pair_id: 1.0 for pair in given.pairs}
    share, batches = share_out(every, weights, config.learner.world_size)[rank]
    return share, *batches


def _small(config: Config, given: PackedBatch) -> PackedBatch:
    """As many pairs for the tiny model, whose vocabulary and window are smaller."""
    facts = model_facts(config.model)
    prompt, (picture,) = ChatCodec(facts.path, facts.limits).encode("word", PROBE_IMAGE)
    one = any(pair.image_keys == ("x",) for pair in given.pairs)
    return largest_batch(config, facts.vocabulary, prompt, picture, on_one_image=one)


def _taken(device: torch.device) -> int:
    """Bytes that the process holds now."""
    if device.type == "cpu":
        with suppress(OSError, AttributeError):
            ctypes.CDLL("libc.so.6").malloc_trim(0)
    return memory_now(device)


def _forget_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak is what is taken now
