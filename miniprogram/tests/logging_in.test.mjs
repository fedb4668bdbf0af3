// Logging in: when, how often, and what becomes of the requests that need it.

import assert from 'node:assert/strict'
import test from 'node:test'
import {
  BASE_URL, EXPIRES_IN, answered, createWxLogin, error, failureOf, loggedInPhone, phone, time, times
} from './drivers.mjs'

const orders = (wxlogin) => wxlogin.request({ url: '/orders' })
const statusesOf = (answers) => answers.map(({ statusCode }) => statusCode)

test('fifty requests at once, without a session, log in once', async () => {
  const { wxlogin, weChat, service } = phone()

  const answers = await Promise.all(times(50, () => orders(wxlogin)))

  assert.deepEqual(statusesOf(answers), times(50, () => 200))
  assert.equal(weChat.logins, 1)
  assert.equal(service.count('POST /login'), 1)
  assert.equal(service.count('GET /orders'), 50)
})

test('fifty requests at once, whose session ends amid them, log in once more', async () => {
  const { wxlogin, weChat, service } = await loggedInPhone()
  service.script('GET /orders', ...times(20, () => answered), (work) => service.endSessions() || work())

  const answers = await Promise.all(times(50, () => orders(wxlogin)))

  assert.deepEqual(statusesOf(answers), times(50, () => 200))
  assert.equal(weChat.logins, 2)
  assert.equal(service.count('POST /login'), 2)
  assert.equal(service.count('GET /orders'), 80, 'twenty were answered before, thirty twice')
})

test('a request logs in once, and those after it do not', async () => {
  const { wxlogin, weChat } = phone()

  await orders(wxlogin)
  await orders(wxlogin)

  assert.equal(weChat.logins, 1)
})

test('a 401 that comes late, after a new login, is repeated with that one\'s session', async () => {
  const { wxlogin, weChat, service } = await loggedInPhone()
  service.endSessions()
  const held = service.hold('GET /orders')
  const late = orders(wxlogin)
  await held.ready
  await wxlogin.session()
  held.release()

  const { statusCode } = await late

  assert.equal(statusCode, 200)
  assert.equal(weChat.logins, 2)
  assert.equal(service.last('GET /orders').header.sessionid, service.newest)
})

test('a 401 that comes late, while the session after it is being replaced, waits for the new one', async () => {
  const { wxlogin, weChat, service } = await loggedInPhone()
  service.endSessions()
  const heldOrders = service.hold('GET /orders')
  const late = orders(wxlogin)
  await heldOrders.ready
  await wxlogin.session()
  service.endSessions()
  const heldLogin = service.hold('POST /login')
  const login = wxlogin.login()
  await heldLogin.ready
  heldOrders.release()
  await time.pass(0)
  heldLogin.release()
  await login

  const { statusCode } = await late

  assert.equal(statusCode, 200)
  assert.equal(weChat.logins, 3)
})

test('a second 401 is the answer', async () => {
  const { wxlogin, weChat, service } = phone()
  const refuses = error(401, 'not_logged_in')
  service.script('GET /orders', refuses, refuses)

  const { statusCode, data } = await orders(wxlogin)

  assert.equal(statusCode, 401)
  assert.equal(data.error.code, 'not_logged_in')
  assert.equal(service.count('GET /orders'), 2)
  assert.equal(weChat.logins, 2)
})

test('a session that is over by the clock is not tried', async () => {
  const { wxlogin, weChat, service } = await loggedInPhone()
  await time.pass(EXPIRES_IN * 1000)

  await orders(wxlogin)

  assert.equal(weChat.logins, 2)
  assert.equal(service.count('GET /orders'), 1)
})

test('a session is used until the last second', async () => {
  const { wxlogin, weChat } = await loggedInPhone()
  await time.pass(EXPIRES_IN * 1000 - 1)

  await orders(wxlogin)

  assert.equal(weChat.logins, 1)
})

test('login() logs in anew, and tells how long it lasts', async () => {
  const { wxlogin, weChat } = await loggedInPhone()

  const answer = await wxlogin.login()

  assert.deepEqual(answer, { expires_in: EXPIRES_IN })
  assert.equal(weChat.logins, 2)
})

