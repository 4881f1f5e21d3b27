"""Hosts for tests: containers with a real sshd and a real Docker Engine each, on a network of their own.

    image/             what a host is: Debian with sshd, dockerd, sudo
    access.py          keys, known_hosts and ssh configuration of the tests' own
    network.py         the network, the address that each host keeps, and hosts of a run that was killed
    host.py            one host: started when it is first used; paused, restarted, its engine stopped, its disk filled
    cluster.py         all hosts of a run: `agents`, `registry`, `jump`

The user `root` comes in with the tests' key, as does `ops`, who may `sudo` without a password and is in the group
docker. Hosts know one another by name and reach nothing but each other and this machine at the network's gateway. This
machine knows them by address, and by name through the ssh configuration alone. Nothing of ~/.ssh or ~/.docker is read
or written.
"""
