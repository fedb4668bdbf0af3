"""An imitation of WeChat's api.weixin.qq.com, for logins without an account or a network."""
