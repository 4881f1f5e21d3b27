"""A stand-in for Marathon: a real HTTP server that answers as Marathon's sources and documents say.

Marathon itself is retired and cannot be had as a package. What was tested against this was not tested against Marathon.

    world.py           what there is: apps, their tasks, the launch queue
    api.py             what is answered to which URL (Marathon 1.10)
    dialects.py        what older Marathons say differently
    filters.py         what stands before the API: credentials, redirects, proxies
    server.py          the server, on a free port of 127.0.0.1
    certificates.py    what https needs
    wire.py            servers that are no Marathon at all
"""