test('login() joins the login that is under way', async () => {
  const { wxlogin, weChat } = phone()

  const [answer] = await Promise.all([wxlogin.login(), orders(wxlogin), wxlogin.login()])

  assert.deepEqual(answer, { expires_in: EXPIRES_IN })
  assert.equal(weChat.logins, 1)
})

test('login() tells the openid where the service does', async () => {
  const { wxlogin, service } = phone()
  service.script('POST /login', (work) => {
    const answer = work()
    return { ...answer, body: JSON.stringify({ expires_in: EXPIRES_IN, openid: 'oGZUI0egBJY1zhBYw2KhdUfwVJJE' }) }
  })

  const { openid } = await wxlogin.login()

  assert.equal(openid, 'oGZUI0egBJY1zhBYw2KhdUfwVJJE')
})

test('a login sends the code and nothing else', async () => {
  const { wxlogin, service } = phone()

  await wxlogin.login()

  const { body, header } = service.last('POST /login')
  assert.deepEqual(JSON.parse(body), { code: '0a1CODE1' })
  assert.deepEqual(header, { 'content-type': 'application/json' })
})

test('a login says which mini-program it is, if the client was told', async () => {
  const { service, start } = phone()

  await start({ appid: 'wx4f4bc4dec97d474b' }).login()

  assert.deepEqual(JSON.parse(service.last('POST /login').body), { code: '0a1CODE1', appid: 'wx4f4bc4dec97d474b' })
})

test('the session that is replaced goes along, so that the service can end it', async () => {
  const { wxlogin, service, id } = await loggedInPhone()

  await wxlogin.login()

  assert.equal(service.last('POST /login').header.sessionid, id)
  assert.equal(service.sessions.has(id), false)
})

for (const [timeout, expected] of [[undefined, 8000], [3000, 3000]]) {
  test(`logins and the like may take ${expected} ms if the client was told ${timeout}, requests what WeChat says`, async () => {
    const asked = []
    const noting = (work) => (options) => asked.push(options.timeout) && work(options)
    const adapt = (wx) => ({ ...wx, request: noting(wx.request), login: noting(wx.login) })
    const { wxlogin } = phone({ adapt, options: { timeout } })

    await orders(wxlogin)
    await wxlogin.session()

    assert.deepEqual(asked, [expected, expected, undefined, expected])
  })
}

test('a login() that is the first thing at a start ends the session that was stored', async () => {
  const { wxlogin, start, service } = phone()
  await wxlogin.login()
  const id = service.newest

  await start().login()

  assert.equal(service.last('POST /login').header.sessionid, id)
  assert.equal(service.sessions.has(id), false)
})

test('platforms that fail without a word are told of, too', async () => {
  const { wxlogin } = phone({ adapt: (wx) => ({ ...wx, login: ({ fail }) => fail() }) })

  const { code, retryable } = await failureOf(wxlogin.login())

  assert.deepEqual([code, retryable], ['wx_login_failed', true])
})

test('what the program did wrong is not to be tried again', async () => {
  const { wxlogin } = phone()

  const { code, retryable } = await failureOf(wxlogin.request({ url: 'https://evil.com/' }))

  assert.deepEqual([code, retryable], ['foreign_origin', false])
})

test('without the option wx, the global one is used', async () => {
  const { wx, weChat } = phone()
  globalThis.wx = wx

  await createWxLogin({ baseUrl: BASE_URL }).login()

  assert.equal(weChat.logins, 1)
  delete globalThis.wx
})

const NO_ADDRESSES = [
  undefined, '', 'login.example.com', '//login.example.com', 'ftp://login.example.com', 'https://', '/login'
]
const NAMES_THE_FORM = { name: 'TypeError', message: /https:\/\/login\.example\.com/ }

for (const baseUrl of NO_ADDRESSES) {
  test(`a client does not start with the address ${JSON.stringify(baseUrl)}`, () => {
    assert.throws(() => createWxLogin({ baseUrl, wx: {} }), NAMES_THE_FORM)
  })
}

test('a client does not start without options', () => {
  assert.throws(() => createWxLogin(), NAMES_THE_FORM)
})

for (const origin of ['api.example.com', '//api.example.com', '', null]) {
  test(`a client does not start with ${JSON.stringify(origin)} among the origins`, () => {
    assert.throws(() => createWxLogin({ baseUrl: BASE_URL, wx: {}, origins: [origin] }), { name: 'TypeError' })
  })
}
