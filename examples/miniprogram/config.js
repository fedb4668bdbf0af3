module.exports = {
  baseUrl: 'http://127.0.0.1:8000',

  // Who gives codes, user data and phone numbers in WeChat's place. '' if you have an account: then WeChat does.
  sandboxUrl: 'http://127.0.0.1:8001'
}
