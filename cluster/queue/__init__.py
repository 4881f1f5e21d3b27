"""The queue: its address, logins, counts, and publishing to it."""
