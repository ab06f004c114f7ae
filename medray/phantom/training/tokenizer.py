"""The tokenizer, chat template and processor of the tiny base model.

The prompt ends in the token "[/INST]", which swallows white space to its right, and the answer
begins without a leading space. So encode(prompt) + encode(answer) is exactly the encoding of
prompt + " " + answer, and decoding the answer's tokens gives the answer's text back unchanged.
"""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import CLIPImageProcessor, LlavaProcessor, PreTrainedTokenizerFast

from medray.phantom.studies.render import IMAGE_SIZE

VOCAB_SIZE = 768
PATCH_SIZE = 8
IMAGE_TOKENS = (IMAGE_SIZE // PATCH_SIZE) ** 2
BOS, EOS, PAD, IMAGE = "<s>", "</s>", "<pad>", "<image>"
OPEN_TURN, CLOSE_TURN = "[INST]", "[/INST]"

CHAT_TEMPLATE = (
    "<s>{% for message in messages %}"
    "{% if message['role'] == 'user' %}[INST] "
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] if part['type'] == 'image' %}<image>\n{% endfor %}"
    "{% for part in message['content'] if part['type'] == 'text' %}{{ part['text'] }}{% endfor %}"
    "{% endif %} [/INST]"
    "{% else %} "
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] if part['type'] == 'text' %}{{ part['text'] }}{% endfor %}"
    "{% endif %}</s>"
    "{% endif %}{% endfor %}"
)


def train_tokenizer(corpus: Iterable[str], vocab_size: int = VOCAB_SIZE) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer that encodes any text; it adds no special tokens by itself."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[PAD, BOS, EOS, IMAGE, OPEN_TURN, CLOSE_TURN],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus, trainer)
    turns = [
        AddedToken(t, lstrip=t == CLOSE_TURN, rstrip=True, normalized=False, special=True)
        for t in (OPEN_TURN, CLOSE_TURN)
    ]
    tokenizer.add_special_tokens(turns)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        additional_special_tokens=[IMAGE, *turns],
        chat_template=CHAT_TEMPLATE,
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
        chat_template=CHAT_TEMPLATE,
    )


def prompt_text(question: str) -> str:
    """What the chat template renders for one image and one question.

    >>> prompt_text("Is there a nodule?")
    '<s>[INST] <image>\\nIs there a nodule? [/INST]'
    """
    return f"{BOS}{OPEN_TURN} {IMAGE}\n{question} {CLOSE_TURN}"
