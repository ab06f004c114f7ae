"""Models, chat templates, packing of pairs, and scoring."""
