"""What ``gunicorn wsgi:app`` runs with; every value can be overridden on its command line."""

from wxlogin.server.gunicorn_config import gunicorn_config

globals().update(gunicorn_config())
