"""The vLLM engine in its actor: the policy that transformers computes, no stale caches."""

from dataclasses import replace

import numpy as np
import pytest
import ray
import torch

from medray.errors import RunFailed
from medray.phantom.studies.study import study
from medray.policy.model.chat import ChatCodec
from medray.policy.model.loading import resolve_model_path
from medray.policy.model.tuning import prepare_policy
from medray.policy.scoring.score_pairs import score_answers
from medray.policy.scoring.scorer import Scorer
from medray.records import Request
from tests.support.models.tiny_qwen2_5_vl import build_tiny_qwen2_5_vl
from tests.support.processes.generators import (
    GROUPS,
    QUESTION,
    SIZES,
    TUNING,
    begin,
    call,
    config,
    expected,
    generate,
    move,
    pictures_of,
    requests,
    score,
    shared_host,
    start,
    update_of,
)

pytestmark = [pytest.mark.ray, pytest.mark.vllm]

COUNT = 4


@pytest.fixture(scope="module")
def host():
    return shared_host()


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    return [study(7, "heldout", i).image for i in range(COUNT)]


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    return pictures_of(SIZES)


@pytest.fixture(scope="module")
def full(host, images):
    """A generator in mode full, its first greedy answers, and the policy it should equal."""
    several = "model.max_images=2"  # prompts of one image are as before
    policy, cfg = start(host, "model.lora=null", f"model.trainable={GROUPS}", several)
    responses = generate(host, 0, requests(COUNT), True, *images)
    return host, [list(r.token_ids) for r in responses], policy, cfg


def test_generator_model_and_reported_logps_agree(full, images):
    host, answers, policy, cfg = full
    responses = generate(host, 0, requests(COUNT), True, *images)
    sampled = np.concatenate([r.token_logps for r in responses])
    ours = expected(policy, cfg, answers, images)
    assert [list(r.token_ids) for r in responses] == answers
    assert all(r.finished and r.policy_version == 0 for r in responses)
    assert np.abs(score(host, 0, answers, images) - ours).mean() < 0.05
    assert np.abs(sampled - ours).mean() < 0.05


def test_sampled_answers_have_log_probabilities_where_they_are_read(full, images):
    host, *_ = full
    assert [r.token_logps for r in generate(host, 0, requests(COUNT), False, *images)] == [
        ()
    ] * COUNT


def test_a_seed_decides_the_answer_whoever_is_answered_beside_it(full, images):
    host, *_ = full
    questions = requests(COUNT)
    answers = [r.token_ids for r in generate(host, 0, questions, False, *images)]
    turned = [r.token_ids for r in generate(host, 0, questions[::-1], False, *images)]
    alone = [r.token_ids for r in generate(host, 0, questions[1:2], False, *images)]
    others = [replace(request, seed=request.seed + 100) for request in questions]
    assert turned == answers[::-1]
    assert alone == answers[1:2]
    assert [r.token_ids for r in generate(host, 0, others, False, *images)] != answers


def test_swapping_the_image_changes_the_generator(full, images):
    host, answers, policy, cfg = full
    swapped = images[::-1]
    other = score(host, 0, answers, swapped)
    assert np.abs(other - score(host, 0, answers, images)).max() > 0.5
    assert np.abs(other - expected(policy, cfg, answers, swapped)).mean() < 0.05


def test_swapping_the_second_image_changes_both_sides_alike(full, images):
    host, answers, policy, cfg = full
    require_agreement_on_two(host, 0, policy, cfg, answers[0], images)


def require_agreement_on_two(host, version, policy, cfg, answer, images) -> None:
    """One question about two images: the engine's scores, and the learner's; then another second
    image."""
    codec = ChatCodec(resolve_model_path(cfg.model.path))
    scorer = Scorer(policy, codec.architecture, codec.image_token_id).eval()
    request = Request("i", "c", QUESTION, (0, 1), 0)
    theirs, ours = [], []
    for second in (1, 2):
        shown = [images[0], images[second]]
        theirs += call(host, "score", version, [request], [answer], *shown)
        prompt, pictures = codec.encode(QUESTION, *shown)
        ours += score_answers([(prompt, np.asarray(answer), pictures)], policy=scorer)
    for side in (theirs, ours):
        assert np.abs(side[0] - side[1]).max() > 0.1
    assert np.abs(np.concatenate(theirs) - np.concatenate(ours)).mean() < 0.05


def test_answers_come_in_parts_each_to_its_own_request(full, images):
    host, answers, *_ = full
    batch = [Request(f"i{n}", f"c{n}", QUESTION, (n % COUNT,), n) for n in range(40)]
    parts = call(host, "generate", 0, batch, True, *images)
    assert [len(part) for part in parts] == [16, 16, 8]
    by_id = {response.item_id: response for part in parts for response in part}
    assert len(by_id) == len(batch)
    for n, request in enumerate(batch):
        assert by_id[request.item_id].case_id == request.case_id
        assert list(by_id[request.item_id].token_ids) == answers[n % COUNT]


