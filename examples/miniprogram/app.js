// There is nothing to do at the start: the first request that needs a session logs in.
App({})
