"""A page that shows a mini-program at work: a phone, and each message between it, the servers and WeChat."""
