"""A private registry on a host of the cluster: set up over SSH, with TLS by a CA of our own and a login."""
