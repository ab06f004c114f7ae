"""One synthetic chest study: what is true of it, its image, its questions and report."""
