"""Plain processes of this machine as a scheduler."""
