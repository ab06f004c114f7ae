"""The tokenizer, chat template and processor of a tiny base model."""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import CLIPImageProcessor, LlavaProcessor, PreTrainedTokenizerFast

from medray.phantom.studies.render import IMAGE_SIZE
from medray.phantom.training.families import IMAGE, MISTRAL, Family

VOCAB_SIZE = 768
PATCH_SIZE = 8
IMAGE_TOKENS = (IMAGE_SIZE // PATCH_SIZE) ** 2


def train_tokenizer(
    corpus: Iterable[str], family: Family = MISTRAL, vocab_size: int = VOCAB_SIZE
) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer that encodes any text; it adds no special tokens by itself."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    turns = [turn.content for turn in family.turns]
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[*family.specials.values(), IMAGE, *turns],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus, trainer)
    tokenizer.add_special_tokens(list(family.turns))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        **family.specials,
        additional_special_tokens=[IMAGE, *family.turns],
        chat_template=family.template,
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_max_length=512,
    )


def make_processor(tokenizer: PreTrainedTokenizerFast) -> LlavaProcessor:
    """Images of any size → 48 px, 36 image tokens; text through the tokenizer."""
    images = CLIPImageProcessor(
        size={"shortest_edge": IMAGE_SIZE},
        crop_size={"height": IMAGE_SIZE, "width": IMAGE_SIZE},
        image_mean=[0.4, 0.4, 0.4],
        image_std=[0.25, 0.25, 0.25],
    )
    return LlavaProcessor(
        images,
        tokenizer,
        patch_size=PATCH_SIZE,
        vision_feature_select_strategy="default",
        image_token=IMAGE,
        num_additional_image_tokens=1,
        chat_template=tokenizer.chat_template,
    )


def prompt_text(tokenizer: PreTrainedTokenizerFast, question: str) -> str:
    """What the chat template renders for one image and one question.

    >>> prompt_text(tokenizer, "Is there a nodule?")  # of the family mistral
    '<s>[INST] <image>\\nIs there a nodule? [/INST]'
    """
    content = [{"type": "image"}, {"type": "text", "text": question}]
    return str(
        tokenizer.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
        )
    )


def expanded_prompt(tokenizer: PreTrainedTokenizerFast, question: str) -> str:
    """The same with one placeholder per image token, as the processor expands it."""
    return prompt_text(tokenizer, question).replace(IMAGE, IMAGE * IMAGE_TOKENS)
