"""Marathon: its API, and where an app runs by its answers."""
