"""WeChat's API for mini-programs: typed answers or exceptions, and no secret in either."""
