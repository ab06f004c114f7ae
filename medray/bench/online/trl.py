"""TRL's OnlineDPOTrainer with images, on the same model and cases: a process of its own.

python -m medray.bench.online.trl SETTINGS.json DATASET RESULT.json
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from PIL import Image

from medray.bench.online.result import OnlineSettings
from medray.config import DataConfig
from medray.data.dataset import open_dataset
from medray.editing.findings import FindingsEditor
from medray.errors import ItemError
from medray.policy.model.loading import load_model, resolve_model_path
from medray.records import Case

ALPHA = 2  # times the rank, as in the quickstart
BETA = 0.1
LANGUAGE = r".*language_model.*\.(q|k|v|o|gate|up|down)_proj"


def train(settings: OnlineSettings, cases: list[Case]) -> list[float]:
    """The seconds of every step, each from the end of the one before."""
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoProcessor, TrainerCallback
    from trl.experimental.online_dpo import OnlineDPOTrainer

    ends: list[float] = []

    class Clock(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            ends.append(time.perf_counter())

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            ends.append(time.perf_counter())

    path = resolve_model_path(settings.model)
    with tempfile.TemporaryDirectory() as folder:
        trainer = OnlineDPOTrainer(
            model=load_model(path, settings.dtype),
            reward_funcs=_right,
            args=_arguments(settings, folder),
            train_dataset=Dataset.from_list([_row(case) for case in cases]),
            processing_class=AutoProcessor.from_pretrained(
                path, local_files_only=True, trust_remote_code=False
            ),
            peft_config=LoraConfig(
                r=settings.rank,
                lora_alpha=ALPHA * settings.rank,
                target_modules=LANGUAGE,
                task_type="CAUSAL_LM",
            ),
            callbacks=[Clock()],
        )
        trainer.train()
    return [end - start for start, end in pairwise(ends)]


def _arguments(settings: OnlineSettings, folder: str) -> Any:
    import torch
    from trl.experimental.online_dpo import OnlineDPOConfig

    return OnlineDPOConfig(
        output_dir=folder,
        per_device_train_batch_size=settings.pairs,
        max_steps=settings.steps,
        learning_rate=settings.lr,
        lr_scheduler_type="constant",
        beta=BETA,
        temperature=settings.temperature,
        max_new_tokens=settings.tokens,
        use_cpu=not torch.cuda.is_available(),
        bf16=False,
        fp16=False,
        gradient_checkpointing=False,
        report_to=[],
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
        dataloader_num_workers=0,
    )


def _row(case: Case) -> dict[str, Any]:
    with Image.open(case.image) as image:
        return {
            "prompt": [{"role": "user", "content": case.question}],
            "image": image.convert("RGB"),
            "question": case.question,
            "reference": case.reference,
        }


def _right(
    completions: list[list[dict[str, str]]], question: list[str], reference: list[str], **_: Any
) -> list[float]:
    """1 for an answer that the rules find right, else 0."""
    editor, rewards = FindingsEditor(), []
    for turns, about, stated in zip(completions, question, reference, strict=True):
        try:
            edit = editor.edit(about, stated, turns[0]["content"], seed=0)
        except ItemError:  # nothing that can be judged
            rewards.append(0.0)
        else:
            rewards.append(float(edit.verdict == "right"))
    return rewards


def main(settings_file: str, dataset: str, result_file: str) -> None:
    settings = OnlineSettings(**json.loads(Path(settings_file).read_text()))
    cases = list(open_dataset(DataConfig(kind="phantom", path=dataset)).train)
    Path(result_file).write_text(json.dumps(train(settings, cases)))


if __name__ == "__main__":
    main(*sys.argv[1:])
