const { sandboxUrl } = require('../../config.js')
const wechat = require('../../wechat.js')
const wxlogin = require('../../wxlogin.js')
const words = require('./words.js')

Page({
  data: {
    isSandbox: Boolean(sandboxUrl),
    busy: '', // the name of what is under way
    session: null,
    message: null
  },

  onLoad() {
    return this.run('logIn', session) // which logs in if there is no session yet
  },

  logIn() {
    return this.run('logIn', async () => {
      await wxlogin.login() // after logging out, nothing else does
      return session()
    })
  },

  whoAmI() {
    return this.run('whoAmI', async () => ({ ...await session(), message: words.KNOWN }))
  },

  callBackEnd() {
    return this.run('callBackEnd', async () => {
      const answer = await wxlogin.request({ url: '/api/' })
      return { message: words.ofAnswer(answer) }
    })
  },

  decryptUserInfo() {
    return this.run('decryptUserInfo', async () => {
      const found = await userInfo().catch(againIfStale)
      return { message: words.ofUserInfo(found) }
    })
  },

  /** Takes the event of WeChat's button. It has no code if the user said no, or the account may not ask. */
  takePhoneNumber({ detail }) {
    if (!detail.code) return this.setData({ message: words.ofRefusal(detail) })
    return this.run('phoneNumber', () => phoneNumber(detail))
  },

  takeSandboxPhoneNumber() {
    return this.run('phoneNumber', async () => phoneNumber(await wechat.getPhoneNumber()))
  },

  logOut() {
    return this.run('logOut', async () => {
      await wxlogin.logout()
      return { session: null, message: words.LOGGED_OUT }
    })
  },

  logOutEverywhere() {
    return this.run('logOutEverywhere', async () => {
      await wxlogin.logoutEverywhere()
      return { session: null, message: words.LOGGED_OUT_EVERYWHERE }
    })
  },

  /** Does one thing at a time, and shows the data that it resolves to, or what was wrong. */
  async run(name, work) {
    if (this.data.busy) return // a second tap can be faster than the button's `disabled`
    this.setData({ busy: name })
    const outcome = await work().catch((error) => ({ message: words.ofError(error) }))
    this.setData({ message: null, ...outcome, busy: '' })
  }
})

async function session() {
  return { session: words.ofSession(await wxlogin.session()) }
}

async function userInfo() {
  await wxlogin.ensureSessionKey() // before WeChat encrypts: a login afterwards could make it unreadable
  return wxlogin.decrypt(await wechat.getUserInfo({ withCredentials: true }))
}

/** Has WeChat encrypt once more if a login came in between; the client has logged in by now. */
function againIfStale(error) {
  if (error.code !== 'session_key_stale') throw error
  return userInfo()
}

async function phoneNumber({ code }) {
  return { message: words.ofPhoneNumber(await wxlogin.phoneNumber(code)) }
}
