// What the tests need: a phone, with WeChat on it, and the service that it talks to.

import { createRequire } from 'node:module'
import { createWx } from '../../wxlogin/sandbox/simulator/wx.mjs'
import { time } from './time.mjs'

export const { createWxLogin, WxLoginError } = createRequire(import.meta.url)('../miniprogram_dist/index.js')
export { time }

export const BASE_URL = 'https://login.example.com'
export const EXPIRES_IN = 30 * 24 * 3600
export const SESSION = { appid: 'wx4f4bc4dec97d474b', created_at: 1, expires_in: 2, idle_expires_in: 3 }
export const PHONE_NUMBER = { phoneNumber: '+8613580006666', purePhoneNumber: '13580006666', countryCode: '86' }
export const STORAGE_KEY = `wxlogin:${BASE_URL}`

/**
 * Returns a phone on which `wxlogin`, a client, has started.
 *
 * `platform` is how it hands over cookies, one of wx.mjs's `SPELLINGS`; `adapt` makes another `wx` of its own; all else
 * is told to the service.
 */
export function phone({ platform = {}, adapt = (wx) => wx, options = {}, ...settings } = {}) {
  const service = new Service(settings)
  const weChat = new WeChat()
  const storage = new Storage()
  const wx = adapt(createWx({ send: (message) => service.receive(message), weChat, storage, platform: () => platform }))
  const start = (more) => createWxLogin(Object.assign({ baseUrl: BASE_URL, wx }, options, more))
  return { service, weChat, storage, wx, start, wxlogin: start() }
}

/** Returns a phone whose user is logged in already. */
export async function loggedInPhone(settings) {
  const started = phone(settings)
  await started.wxlogin.login()
  return Object.assign(started, { id: started.service.newest })
}

/** Returns a `wx` whose answers to requests are changed, as odd platforms do. */
export const changing = (change) => (wx) => ({
  ...wx,
  request: (options) => wx.request({ ...options, success: (answer) => options.success(change(answer)) })
})

export const times = (count, work) => Array.from({ length: count }, (_, index) => work(index))

/** Returns what a promise is rejected with, while time passes as it has to. */
export async function failureOf(promise) {
  const succeeded = (answer) => { throw new Error(`was to fail: ${JSON.stringify(answer)}`) }
  return time.until(promise.then(succeeded, (failure) => failure))
}

/** Returns the unhandled rejections while something is done. */
export async function unhandledDuring(work) {
  const found = []
  const listener = (reason) => found.push(reason)
  process.on('unhandledRejection', listener)
  await work()
  await time.pass(1)
  process.off('unhandledRejection', listener)
  return found
}

/** Returns an error as the service answers it; `more` is what else it says. */
export function error(statusCode, code, { retryAfter, retryAfterName = 'Retry-After', ...more } = {}) {
  const headers = retryAfter === undefined ? [] : [[retryAfterName, String(retryAfter)]]
  const said = { code, message: 'No.', request_id: 'request-1', retryable: false, ...more }
  return () => json(statusCode, { error: said }, headers)
}

/** An answer of somebody else's, on the way. */
export function html(statusCode) {
  return () => ({ statusCode, headers: [['Content-Type', 'text/html']], body: '<h1>Bad Gateway</h1>' })
}

/** The request doesn't arrive. */
export const unreachable = () => { throw { errMsg: 'net::ERR_CONNECTION_REFUSED', errno: 600001 } }

/** The request is answered, and the answer doesn't arrive. */
export const lost = (work) => {
  work()
  unreachable()
}

/** The request is answered as if nothing were scripted. */
export const answered = (work) => work()

class WeChat {
  logins = 0
  checks = 0
  loginFailure = null
  isSessionKeyValid = true

  async login() {
    this.logins += 1
    if (this.loginFailure) throw this.loginFailure
    return `0a1CODE${this.logins}`
  }

  async checkSession() {
    this.checks += 1
    if (!this.isSessionKeyValid) throw new Error('session time out, need relogin')
  }
}

class Storage extends Map {
  getItem(key) {
    return this.has(key) ? this.get(key) : null
  }

