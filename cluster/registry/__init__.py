"""The private registry: on this machine or on a host."""
