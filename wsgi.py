"""``gunicorn wsgi:app``: the service, as the environment describes it."""

from wxlogin.web.app import from_environment

app = from_environment()
