"""A stand-in for Marathon and Mesos: a real HTTP server that answers as Marathon's sources and documents say.

Marathon itself is retired and cannot be had as a package. What was tested against this was not tested against Marathon.

    with Standin(World(agents=[Agent("127.0.0.1", docker.from_env())])) as marathon:
        marathon.address, marathon.url, marathon.world, marathon.requests

With agents it runs real containers on their Docker Engines, and removes them at its end; without, tests put apps and
tasks into its World. Sources of its behaviour: the code of Marathon 1.10 and of Mesos's Docker executor; file names in
the docstrings are theirs.

What is asked for and answered:
    server.py          the server, on a free port of 127.0.0.1
    filters.py         what stands before the API: credentials, redirects, proxies
    api.py             which URL is answered by whom and with what; answers.py: the forms; rendering.py: how things look
    validation.py, canonical.py      from what was sent to a definition

What happens:
    world.py, state.py      all that is: apps, tasks, deployments, agents
    plans.py, deployments.py      from one set of definitions to another, one worker a deployment
    rolling.py, agents.py, keeper.py      how many tasks, where, when
    executor.py, containers.py, pulls.py      one task as one container
    cluster.py         the threads of all this, and what ended on an agent

For tests of other things:
    wire.py            servers that are no Marathon at all
    asking.py          an HTTP client, and two agents on this machine's engine

docs/marathon.md lists what it does at least, and which test holds it.

What it does not do: what nothing of ours asks for, such as events, PATCH, other health checks than COMMAND, hosts
that go away, forms from before Marathon 1.5, pods, groups, dependencies between apps, volumes that Mesos keeps,
secrets and roles; only the constraints and `docker run` parameters that agents.py and containers.py have; only
file:// in `fetch`. Nothing outlives it. Agents' resources are numbers that are counted, not measured. Times are
shorter than Mesos's: offers come ten times a second. A health check's command that takes too long is left running. In
a replacement an old instance without an agent gets no offer any more. Two Marathons with one World are a leader and
one that proxies; there is no election.
"""
