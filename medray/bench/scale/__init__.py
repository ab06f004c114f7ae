"""What the length of a run and the size of a collection cost the commands that meet them."""
