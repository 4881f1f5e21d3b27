"""Publishing: from bytes to what the broker has confirmed.

`items` cuts an input into bodies and `sources` says where they come from; `confirms` opens a connection, `sender` sends
and accounts for what is not confirmed yet, `publisher` does what must be done when something happens; `resume` notes
how far it came. `publisher.publish` and `resume.publish_noting` are the ways in.
"""
