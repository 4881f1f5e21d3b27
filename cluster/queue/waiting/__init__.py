"""Waiting for the end of a queue's work, and never saying a moment too early that it is there.

`readings` looks at the queue and asks its workers, `certainty` decides by what was read whether all is settled,
`remarks` says what is waited for, and `note` keeps what was in the failed queue when publishing began.
"""
