// Taro, uni-app and others can be given as `wx` as they are: their functions may call back, return a promise, or both.

import assert from 'node:assert/strict'
import test from 'node:test'
import { error, failureOf, loggedInPhone, phone, time, unhandledDuring, unreachable } from './drivers.mjs'

const NAMES = [
  'login', 'checkSession', 'request', 'uploadFile', 'downloadFile', 'getStorage', 'setStorage'
]

const made = (make) => (wx) => Object.fromEntries(NAMES.map((name) => [name, make(wx, name)]))

/** Calls a function of wx with callbacks; returns its task and a promise. */
function promised(wx, name, { success, fail, complete, ...options }) {
  let task
  const promise = new Promise((resolve, reject) => {
    task = wx[name]({
      ...options,
      success: (answer) => { if (success) success(answer); resolve(answer) },
      fail: (failure) => { if (fail) fail(failure); reject(failure) },
      complete
    })
  })
  return { promise, task }
}

// https://github.com/NervJS/taro/blob/main/packages/shared/src/native-apis.ts: always a promise, which rejects on a
// failure even if fail was called; that of a request has passed interceptors, and has abort.
const taro = made((wx, name) => (options = {}) => {
  const { promise, task } = promised(wx, name, options)
  if (!task) return promise
  const passed = promise.catch((failure) => Promise.reject(failure))
  return Object.assign(passed, { abort: () => task.abort() })
})

const hasCallbacks = ({ success, fail, complete }) => [success, fail, complete].some(Boolean)

// https://github.com/dcloudio/uni-app/blob/next/packages/uni-api/src/helpers/api/promise.ts: the task if there are
// callbacks, else a promise.
const uni = made((wx, name) => (options = {}) => {
  if (!hasCallbacks(options)) return promised(wx, name, options).promise
  return wx[name](options)
})

// In Vue 2, that promise is for `[failure, answer]`.
const uniInVue2 = made((wx, name) => (options = {}) => {
  if (hasCallbacks(options)) return wx[name](options)
  return promised(wx, name, options).promise.then((answer) => [null, answer], (failure) => [failure])
})

// .../helpers/interceptor.ts: an asynchronous interceptor makes for a promise in spite of callbacks, for the task.
const INTERCEPTED = ['login', 'request', 'uploadFile', 'downloadFile']
const intercepted = (wx, name) => (options) => Promise.resolve().then(() => wx[name](options))
const uniWithInterceptor = made((wx, name) => INTERCEPTED.includes(name) ? intercepted(wx, name) : uni(wx)[name])

// The adapter in uni-app's template for Vue 2 takes that promise for one for `[failure, answer]`.
const uniWithInterceptorInVue2 = made((wx, name) => (options) => {
  const given = uniWithInterceptor(wx)[name](options)
  return given && given.then ? given.then((task) => Object(task)[1]) : given
})

const promisesOnly = made((wx, name) => (options) => {
  return promised(wx, name, { ...options, success: undefined, fail: undefined, complete: undefined }).promise
})

const promisesOfNothing = (wx) => ({
  ...promisesOnly(wx),
  checkSession: (options) => promisesOnly(wx).checkSession(options).then(() => {}),
  setStorage: (options) => promisesOnly(wx).setStorage(options).then(() => {})
})

const PLATFORMS = {
  wx: (wx) => wx,
  Taro: taro,
  uni,
  'uni in Vue 2': uniInVue2,
  'uni with an asynchronous interceptor': uniWithInterceptor,
  'uni with an asynchronous interceptor in Vue 2': uniWithInterceptorInVue2,
  'promises only': promisesOnly,
  'promises only, some for nothing': promisesOfNothing
}
const CAN_ABORT = ['wx', 'Taro', 'uni', 'uni in Vue 2']
const UPLOAD = { url: '/avatar', filePath: 'http://tmp/1.png', name: 'file' }

for (const [name, adapt] of Object.entries(PLATFORMS)) {
  test(`${name}: all work, without a wait and without unhandled rejections`, async () => {
    const { wxlogin, start, storage, service, weChat } = phone({ adapt })
    const answers = []
    const begin = time.now

    const unhandled = await unhandledDuring(async () => {
      answers.push(await wxlogin.request({ url: '/orders' }))
      service.endSessions()
      answers.push(await wxlogin.uploadFile(UPLOAD), await wxlogin.downloadFile(UPLOAD))
      answers.push(await start().request({ url: '/orders' }))
      await wxlogin.ensureSessionKey()
      await wxlogin.logout()
      assert.equal(time.now, begin)
    })

    assert.deepEqual(unhandled, [])
    assert.deepEqual(answers.map(({ statusCode, errMsg }) => `${statusCode} ${errMsg}`),
      ['200 request:ok', '200 uploadFile:ok', '200 downloadFile:ok', '200 request:ok'])
    assert.equal(weChat.logins, 2)
    assert.equal(weChat.checks, 1)
    assert.equal(storage.isLoggedOut, true)
    assert.equal(service.sessions.size, 0)
  })

  test(`${name}: failures are told, without unhandled rejections`, async () => {
    const { wxlogin, service, weChat } = await loggedInPhone({ adapt })
    const failures = []
    service.script('GET /orders', unreachable)
    service.script('POST /login', error(403, 'user_blocked'))

    const unhandled = await unhandledDuring(async () => {
      failures.push(await failureOf(wxlogin.request({ url: '/orders', fail() {} })))
      weChat.isSessionKeyValid = false
      failures.push(await failureOf(wxlogin.ensureSessionKey()))
      weChat.loginFailure = new Error('no')
      failures.push(await failureOf(wxlogin.login()))
      await new Promise((resolve) => { wxlogin.request({ url: 'https://evil.com/', complete: resolve }) })
    })

    assert.deepEqual(unhandled, [])
    assert.deepEqual(failures.map(({ code, message }) => `${code} ${message}`),
      ['network_error request:fail net::ERR_CONNECTION_REFUSED', 'user_blocked No.', 'wx_login_failed login:fail no'])
  })
}

for (const name of CAN_ABORT) {
  test(`${name}: a request can be given up`, async () => {
    const { wxlogin, service } = await loggedInPhone({ adapt: PLATFORMS[name] })
    const held = service.hold('GET /orders')
    const task = wxlogin.request({ url: '/orders' })
    await held.ready

    task.abort()

    assert.equal((await failureOf(task)).message, 'request:fail abort')
  })
}

test('a request that the platform can\'t give up is over for the caller', async () => {
  const { wxlogin, service } = await loggedInPhone({ adapt: promisesOnly })
  const held = service.hold('GET /orders')
  const task = wxlogin.request({ url: '/orders' })
  const failure = failureOf(task)
  await held.ready

  task.abort()

  assert.equal((await failure).message, 'request:fail abort')
})

const TASKS = { 'no task': () => undefined, 'a null': () => null, 'a task without abort': () => ({}) }

for (const [name, make] of Object.entries(TASKS)) {
  test(`a request that returns ${name} works`, async () => {
    const adapt = (wx) => ({ ...wx, request: (options) => { wx.request(options); return make() } })
    const { wxlogin } = await loggedInPhone({ adapt })
    const task = wxlogin.request({ url: '/orders' })
    await time.pass(0)
    task.abort()

    const { statusCode } = await task

    assert.equal(statusCode, 200)
  })
}
