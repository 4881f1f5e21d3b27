"""Marathon as a scheduler: apps run on the agents of a cluster.

scheduler.py       what every scheduler offers
api.py             what is asked and told, and refusals in words
changes.py         changes that Marathon may have made although its answer was lost
comparison.py      what a deploy would change, Marathon's own defaults left aside
following.py       from a change to instances that work, or the reason why not
judgement.py       what an answer means for a change under way
tasks.py           tasks as instances
task_logs.py       what tasks print, read from the engines of their agents
"""
