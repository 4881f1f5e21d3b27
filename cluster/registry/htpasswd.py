"""The login of a registry that we run: a random password here, its hash there."""

from __future__ import annotations

import secrets

import bcrypt

USER = "cluster"

# The registry works the hash out anew for each request of each push and pull. Its cost makes up for passwords that
# people think of; nobody guesses one of 192 random bits, so it may be small.
_COST = 5
_PASSWORD_BYTES = 24


def new_password() -> str:
    """Return a random password that nobody guesses."""
    return secrets.token_urlsafe(_PASSWORD_BYTES)


def htpasswd(user: str, password: str) -> bytes:
    """Return the file that the registry reads: the user and the bcrypt hash of the password."""
    return f"{user}:".encode() + bcrypt.hashpw(password.encode(), bcrypt.gensalt(_COST)) + b"\n"


def lets_in(file: bytes | None, user: str, password: str) -> bool:
    """Return whether this htpasswd file lets this user in, and nobody else."""
    name, colon, hashed = (file or b"").strip().partition(b":")
    try:
        return bool(colon) and name == user.encode() and bcrypt.checkpw(password.encode(), hashed)
    except ValueError:  # not a hash of bcrypt
        return False