def test_who_stops_listening_leaves_nothing_behind(full, images):
    """The engine forgets what it was still to say, and answers the next as before."""
    host, answers, *_ = full
    batch = [Request(f"i{n}", f"c{n}", QUESTION, (n % COUNT,), n) for n in range(80)]
    heard, left = ray.get(host.listen.remote(1, "generate", 0, batch, True, *images))
    assert [len(part) for part in heard] == [16]
    assert left == 0
    responses = generate(host, 0, requests(COUNT), True, *images)
    assert [list(response.token_ids) for response in responses] == answers


def test_another_version_is_refused(full, images):
    host, *_ = full
    with pytest.raises(RunFailed, match="policy version 0"):
        generate(host, 3, requests(COUNT), True, *images)


def test_new_vision_weights_reach_a_prompt_already_seen(full, images):
    """Only the vision tower changes: cached image features would give the old numbers."""
    host, answers, policy, cfg = full
    before = score(host, 0, answers, images)
    torch.manual_seed(0)
    for name, parameter in policy.named_parameters():
        if "vision_tower" in name and parameter.dim() > 1:
            parameter.data += 0.05 * torch.randn_like(parameter)
    call(host, "update", *update_of(policy, "full", 1))
    after = score(host, 1, answers, images)
    assert np.abs(after - before).mean() > 0.1
    assert np.abs(after - expected(policy, cfg, answers, images)).mean() < 0.05


def test_caches_are_counted(full, images):
    """The second time, prompts and pictures are known."""
    host, *_ = full
    version = call(host, "policy_version")
    call(host, "cache_stats")
    long = [replace(r, question=r.question * 40) for r in requests(COUNT)]  # blocks of vLLM's
    stats = []
    for _ in range(2):
        generate(host, version, long, True, *images)
        stats.append(call(host, "cache_stats"))
    first, second = stats
    assert first["prefix_queries"] == second["prefix_queries"] > 0
    assert first["prefix_hits"] < second["prefix_hits"] < second["prefix_queries"]
    assert second["image_queries"] == second["image_hits"] == COUNT
    assert call(host, "cache_stats") == dict.fromkeys(second, 0)


def test_only_a_generator_that_shares_a_gpu_sleeps(full):
    host, *_ = full
    with pytest.raises(RunFailed, match="does not share a GPU"):
        call(host, "sleep")
    call(host, "wake")  # it never slept


# --- every architecture, in both modes ----------------------------------------------------


FOLLOWERS = [
    *(("tiny_llava", "adapter"), ("tiny_llava_qwen2", "full"), ("tiny_qwen2_5_vl", "full")),
    pytest.param("tiny_llava", "full", marks=pytest.mark.chaos),
    pytest.param("tiny_llava_qwen2", "adapter", marks=pytest.mark.chaos),
    pytest.param("tiny_qwen2_5_vl", "adapter", marks=pytest.mark.chaos),
    pytest.param("tiny_qwen2_vl", "adapter", marks=pytest.mark.chaos),
    pytest.param("tiny_qwen3_vl", "full", marks=pytest.mark.chaos),
    pytest.param("tiny_internvl", "full", marks=pytest.mark.chaos),
]


@pytest.mark.parametrize(("model", "mode"), FOLLOWERS)
def test_generator_follows_the_policy(host, request, pictures, model, mode):
    """Before and after updates of the vision tower alone, and then of everything."""
    policy, cfg, agreed = begin(host, request.getfixturevalue(model), mode, pictures)
    previous = agreed(policy, 0)
    for version, marks in ((1, ("vision", "visual")), (2, ("",))):
        move(policy, marks, version)
        call(host, "update", *update_of(policy, mode, version))
        now = agreed(policy, version)
        assert np.abs(now - previous).mean() > 0.1
        previous = now
    answer = np.random.default_rng(2).integers(260, 330, 9).tolist()  # no special tokens
    require_agreement_on_two(host, 2, policy, cfg, answer, pictures)
    if mode == "full":  # an adapter, merged into what is sent
        policy = prepare_policy(policy, config(*TUNING["adapter"]).model)
        move(policy, ("",), 3)
        call(host, "update", *update_of(policy, "full", 3))
        assert np.abs(agreed(policy.merge_and_unload(), 3) - previous).mean() > 0.1


def test_a_head_tied_to_the_embeddings_follows_them(host, tmp_path, pictures):
    """vLLM reloads the embeddings only; on a CPU the head has a packed copy of its own."""
    path = build_tiny_qwen2_5_vl(tmp_path / "tied", tied=True)
    policy, _, agreed = begin(host, path, "full", pictures)
    previous = agreed(policy, 0)
    move(policy, ("embed_tokens",), 1)
    call(host, "update", *update_of(policy, "full", 1))
    assert np.abs(agreed(policy, 1) - previous).mean() > 0.1


def test_what_it_decodes_follows_the_policy(host, tiny_llava, pictures):
    """On a CPU it decodes with packed copies of the weights, which are made when it first does."""
    policy, cfg, _ = begin(host, tiny_llava, "full", pictures)  # has decoded
    for version in (1, 2):
        move(policy, ("",), version)
        call(host, "update", *update_of(policy, "full", version))
        responses = generate(host, version, requests(len(pictures)), True, *pictures)
        decoded = np.concatenate([response.token_logps for response in responses])
        answers = [response.token_ids for response in responses]
        assert np.abs(decoded - expected(policy, cfg, answers, pictures)).mean() < 0.05
