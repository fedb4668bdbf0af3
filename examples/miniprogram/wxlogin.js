const { createWxLogin } = require('wxlogin-miniprogram')
const { baseUrl } = require('./config.js')
const wechat = require('./wechat.js')

// One for all pages, so that all who need a login wait for the same one.
module.exports = createWxLogin({ baseUrl, wx: wechat })
