"""Marathon as an engine: apps run on the agents of a cluster."""
