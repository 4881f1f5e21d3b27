"""The programs inside the worker image, and what the operator's library shares with them.

Knows pika and requests, nothing of `cluster/`. Works with Debian 13's pika 1.3.2 and with the newest.
"""

VERSION = "0.1.0"  # of all of this; pyproject.toml has it too
