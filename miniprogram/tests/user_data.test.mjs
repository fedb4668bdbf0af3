// What the service tells about a user and makes of WeChat's data, and the session_key, which a login may replace.

import assert from 'node:assert/strict'
import test from 'node:test'
import {
  PHONE_NUMBER, SESSION, WxLoginError, error, failureOf, html, loggedInPhone, lost, phone, time, times
} from './drivers.mjs'

const DATA = { encryptedData: 'CiyLU1Aw2KjvrjMdj8YKliAjtP4gsMZM', iv: 'r7BXXKkLb8qrSNn05n0qiA==' }
const stale = error(409, 'session_key_stale')

const WORK = {
  session: {
    route: 'GET /session',
    work: (wxlogin) => wxlogin.session(),
    body: undefined,
    answer: SESSION
  },
  decrypt: {
    route: 'POST /user-data/decrypt',
    work: (wxlogin) => wxlogin.decrypt({ ...DATA, errMsg: 'getUserInfo:ok', rawData: '{}' }),
    body: DATA,
    answer: { decrypted: DATA }
  },
  phoneNumber: {
    route: 'POST /phone-number',
    work: (wxlogin) => wxlogin.phoneNumber('e31968a7f94cc5ee25fafc2aef2773f0bb8c3937b22520eb8ee345274d00c144'),
    body: { code: 'e31968a7f94cc5ee25fafc2aef2773f0bb8c3937b22520eb8ee345274d00c144' },
    answer: PHONE_NUMBER
  }
}

for (const [name, { route, work, body, answer }] of Object.entries(WORK)) {
  test(`${name}() asks ${route} as the user, and returns its answer`, async () => {
    const { wxlogin, service } = phone()

    const told = await work(wxlogin)

    assert.deepEqual(told, answer)
    assert.equal(service.count(route), 1)
    assert.equal(service.last(route).header.sessionid, service.newest)
    assert.deepEqual(service.last(route).body && JSON.parse(service.last(route).body), body)
  })

  test(`${name}() logs in again if the session has ended`, async () => {
    const { wxlogin, service } = await loggedInPhone()
    service.endSessions()

    const told = await work(wxlogin)

    assert.deepEqual(told, answer)
  })

  test(`${name}() fails with not_logged_in on a second 401`, async () => {
    const { wxlogin, service } = await loggedInPhone()
    service.script(route, error(401, 'not_logged_in'), error(401, 'not_logged_in'))

    const { code, statusCode } = await failureOf(work(wxlogin))

    assert.deepEqual({ code, statusCode }, { code: 'not_logged_in', statusCode: 401 })
    assert.equal(service.count(route), 2)
  })

  test(`${name}() fails with all that the service tells`, async () => {
    const { wxlogin, service } = await loggedInPhone()
    const said = { errcode: 40125, message: 'WeChat does not accept it.' }
    service.script(route, error(500, 'wechat_rejected_credentials', said))

    const failure = await failureOf(work(wxlogin))

    assert.ok(failure instanceof WxLoginError)
    assert.ok(failure instanceof Error)
    assert.deepEqual({ ...failure }, {
      name: 'WxLoginError',
      code: 'wechat_rejected_credentials',
      errMsg: 'WeChat does not accept it.',
      retryable: false,
      retryAfter: undefined,
      statusCode: 500,
      requestId: 'request-1',
      errcode: 40125
    })
    assert.equal(failure.message, 'WeChat does not accept it.')
    assert.equal(service.count(route), 1)
  })

  test(`${name}() is tried again if the service has no time`, async () => {
    const { wxlogin, service } = await loggedInPhone()
    const unavailable = error(503, 'store_unavailable', { retryable: true, retryAfter: 2 })
    service.script(route, unavailable, unavailable)

    const seconds = await time.secondsOf(work(wxlogin))

    assert.equal(seconds, 4)
    assert.equal(service.count(route), 3)
  })

  test(`${name}() is tried three times in all`, async () => {
    const { wxlogin, service } = await loggedInPhone()
    service.script(route, ...times(3, () => error(503, 'store_unavailable', { retryable: true })))

    const { code, retryable } = await failureOf(work(wxlogin))

    assert.deepEqual({ code, retryable }, { code: 'store_unavailable', retryable: true })
    assert.equal(service.count(route), 3)
  })

  test(`${name}() does not wait for longer than five seconds`, async () => {
    const { wxlogin, service } = await loggedInPhone()
    service.script(route, error(429, 'rate_limited', { retryable: true, retryAfter: 6 }))
    const start = time.now

    const { code, retryAfter, retryable } = await failureOf(work(wxlogin))

    assert.deepEqual({ code, retryAfter, retryable }, { code: 'rate_limited', retryAfter: 6, retryable: true })
    assert.equal(time.now, start)
  })

  test(`${name}() is not tried again if that won't help`, async () => {
    const { wxlogin, service } = await loggedInPhone()
    service.script(route, error(504, 'wechat_timeout'))

    const { code, retryable } = await failureOf(work(wxlogin))

    assert.deepEqual({ code, retryable }, { code: 'wechat_timeout', retryable: false })
    assert.equal(service.count(route), 1)
  })

  test(`${name}() is not tried again if its answer is lost: it may have been done`, async () => {
    const { wxlogin, service } = await loggedInPhone()
    service.script(route, lost)

    const { code, message, errno } = await failureOf(work(wxlogin))

    assert.deepEqual({ code, errno }, { code: 'network_error', errno: 600001 })
    assert.equal(message, 'request:fail net::ERR_CONNECTION_REFUSED')
    assert.equal(service.count(route), 1)
  })

  test(`${name}() calls an answer that is not the service's http_error`, async () => {
    const { wxlogin, service } = await loggedInPhone()
    service.script(route, html(502))

    const { code, message, statusCode, retryable } = await failureOf(work(wxlogin))

    assert.deepEqual({ code, message }, { code: 'http_error', message: 'HTTP 502' })
    assert.deepEqual({ statusCode, retryable }, { statusCode: 502, retryable: false })
  })
}

