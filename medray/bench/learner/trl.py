"""TRL's DPOTrainer on the same weights, images and tokens, one training step per turn."""

from __future__ import annotations

import tempfile
from typing import Any

from PIL import Image

from medray.bench.learner.models import (
    BOS,
    DTYPES,
    EOS,
    IMAGE,
    PAD,
    PATCH,
    SPECIAL,
    VIDEO,
    VISION_END,
    VISION_START,
    counts,
    fill_adapters,
    image_processor,
    is_qwen,
)
from medray.bench.learner.settings import Settings
from medray.bench.learner.worker_protocol import WorkerProtocol
from medray.bench.learner.workload import Workload


def train(policy: Any, settings: Settings, workload: Workload, protocol: WorkerProtocol) -> None:
    """Serve the commands from inside TRL's training loop, which waits after each step.

    Only `training_step` is timed: forward passes of policy and reference, and the backward pass.
    The batch is collated before it; the optimiser (at a learning rate of 0) runs after it.
    """
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl import DPOTrainer

    class Timed(DPOTrainer):
        def training_step(self, *arguments: Any, **options: Any) -> Any:
            protocol.start_timer()
            loss = super().training_step(*arguments, **options)
            protocol.stop_timer(loss, self.model)
            return loss

    class WaitForCommand(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            protocol.ready(**counts(trainer.model))
            control.should_training_stop = not protocol.next_command()

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            protocol.report()
            control.should_training_stop = not protocol.next_command()

    # TRL creates the adapter itself: then its reference is the model without adapters, like ours.
    lora = policy.peft_config["default"]
    with tempfile.TemporaryDirectory() as folder:
        trainer = Timed(
            model=policy.unload(),
            args=_arguments(settings, protocol, folder),
            train_dataset=Dataset.from_list(dataset_rows(settings, workload)),
            processing_class=make_processor(settings),
            peft_config=lora,
            callbacks=[WaitForCommand()],
        )
        for parameter in trainer.model.parameters():
            if parameter.requires_grad:  # TRL leaves adapters in float32 and computes around them
                parameter.data = parameter.data.to(DTYPES[settings.dtype])
        fill_adapters(trainer.model, settings)
        trainer.train()


def _arguments(settings: Settings, protocol: WorkerProtocol, folder: str) -> Any:
    from trl import DPOConfig

    return DPOConfig(
        output_dir=folder,
        per_device_train_batch_size=settings.batch,
        max_steps=1_000_000,
        learning_rate=0.0,
        max_grad_norm=0.0,
        beta=0.1,
        use_cpu=protocol.device.type == "cpu",
        bf16=False,
        fp16=False,
        gradient_checkpointing=False,
        disable_dropout=True,
        max_length=None,
        report_to=[],
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
        dataloader_num_workers=0,
    )


def dataset_rows(settings: Settings, workload: Workload) -> list[dict[str, Any]]:
    """The rows of one batch, which every step reuses. Words are named by their ids."""
    image = SPECIAL[IMAGE]
    if is_qwen(settings):
        image = f"{SPECIAL[VISION_START]}{image}{SPECIAL[VISION_END]}"
    return [
        {
            "images": [Image.fromarray(workload.images[pair.image_keys[0]])],
            "prompt": f"{image} {_text(pair.prompt_ids[-settings.prompt :])} ",
            "chosen": _text(pair.chosen.ids),
            "rejected": _text(pair.rejected.ids),
        }
        for pair in workload.pairs
    ]


def _text(ids: Any) -> str:
    return " ".join(f"w{token}" for token in ids)


def make_processor(settings: Settings) -> Any:
    """Image processor, and a tokenizer with words `w8`, `w9`, … in addition to special tokens."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import (
        LlavaProcessor,
        PreTrainedTokenizerFast,
        Qwen2_5_VLProcessor,
        Qwen2VLVideoProcessor,
    )

    names = [*SPECIAL, *(f"w{i}" for i in range(len(SPECIAL), settings.vocabulary))]
    words = models.WordLevel({name: i for i, name in enumerate(names)}, unk_token=SPECIAL[0])
    tokenizer = Tokenizer(words)
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast_tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token=SPECIAL[0],
        bos_token=SPECIAL[BOS],
        eos_token=SPECIAL[EOS],
        pad_token=SPECIAL[PAD],
        additional_special_tokens=[SPECIAL[i] for i in (IMAGE, VISION_START, VISION_END, VIDEO)],
    )
    if is_qwen(settings):
        fast_tokenizer.image_token, fast_tokenizer.video_token = SPECIAL[IMAGE], SPECIAL[VIDEO]
        return Qwen2_5_VLProcessor(
            image_processor(settings), fast_tokenizer, Qwen2VLVideoProcessor()
        )
    return LlavaProcessor(
        image_processor(settings),
        fast_tokenizer,
        patch_size=PATCH,
        image_token=SPECIAL[IMAGE],
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )
