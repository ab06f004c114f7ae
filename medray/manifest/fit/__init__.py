"""A configuration against the pods of a cluster: room, memory, volumes, time to stop, keys."""
