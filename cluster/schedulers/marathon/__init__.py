"""Marathon as a scheduler: apps run on the agents of a cluster.

Functions that decide stand apart from those that ask and tell:

    scheduler.py       what every scheduler offers
    api.py             what is asked and told, and refusals in words
    comparison.py      what a deploy would change, Marathon's own defaults left aside
    changes.py         changes that Marathon may have made although its answer was lost
    following.py       from a change to instances that work, or the reason why not
    judgement.py       what an answer means for a change under way
    standstill.py      what Marathon itself would not go on with
    history.py         what was seen of its instances meanwhile
    failures.py        what a person is told when it fails
    versions.py        what to go back to
    stopping.py        until the instances of a deleted app have ended
    app_status.py      tasks as instances
    agents.py          what only the agents' engines know: what tasks print
    ownership.py       whose an app is
"""
