"""Sessions: what is kept in Redis about a logged-in user, and how a request finds it."""
