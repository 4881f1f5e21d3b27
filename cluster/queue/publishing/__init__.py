"""Publishing: from bytes to what the broker has confirmed.

`items` cuts an input into bodies and `sources` says where they come from; `window` accounts for what is sent and not
confirmed yet; `confirms`, `sender` and `publisher` do the sending; `resume` notes how far it came. `publish` is the
way in.
"""
