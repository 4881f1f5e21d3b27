"""The hosts of a cluster, over SSH: reached, asked, changed, all at once."""
