"""Marathon as an engine: apps run on the agents of a cluster.

Functions that decide stand apart from those that ask and report:

    scheduler.py       what every engine offers
    definition.py      an app as Marathon's JSON, and what a deploy would change
    secret_files.py    what an app may know and nobody else: on the hosts, and what opens Marathon for workers
    api.py             questions, changes that Marathon may have made although its answer was lost, refusals in words
    following.py       from a change to instances that work, or the reason why not and how to go back
    judgement.py       the meaning of an answer for a change under way, and what Marathon would not go on with
    app_status.py      tasks as instances
    agents.py          the agents' Docker Engines: what tasks print, workers that finish what they run, and their end
"""
