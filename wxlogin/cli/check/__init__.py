"""What `wxlogin check` looks at before users do: the settings, Redis, WeChat."""
