"""Log WeChat mini-program users in: a code goes in, a session cookie comes out."""

__version__ = "0.1.0"
