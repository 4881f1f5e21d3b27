"""The operator's library: knows docker, fabric and requests, never Invoke."""
