"""Other vLLM engines of the environment: installing medray leaves them as they are."""

import os
import subprocess
import sys

import pytest

from tests.support.paths import ROOT

pytestmark = pytest.mark.vllm

# What medray patches, after vLLM has loaded the plugins of its environment: first as in an engine
# of somebody else, last as in one of medray's.
PROBE = """
import os, sys
from vllm import ModelRegistry, plugins
from vllm.distributed.weight_transfer.factory import WeightTransferEngineFactory
from vllm.model_executor.layers import utils
from vllm.v1.sample.ops import topk_topp_sampler as sampler

def state():
    llava = ModelRegistry.models["LlavaForConditionalGeneration"].load_model_cls()
    return (
        utils.dispatch_cpu_unquantized_gemm,
        sampler.random_sample,
        sampler.TopKTopPSampler.forward_cpu,
        llava.get_mm_lora_token_counts,
        repr(llava.hf_to_vllm_mapper),
        "ray_store" in WeightTransferEngineFactory._registry,
    )

before = state()
for engine in (None, "0", "1"):
    if engine is not None:
        os.environ["MEDRAY_ENGINE"] = engine
    plugins.plugins_loaded = False
    plugins.load_general_plugins()
    patched = "actors.generator.vllm_patches" in sys.modules
    print(sum(a != b for a, b in zip(before, state())), patched)
"""


def test_only_engines_that_medray_starts_are_patched():
    env = {key: value for key, value in os.environ.items() if key != "MEDRAY_ENGINE"}
    done = subprocess.run(
        [sys.executable, "-c", PROBE],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines() == ["0 False", "0 False", "6 True"]
