"""The Docker Engine of this machine as a scheduler."""