const NOT_OURS = [
  null, '', 'null', '"error"', '{"error": null}', [], { error: 'invalid_grant' }, { error: null }, { code: 'x' }, 5
]

for (const data of NOT_OURS) {
  test(`an error that says ${JSON.stringify(data)} is http_error`, async () => {
    const { wxlogin, service } = await loggedInPhone()
    service.script('GET /session', () => ({ statusCode: 418, headers: [], body: JSON.stringify(data) }))

    const { code, statusCode } = await failureOf(wxlogin.session())

    assert.deepEqual({ code, statusCode }, { code: 'http_error', statusCode: 418 })
  })
}

for (const statusCode of [304, 300, 199]) {
  test(`${statusCode} is no answer to session()`, async () => {
    const { wxlogin, service } = await loggedInPhone()
    service.script('GET /session', () => ({ statusCode, headers: [], body: '' }))

    const { code } = await failureOf(wxlogin.session())

    assert.equal(code, 'http_error')
  })
}

// The session_key.

const DECRYPTIONS = {
  'decrypt()': (wxlogin) => wxlogin.decrypt(DATA),
  'request()': (wxlogin) => wxlogin.request({ url: '/user-data/decrypt', method: 'POST', data: DATA })
}

for (const [name, decrypt] of Object.entries(DECRYPTIONS)) {
  test(`${name} logs in if no key opens the data, and fails: WeChat has to be asked again`, async () => {
    const { wxlogin, service, weChat } = await loggedInPhone()
    service.script('POST /user-data/decrypt', stale)

    const { code, statusCode } = await failureOf(decrypt(wxlogin))

    assert.deepEqual({ code, statusCode }, { code: 'session_key_stale', statusCode: 409 })
    assert.equal(weChat.logins, 2)
    assert.equal(service.count('POST /user-data/decrypt'), 1)
  })

  test(`${name} of many data that no key opens logs in once`, async () => {
    const { wxlogin, service, weChat } = await loggedInPhone()
    service.script('POST /user-data/decrypt', ...times(5, () => stale))

    const errors = await Promise.all(times(5, () => failureOf(decrypt(wxlogin))))

    assert.deepEqual(errors.map(({ code }) => code), times(5, () => 'session_key_stale'))
    assert.equal(weChat.logins, 2)
  })

  test(`${name} does not log in again if it has logged in at first`, async () => {
    const { wxlogin, service, weChat } = phone()
    service.script('POST /user-data/decrypt', stale)

    const { code } = await failureOf(decrypt(wxlogin))

    assert.equal(code, 'session_key_stale')
    assert.equal(weChat.logins, 1)
  })

  test(`${name} does not log in again if it has logged in on a 401`, async () => {
    const { wxlogin, service, weChat } = await loggedInPhone()
    service.script('POST /user-data/decrypt', error(401, 'session_expired'), stale)

    const { code } = await failureOf(decrypt(wxlogin))

    assert.equal(code, 'session_key_stale')
    assert.equal(weChat.logins, 2)
  })

  test(`${name} fails with what the login fails with`, async () => {
    const { wxlogin, service } = await loggedInPhone()
    service.script('POST /user-data/decrypt', stale)
    service.script('POST /login', error(403, 'user_blocked'))

    const { code } = await failureOf(decrypt(wxlogin))

    assert.equal(code, 'user_blocked')
  })

  test(`wx.login() waits for the data that ${name} is sending`, async () => {
    const { wxlogin, service, weChat } = await loggedInPhone()
    const held = service.hold('POST /user-data/decrypt')
    const decryption = decrypt(wxlogin)
    await held.ready
    const login = wxlogin.login()
    await time.pass(0)
    const loginsMeanwhile = weChat.logins
    held.release()

    await Promise.all([decryption, login])

    assert.equal(loginsMeanwhile, 1)
    assert.equal(weChat.logins, 2)
  })

  test(`wx.login() does not wait for what ${name} has sent, even in vain`, async () => {
    const { wxlogin, service } = await loggedInPhone()
    service.script('POST /user-data/decrypt', lost)
    await failureOf(decrypt(wxlogin))

    const seconds = await time.secondsOf(wxlogin.login())

    assert.equal(seconds, 0)
  })
}

