"""Models, chat templates, packing of pairs, scoring, conversion and export."""
