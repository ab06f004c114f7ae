"""The configuration: a YAML file as one frozen tree, without unknown keys or invalid values.

Nothing heavy is imported here, so an invalid file is rejected within a second.
"""

from medray.config.language_model import JudgeConfig, LanguageModelConfig
from medray.config.reading import load_config
from medray.config.sections import (
    FOUND_REGIONS,
    MOST_SEQUENCES,
    Config,
    CorruptionConfig,
    DataConfig,
    EditorConfig,
    EvalConfig,
    FaultsConfig,
    GeneratorConfig,
    LearnerConfig,
    LocaliserConfig,
    LocaliserKind,
    LoopConfig,
    LoraConfig,
    ModelConfig,
    ObjectiveConfig,
    PhantomStyle,
    RunConfig,
    TargetingConfig,
)
from medray.config.yaml_text import YAML_ERRORS, UniqueKeyLoader

__all__ = [
    "FOUND_REGIONS",
    "MOST_SEQUENCES",
    "YAML_ERRORS",
    "Config",
    "CorruptionConfig",
    "DataConfig",
    "EditorConfig",
    "EvalConfig",
    "FaultsConfig",
    "GeneratorConfig",
    "JudgeConfig",
    "LanguageModelConfig",
    "LearnerConfig",
    "LocaliserConfig",
    "LocaliserKind",
    "LoopConfig",
    "LoraConfig",
    "ModelConfig",
    "ObjectiveConfig",
    "PhantomStyle",
    "RunConfig",
    "TargetingConfig",
    "UniqueKeyLoader",
    "load_config",
]
