/**
 * What takes an account with WeChat, without one: asks wxlogin's sandbox what the phone would ask WeChat.
 */
const { sandboxUrl } = require('./config.js')

const USER_KEY = 'sandbox:user' // stored, so that it is the same user next time

async function login() {
  const { code, openid } = await ask('/codes', await user())
  await wx.setStorage({ key: USER_KEY, data: { openid } })
  return { code }
}

/** Fails if the sandbox has no session_key of the user's, as after a restart. */
async function checkSession() {
  await getUserInfo()
}

async function getUserInfo() {
  return ask('/user-data', { ...await user(), kind: 'user_info' })
}

/** Returns what a tap on the button for a phone number gives. */
async function getPhoneNumber() {
  return ask('/phone-codes', await user())
}

function user() {
  return wx.getStorage({ key: USER_KEY }).then(({ data }) => data, () => ({}))
}

function ask(path, data) {
  return new Promise((resolve, reject) => wx.request({
    url: `${sandboxUrl}/_sandbox${path}`,
    method: 'POST',
    data,
    success: (answer) => answer.statusCode === 200 ? resolve(answer.data) : reject(refusal(answer)),
    fail: reject
  }))
}

function refusal({ statusCode, data }) {
  const { message = `HTTP ${statusCode}` } = Object(Object(data).error)
  return { errMsg: `sandbox:fail ${message}` }
}

// One by one, because WeChat's wx has getters, which a copy or a prototype with other functions stumbles over.
const { request, uploadFile, downloadFile, getStorage, setStorage } = wx

module.exports = {
  login,
  checkSession,
  getUserInfo,
  getPhoneNumber,
  request,
  uploadFile,
  downloadFile,
  getStorage,
  setStorage
}
