"""What each endpoint of api.weixin.qq.com does."""
