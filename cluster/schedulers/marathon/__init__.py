"""Marathon as an engine: apps run on the agents of a cluster.

Functions that decide stand apart from those that ask and report:

    scheduler.py       what every engine offers
    definition.py      an app as Marathon's JSON
    secret_files.py    what an app may know and nobody else: on the hosts, and what opens Marathon for workers
    api.py             questions and changes, and refusals in words
    comparison.py      what a deploy would change, Marathon's own defaults left aside
    changes.py         changes that Marathon may have made although its answer was lost
    following.py       from a change to instances that work, or the reason why not
    judgement.py       the meaning of an answer for a change under way
    standstill.py      what Marathon itself would not go on with
    failures.py        messages about a change that failed
    app_status.py      tasks as instances
    agents.py          the agents' Docker Engines: what tasks print, and their end
    draining.py        workers that finish what they run
"""
