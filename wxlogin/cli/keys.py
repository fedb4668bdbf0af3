"""``wxlogin keys new``: a fresh secret key."""

from __future__ import annotations

import secrets

import click


@click.group()
def keys() -> None:
    """Make secret keys."""


@keys.command()
def new() -> None:
    """Print a fresh key for WXLOGIN_SECRET_KEYS, or WXLOGIN_ADMIN_TOKEN."""
    click.echo(secrets.token_urlsafe(32))
