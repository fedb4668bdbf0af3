/**
 * Logs a mini-program's users in with wxlogin, and keeps them logged in. No dependencies; ES2017.
 * What it offers is described in wxlogin.d.ts, beside this file.
 */
'use strict'

const MINUTE_MS = 60000
const STORAGE_PATIENCE_MS = 3000
const PATIENCE_SECONDS = 5 // who waits for longer than this is told so instead
const MOST_TRIES = 3
const CODE_IS_BAD = ['invalid_code', 'code_used']
const CODE_MAY_BE_SPENT = [429, 502, 503, 504]
const DECRYPT_PATH = '/user-data/decrypt'
const IS_ANSWERED = /login|request|File/ // of the functions of wx: others may resolve to nothing
const SESSION_ID = /(?:^|[,;\s"'[])sessionid="?[\w-]+/g

/** Raised if something did not work; `code` is the service's, or one of the client's own. */
class WxLoginError extends Error {
  constructor(code, message, details) {
    super(message)
    this.name = 'WxLoginError'
    this.code = code
    this.errMsg = message // where WeChat's own functions have it
    this.retryable = false
    Object.assign(this, details)
  }
}

/** @type {typeof import('./wxlogin').createWxLogin} */
function createWxLogin(options) {
  const baseUrl = String(Object(options).baseUrl || '').replace(/\/+$/, '')
  const origins = originsOf(baseUrl, Object(options).origins)
  const api = options.wx || wx
  const key = options.storageKey || `wxlogin:${baseUrl}`
  const timeout = options.timeout || 8000 // the same code is good for 10 s
  const loginsPerMinute = options.loginsPerMinute || 6

  let session = null
  let reading = null // and what is read, once it is
  let writing = Promise.resolve()
  let loggingIn = null
  let isLoggedOut = false // because the user said so: then only login() logs in
  let loginTimes = []
  let refusal = null // of a login, by who wants to be left alone for a while
  let refusedAt = 0
  const sendingData = new Set()

  return {
    login,
    logout: () => logOut(endSession),
    logoutEverywhere: () => logOut(endSessions),
    ensureSessionKey,
    request: (given) => likeWx('request', given),
    uploadFile: (given) => likeWx('uploadFile', given),
    downloadFile: (given) => likeWx('downloadFile', given),
    session: () => ask('GET', '/session'),
    decrypt: ({ encryptedData, iv }) => ask('POST', DECRYPT_PATH, { encryptedData, iv }),
    phoneNumber: (code) => ask('POST', '/phone-number', { code })
  }

  // The session, here and in the storage. One that can't be written costs a login at the next start, and nothing now.

  function restore() {
    reading = reading || inTime(call(api, 'getStorage', { key })).then(({ data }) => {
      session = isAlive(data) ? data : null
      isLoggedOut = isLoggedOut || (!loggingIn && data.isLoggedOut === true)
      return data.isLoggedOut
    }).catch(() => {})
    return reading
  }

  function keep(found) {
    session = found
    writing = writing.then(() => inTime(call(api, 'setStorage', { key, data: found || { isLoggedOut } }))).catch(() => {})
    return writing
  }

  // Logging in, once for all who wait for it, and out.

  function login() {
    isLoggedOut = false
    return logInOnce()
  }

  function logInOnce() {
    const done = () => { loggingIn = null }
    if (!loggingIn) {
      loggingIn = logIn()
      loggingIn.then(done, done)
    }
    return loggingIn
  }

  async function logIn() {
    await restore()
    checkRate()
    try {
      return await logInWithNewCode().catch((error) => {
        if (!wantsNewCode(error)) throw error
        return sleep(error, 0).then(logInWithNewCode)
      })
    } catch (error) {
      refusal = error.retryAfter && error
      refusedAt = Date.now()
      if (error.code === 'wx_login_failed') loginTimes.pop() // nobody was asked
      throw error
    }
  }

  function checkRate() {
    const now = Date.now()
    if (refusal && now >= refusedAt && now - refusedAt < refusal.retryAfter * 1000) throw refusal
    loginTimes = loginTimes.filter((time) => time <= now && now - time < MINUTE_MS)
    if (loginTimes.length >= loginsPerMinute) {
      throw new WxLoginError('too_many_logins', `More than ${loginsPerMinute} logins a minute`,
        { retryable: true, retryAfter: Math.ceil((loginTimes[0] + MINUTE_MS - now) / 1000) })
    }
    loginTimes.push(now)
  }

  async function logInWithNewCode() {
    while (sendingData.size) await Promise.all(sendingData) // first: with wx.login(), WeChat may replace the key that it was encrypted with
    const { code } = await call(api, 'login', { timeout }).catch((failure) => { throw failed('wx_login_failed', failure) })
    const data = options.appid ? { code, appid: options.appid } : { code }
    const answer = await demand('POST', '/login', data) // the same code again is fine: the service exchanges it once
    const id = sessionIdOf(answer)
    if (!id) {
      throw new WxLoginError('no_session_id',
        'No Set-Cookie came: set WXLOGIN_SESSION_ID_IN_BODY=true')
    }
    await keep({ id, expiresAt: Date.now() + answer.data.expires_in * 1000 })
    const told = Object.assign({}, answer.data)
    delete told.session_id
    return told
  }

  /** Logs in, unless that has happened since `used` was the session, or the user has logged out. */
  async function renew(used) {
    if (!isLoggedOut && (loggingIn || !session || session === used)) await login()
  }

  async function logOut(end) {
    const wasLoggedOut = isLoggedOut
    isLoggedOut = true // from now on, so that a 401 of what is under way logs nobody in
    if (loggingIn) await loggingIn.catch(() => {})
    const wasStored = await restore()
    if (!isLoggedOut) return // there was a login(), meanwhile
    const before = session
    try {
      await end()
    } catch (error) {
      isLoggedOut = isLoggedOut && (wasLoggedOut || (before ? !session : wasStored)) // by another logout, too
      throw error
    } finally {
      if (isLoggedOut) await keep(null)
    }
  }

  async function endSession() {
    if (session) await demand('DELETE', '/session').catch(unlessNotLoggedIn)
  }

  /** Ends all of the user's sessions. It takes one, which says who the user is. */
  async function endSessions() {
    if (!isAlive(session)) await logInOnce()
    const refusal = await demand('DELETE', '/sessions').catch(unlessNotLoggedIn)
    if (!(refusal instanceof WxLoginError)) return
    await logInOnce()
    await demand('DELETE', '/sessions')
  }

  async function ensureSessionKey() {
    await restore()
    const used = session
    const isValid = isAlive(used) && (!api.checkSession || await call(api, 'checkSession', {}).then(() => true, () => false))
    if (loggingIn || !isValid) await renew(used)
  }

  // Requests.

  /** Does what wx does under this name, as the user; with callbacks, a promise, or both. */
  function likeWx(name, given) {
    let task
    let giveUp
    let isGivenUp = false
    const givenUp = new Promise((resolve, reject) => { giveUp = reject })
    const onTask = (each) => {
      task = each
      if (given.onTask) given.onTask(task)
    }
    const send = (url) => isGivenUp ? givenUp : attempt(name, Object.assign({}, given, { url, onTask: undefined }), onTask)
    const promise = Promise.race([givenUp, authorised(given.url, send)])
    tell(promise, given)
    const abort = () => {
      isGivenUp = true
      giveUp(failed('network_error', { errMsg: `${name}:fail abort` }))
      if (task && task.abort) task.abort()
    }
    return Object.assign(promise, { abort })
  }

  /** Has something sent as the user: logs in first if there is no session, and once more on a 401. */
  async function authorised(given, send) {
    const url = ownUrl(given)
    await restore()
    const isFresh = !isAlive(session) && !isLoggedOut
    if (isFresh) await renew(session)
    const used = session
    let answer = await send(url)
    if (answer.statusCode === 401 && !isLoggedOut) {
      await renew(used)
      answer = await send(url)
    }
    if (answer.statusCode === 409 && errorOf(answer).code === 'session_key_stale') {
      if (!isFresh) await renew(used)
      throw errorOf(answer)
    }
    return answer
  }

  function ownUrl(given) {
    const url = /^\/(?!\/)/.test(given) ? baseUrl + given : String(given)
    if (origins.includes(originOf(url))) return url
    throw new WxLoginError('foreign_origin', `${originOf(url) || url} is not in origins`)
  }

  /** Asks the service as the user. */
  async function ask(method, path, data) {
    const send = (url) => attempt('request', { url, method, data, timeout })
    const answer = await patiently(() => authorised(path, send))
    return answer.data
  }

  /** Asks the service with the session there is; what can be repeated even if its answer got lost. */
  function demand(method, path, data) {
    const as = session // each time: meanwhile there may be another one
    const given = { url: baseUrl + path, method, data, timeout }
    return patiently(() => attempt('request', given, null, as).catch((failure) => ({ failure })))
  }

  /** Sends something with a session; the answer can have any status. */
  function attempt(name, given, onTask, as = session) {
    const header = withSession(given.header, as)
    const sent = call(api, name, Object.assign({}, given, { header }), onTask)
      .catch((failure) => { throw failed('network_error', failure) })
    if (given.url === baseUrl + DECRYPT_PATH) note(sendingData, sent)
    return sent
  }
}

/** Calls back, if that is wanted; then a failure which nobody else waits for is told, too. */
function tell(promise, { success, fail, complete }) {
  if (!success && !fail && !complete) return
  promise.then(success, fail || (() => {}))
  promise.then(complete, complete || (() => {}))
}

/**
 * Calls a function of wx, whether it takes callbacks or returns a promise, or both as Taro's do. The promise may be for
 * the task only, as uni-app's is where an interceptor is asynchronous.
 */
function call(api, name, options, onTask) {
  return new Promise((resolve, reject) => {
    const task = api[name](Object.assign({}, options, { success: resolve, fail: reject, complete: undefined }))
    if (task && task.then) task.then((answer) => { if (isAnswer(name, answer)) resolve(answer) }, reject)
    if (onTask && task) onTask(task)
  })
}

function isAnswer(name, answer) {
  return !IS_ANSWERED.test(name) || 'code' in Object(answer) || 'statusCode' in Object(answer)
}

function inTime(promise) {
  return Promise.race([promise, new Promise((resolve, reject) => setTimeout(reject, STORAGE_PATIENCE_MS))])
}

/** Keeps `promise` in `set` until it is settled, in a form that never fails. */
function note(set, promise) {
  const settled = promise.then(() => {}, () => {})
  set.add(settled)
  settled.then(() => set.delete(settled))
}

/** Returns the first good answer of a few, or raises what was wrong if that won't change soon. */
async function patiently(send, tries = 1) {
  const answer = await send()
  if (answer.statusCode >= 200 && answer.statusCode < 300) return answer
  const error = answer.failure || errorOf(answer)
  if (!error.retryable || tries === MOST_TRIES) throw error
  await sleep(error, 1)
  return patiently(send, tries + 1)
}

/** Returns the error if it says that there is no such session, or raises it. */
function unlessNotLoggedIn(error) {
  if (error.statusCode === 401) return error
  throw error
}

/** Waits as long as the answer said, or raises it if that is too long. */
function sleep(error, seconds) {
  const wanted = error.retryAfter || seconds
  if (wanted > PATIENCE_SECONDS) throw error
  return new Promise((resolve) => setTimeout(resolve, wanted * 1000))
}

function isAlive(found) {
  return Boolean(found && found.id && typeof found.id === 'string' && found.expiresAt > Date.now())
}

function wantsNewCode({ code, statusCode, retryable }) {
  return CODE_IS_BAD.includes(code) || (!retryable && CODE_MAY_BE_SPENT.includes(statusCode))
}

/** Returns the servers that get the session, or raises `TypeError`. */
function originsOf(baseUrl, others) {
  const origins = [baseUrl].concat(others || []).map(originOf)
  if (origins.includes('') || /[?#\s]/.test(baseUrl)) throw new TypeError('baseUrl and origins must be like https://login.example.com')
  return origins
}

function originOf(url) {
  const [origin] = /^https?:\/\/[^/?#@\\\s]+(?=[/?#]|$)/i.exec(url) || ['']
  return origin.toLowerCase()
}

/** Returns the headers with the session's id, in both ways that a server may look for it. */
function withSession(given, session) {
  const header = Object.assign({}, given)
  if (session) {
    const [cookie] = valuesOf(header, 'cookie')
    Object.keys(header).filter((name) => /^(cookie|sessionid)$/i.test(name)).forEach((name) => delete header[name])
    header.sessionid = session.id
    header.Cookie = (cookie ? `${cookie}; ` : '') + `sessionid=${session.id}`
  }
  return header
}

/** Returns what a header says, in whatever case its name is, in whatever form its value is. */
function valuesOf(header, name) {
  const names = Object.keys(header || {}).filter((each) => each.toLowerCase() === name)
  return [].concat(...names.map((each) => header[each]))
}

/**
 * Finds the session's id in what platforms make of the one Set-Cookie that the service sends: an array or a string,
 * joined with other cookies by commas or semicolons, under a name in any case. Else the body may have it.
 */
function sessionIdOf({ data, cookies, header }) {
  const found = [].concat(cookies || [], valuesOf(header, 'set-cookie')).join('\n').match(SESSION_ID)
  return found ? found[found.length - 1].replace(/[^=]*="?/, '') : data && data.session_id
}

/** @type {typeof import('./wxlogin').errorOf} */
function errorOf({ statusCode, data, header }) {
  const { code = 'http_error', message = `HTTP ${statusCode}`, retryable = false, request_id: requestId, errcode } = errorIn(data)
  const retryAfter = Number(valuesOf(header, 'retry-after')[0]) || undefined
  return new WxLoginError(code, message, { statusCode, retryable, retryAfter, requestId, errcode })
}

/** Returns the error that a body tells, if it does; an upload's answer comes as text. */
function errorIn(data) {
  try {
    return Object(Object(typeof data === 'string' ? JSON.parse(data) : data).error)
  } catch (notJson) {
    return {}
  }
}

function failed(code, failure) {
  const { errMsg, errno } = Object(failure)
  return new WxLoginError(code, errMsg || String(failure), { errno, retryable: true })
}

module.exports = { createWxLogin, WxLoginError, errorOf }
