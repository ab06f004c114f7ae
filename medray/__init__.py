"""medray: on-policy, token-level preference alignment of medical vision-language models."""

__version__ = "0.2.0"
