"""Saliency boxes: computed by learners, whose training they do not change."""

import numpy as np
import pytest
import ray
import torch

from medray.config import ModelConfig
from medray.policy.model.chat import ChatCodec
from medray.policy.model.loading import load_model, model_facts
from medray.policy.saliency import EncodedQuestion, hottest_box, saliency
from medray.policy.scoring.scorer import Scorer
from tests.support.datasets.pairs import phantom_batch
from tests.support.processes.learners import call, config, exported, loss_of, start, step

pytestmark = [pytest.mark.ray, pytest.mark.deepspeed]

SHARE = 0.1
DROPOUT = "model.lora={rank: 4, alpha: 8, dropout: 0.3}"
FULL = ("model.lora=null", "model.trainable=[language, projector, vision]")
BF16 = "model.dtype=bfloat16"


def phantom_questions(items: int = 5) -> tuple[list[tuple[int, ...]], list[EncodedQuestion]]:
    """Answers, and questions about images of several sizes; five: two ranks have unequal shares."""
    batch = phantom_batch(pairs=items)
    sizes = [(48, 48), (60, 80), (90, 50)]
    questions = [
        EncodedQuestion(
            pair.prompt_ids,
            (batch.pixels[pair.image_keys[0]],),
            (sizes[i % 3],),
            "pad" if i % 2 else "crop",
        )
        for i, pair in enumerate(batch.pairs)
    ]
    return [tuple(pair.chosen.ids.tolist()) for pair in batch.pairs], questions


def look(hosts: list, answers: list, questions: list) -> list:
    """All boxes in order; the questions come in two parts, as from two editors."""
    by_rank = call(hosts, "saliency_boxes", answers, questions[:2], questions[2:])
    boxes: list = [None] * len(questions)
    for rank, own in enumerate(by_rank):
        boxes[rank :: len(hosts)] = own
    return boxes


def expected(path, answers: list, questions: list) -> list:
    """One question after the other through the model as it was loaded."""
    facts = model_facts(ModelConfig(path=str(path)))
    policy = Scorer(load_model(facts.path, "float32"), facts.architecture, facts.image_token).eval()
    heats = [
        saliency(policy, question, np.array(ids), np.ones(len(ids), bool))
        for ids, question in zip(answers, questions, strict=True)
    ]
    return [hottest_box(heat, SHARE) for heat in heats]


@pytest.mark.parametrize(("world", "stage"), [(2, 3), pytest.param(1, 2, marks=pytest.mark.chaos)])
def test_every_item_has_its_box_however_many_ranks(world, stage):
    answers, questions = phantom_questions()
    wanted = expected("phantom/base", answers, questions)
    assert None not in wanted
    assert len(set(wanted)) > 1
    cfg = config(f"learner.world_size={world}", f"learner.zero_stage={stage}")
    hosts = start(cfg)
    assert look(hosts, answers, questions) == wanted
    assert look(hosts, answers[:1], questions[:1]) == wanted[:1]


def test_pictures_of_several_sizes(tiny_qwen2_5_vl):
    codec, rng = ChatCodec(tiny_qwen2_5_vl), np.random.default_rng(0)
    sizes = [(24, 40), (56, 24), (24, 24)]
    images = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]
    questions = [
        EncodedQuestion(*codec.encode("Where?", image), (image.shape[:2],), codec.fit)
        for image in images
    ]
    answers = [tuple(range(10, 14 + i)) for i in range(3)]
    cfg = config(f"model.path={tiny_qwen2_5_vl}", "learner.world_size=2", "learner.zero_stage=3")
    assert look(start(cfg), answers, questions) == expected(tiny_qwen2_5_vl, answers, questions)


WAYS = [(2, 2, (DROPOUT,))]
MORE = [
    (1, 2, (BF16, *FULL)),
    *((world, stage, (DROPOUT,)) for world, stage in ((1, 0), (1, 2), (1, 3), (2, 0), (2, 3))),
    *((world, stage, (BF16, *FULL)) for world, stage in ((1, 3), (2, 2), (2, 3))),
    (2, 3, (BF16, DROPOUT, "learner.gradient_checkpointing=true")),
    (1, 2, (BF16, DROPOUT, "learner.offload=optimizer")),
]
WAYS += [pytest.param(*way, marks=pytest.mark.chaos) for way in MORE]


@pytest.mark.parametrize(("world", "stage", "overrides"), WAYS, ids=str)
def test_learning_goes_on_as_if_nobody_had_asked(world, stage, overrides):
    cfg = config(f"learner.world_size={world}", f"learner.zero_stage={stage}", *overrides)
    straight = learn(start(cfg), with_saliency=False)
    hosts = start(cfg)
    losses, weights = learn(hosts, with_saliency=True)
    assert losses == straight[0]
    assert [n for n, w in weights.items() if not torch.equal(w, straight[1][n])] == []


def learn(hosts: list, *, with_saliency: bool) -> tuple[list[float], dict[str, torch.Tensor]]:
    """Losses of three steps and the weights after them, with questions before and between."""
    losses, (answers, questions) = [], phantom_questions()
    for version in range(3):
        if with_saliency:
            before = ray.get([host.gradients.remote() for host in hosts])
            look(hosts, answers, questions)
            assert ray.get([host.gradients.remote() for host in hosts]) == before
        losses.append(loss_of(step(hosts, version, phantom_batch(seed=version))))
    return losses, exported(hosts)