test('wx.login() waits for no other requests', async () => {
  const { wxlogin, service } = await loggedInPhone()
  const held = service.hold('GET /orders')
  wxlogin.request({ url: '/orders' })
  await held.ready

  const answer = await wxlogin.login()

  assert.ok(answer.expires_in)
  held.release()
})

test('data that turns out late not to open logs nobody in, after a new login', async () => {
  const { wxlogin, service, weChat } = await loggedInPhone()
  const held = service.hold('POST /profile', stale)
  const late = failureOf(wxlogin.request({ url: '/profile', method: 'POST', data: DATA }))
  await held.ready
  await wxlogin.login()
  held.release()

  const { code } = await late

  assert.equal(code, 'session_key_stale')
  assert.equal(weChat.logins, 2)
})

test('another 409 is an answer', async () => {
  const { wxlogin, service, weChat } = await loggedInPhone()
  service.script('GET /orders', error(409, 'sold_out'))

  const { statusCode } = await wxlogin.request({ url: '/orders' })

  assert.equal(statusCode, 409)
  assert.equal(weChat.logins, 1)
})

test('the code session_key_stale with another status is an answer', async () => {
  const { wxlogin, service, weChat } = await loggedInPhone()
  service.script('GET /orders', error(400, 'session_key_stale'))

  const { statusCode } = await wxlogin.request({ url: '/orders' })

  assert.equal(statusCode, 400)
  assert.equal(weChat.logins, 1)
})

// ensureSessionKey.

test('ensureSessionKey() logs in if there is no session', async () => {
  const { wxlogin, weChat } = phone()

  const answer = await wxlogin.ensureSessionKey()

  assert.equal(answer, undefined)
  assert.equal(weChat.logins, 1)
  assert.equal(weChat.checks, 0)
})

test('ensureSessionKey() logs in if the session is over by the clock', async () => {
  const { wxlogin, weChat, storage } = await loggedInPhone()
  await time.pass(storage.session.expiresAt - time.now)

  await wxlogin.ensureSessionKey()

  assert.equal(weChat.logins, 2)
})

test('ensureSessionKey() logs in if wx.checkSession fails', async () => {
  const { wxlogin, weChat } = await loggedInPhone()
  weChat.isSessionKeyValid = false

  await wxlogin.ensureSessionKey()

  assert.equal(weChat.checks, 1)
  assert.equal(weChat.logins, 2)
})

test('ensureSessionKey() does nothing if all is well', async () => {
  const { wxlogin, weChat, service } = await loggedInPhone()

  await wxlogin.ensureSessionKey()

  assert.equal(weChat.checks, 1)
  assert.equal(weChat.logins, 1)
  assert.equal(service.received.length, 1)
})

test('ensureSessionKey() finds the stored session', async () => {
  const { start, weChat } = await loggedInPhone()

  await start().ensureSessionKey()

  assert.equal(weChat.logins, 1)
})

test('ensureSessionKey() trusts the session where there is no wx.checkSession', async () => {
  const { wxlogin, weChat } = await loggedInPhone({ adapt: (wx) => ({ ...wx, checkSession: undefined }) })

  await wxlogin.ensureSessionKey()

  assert.equal(weChat.logins, 1)
})

test('ensureSessionKey() of many pages logs in once', async () => {
  const { wxlogin, weChat } = await loggedInPhone()
  weChat.isSessionKeyValid = false

  await Promise.all(times(5, () => wxlogin.ensureSessionKey()))

  assert.equal(weChat.logins, 2)
})

test('ensureSessionKey() waits for a login under way, which may replace the key', async () => {
  const { wxlogin, service, weChat } = await loggedInPhone()
  const held = service.hold('POST /login')
  wxlogin.login()
  await held.ready
  let isDone = false
  const ensured = wxlogin.ensureSessionKey().then(() => { isDone = true })
  await time.pass(0)
  const wasDone = isDone
  held.release()

  await ensured

  assert.equal(wasDone, false)
  assert.equal(weChat.logins, 2)
})

test('ensureSessionKey() fails if the login does', async () => {
  const { wxlogin, service } = phone()
  service.script('POST /login', error(403, 'user_blocked'))

  const { code } = await failureOf(wxlogin.ensureSessionKey())

  assert.equal(code, 'user_blocked')
})
