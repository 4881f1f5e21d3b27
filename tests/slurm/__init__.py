"""A Slurm cluster for tests: containers without any privilege, on a network of their own, with one /home.

    image/             what a machine is: Debian with Slurm, munge, sshd, and what a site's machines have for jobs
    cluster.py         the cluster of a run: `login`, where the controller runs as well, and `node1` to `node3`

`user1` and `user2` come in with the tests' key, on every machine; they are ordinary users, whose homes are their own.
`user1` has a copy of this checkout, whose packages come from a folder of wheels: the machines reach nothing but each
other and this machine at the network's gateway.
"""