  setItem(key, text) {
    this.set(key, text)
  }

  /** What a client would find. */
  get session() {
    return JSON.parse(this.getItem(STORAGE_KEY))
  }

  /** Whether no session is in it, and why. */
  get isLoggedOut() {
    return !this.session.id && this.session.isLoggedOut
  }

  set session(value) {
    this.setItem(STORAGE_KEY, JSON.stringify(value))
  }
}

const oneCookie = (id) => [`sessionid=${id}; Secure; HttpOnly; Path=/; Max-Age=${EXPIRES_IN}; SameSite=Lax`]

/**
 * The service, and behind it servers that answer every other path to those who are logged in.
 *
 * `path` is where it is; `isIdInBody` is WXLOGIN_SESSION_ID_IN_BODY; `setCookies(id)` are the values of Set-Cookie.
 */
class Service {
  received = []
  sessions = new Map() // the ids that work, and the code that each came with
  scripts = []

  constructor({ path = '', isIdInBody = false, setCookies = oneCookie }) {
    Object.assign(this, { path, isIdInBody, setCookies })
  }

  /** How many requests came, `POST /login` for instance. */
  count(route) {
    return this.all(route).length
  }

  all(route) {
    return this.received.filter((each) => each.route === route)
  }

  last(route) {
    return this.all(route).pop()
  }

  /** The newest session's id. */
  get newest() {
    return [...this.sessions.keys()].pop()
  }

  endSessions() {
    this.sessions.clear()
  }

  /** Says what the next requests get: each script is given the work to do and returns an answer, or fails. */
  script(route, ...scripts) {
    this.scripts.push(...scripts.map((script) => ({ route, script })))
  }

  /** Holds the answer to the next request back, from when it is `ready` until `release()` is called. */
  hold(route, script = answered) {
    const held = {}
    const released = new Promise((resolve) => { held.release = resolve })
    held.ready = new Promise((resolve) => {
      this.script(route, async (work) => {
        const answer = script(work)
        resolve()
        await released
        return answer
      })
    })
    return held
  }

  async receive({ method, url, header, body }) {
    const route = `${method} ${new URL(url).pathname.slice(this.path.length)}`
    const request = { route, url, header, body, at: Date.now() }
    this.received.push(request)
    const next = this.scripts.findIndex((each) => each.route === route)
    const script = next < 0 ? answered : this.scripts.splice(next, 1)[0].script
    return script(() => this.answer(request))
  }

  answer(request) {
    if (request.route === 'POST /login') return this.logIn(request)
    if (!this.sessions.has(request.header.sessionid)) return error(401, 'not_logged_in')()
    return this.answerUser(request)
  }

  answerUser({ route, header, body }) {
    switch (route) {
      case 'GET /session': return json(200, SESSION)
      case 'DELETE /session': return this.sessions.delete(header.sessionid) && nothing
      case 'DELETE /sessions': return this.endSessions() || nothing
      case 'POST /user-data/decrypt': return json(200, { decrypted: JSON.parse(body) })
      case 'POST /phone-number': return json(200, PHONE_NUMBER)
      default: return json(200, { route })
    }
  }

  /** The same code again gets the same session; the session that a login came with ends. */
  logIn({ header, body }) {
    const { code } = JSON.parse(body)
    const [known] = [...this.sessions].find((each) => each[1] === code) || []
    const id = known || `user_hash-16char${String(this.received.length).padStart(43, '-_0aZ9')}`
    if (id !== header.sessionid) this.sessions.delete(header.sessionid)
    this.sessions.set(id, code)
    const told = this.isIdInBody ? { expires_in: EXPIRES_IN, session_id: id } : { expires_in: EXPIRES_IN }
    return json(200, told, this.setCookies(id).map((value) => ['Set-Cookie', value]))
  }
}

const nothing = { statusCode: 204, headers: [], body: '' }

function json(statusCode, value, headers = []) {
  return { statusCode, headers: [['Content-Type', 'application/json'], ...headers], body: JSON.stringify(value) }
}
