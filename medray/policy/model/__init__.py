"""A model from disk: its facts, its chat template, and which of its weights train."""

from medray.policy.model.chat import ChatCodec
from medray.policy.model.loading import ModelFacts, load_model, model_facts
from medray.policy.model.tuning import prepare_policy

__all__ = ["ChatCodec", "ModelFacts", "load_model", "model_facts", "prepare_policy"]
