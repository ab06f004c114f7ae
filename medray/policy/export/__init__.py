"""The trained policy for others: tensors for a generator, folders for people."""
