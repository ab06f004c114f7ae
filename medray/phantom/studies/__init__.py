"""One synthetic chest study: its true attributes, image, questions and report."""
