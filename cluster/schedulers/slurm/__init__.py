"""Slurm, whose jobs run apps on the nodes of a cluster."""
