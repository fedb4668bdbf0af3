// Logins that fail: which are tried again, with which code, and when. See "What a mini-program does" in docs/errors.md.

import assert from 'node:assert/strict'
import test from 'node:test'
import { error, failureOf, loggedInPhone, lost, phone, time, times, unreachable } from './drivers.mjs'

const orders = (wxlogin) => wxlogin.request({ url: '/orders' })
const codesSentTo = (service) => service.all('POST /login').map(({ body }) => JSON.parse(body).code)

test('a failing login rejects all who waited for it, once each', async () => {
  const { wxlogin, weChat, service } = phone()
  service.script('POST /login', error(403, 'user_blocked'))
  let failures = 0
  const fail = () => { failures += 1 }

  const errors = await Promise.all(times(50, () => failureOf(wxlogin.request({ url: '/orders', fail }))))

  assert.deepEqual(errors.map(({ code }) => code), times(50, () => 'user_blocked'))
  assert.equal(failures, 50)
  assert.equal(weChat.logins, 1)
  assert.equal(service.count('GET /orders'), 0)
})

test('after a failed login, the next request tries anew', async () => {
  const { wxlogin, service } = phone()
  service.script('POST /login', error(403, 'user_blocked'))
  await failureOf(orders(wxlogin))

  const { statusCode } = await orders(wxlogin)

  assert.equal(statusCode, 200)
})

for (const retryAfterName of ['Retry-After', 'retry-after']) {
  test(`a login that may be retried sends the same code again, after ${retryAfterName}`, async () => {
    const { wxlogin, weChat, service } = phone()
    service.script('POST /login', error(503, 'wechat_unavailable', { retryable: true, retryAfter: 3, retryAfterName }))

    const seconds = await time.secondsOf(wxlogin.login())

    assert.equal(seconds, 3)
    assert.equal(weChat.logins, 1)
    assert.deepEqual(codesSentTo(service), ['0a1CODE1', '0a1CODE1'])
  })
}

for (const retryAfter of [undefined, 'Wed, 21 Oct 2026 07:28:00 GMT', 0]) {
  test(`a login that may be retried waits for a second, if Retry-After is ${retryAfter}`, async () => {
    const { wxlogin, service } = phone()
    service.script('POST /login', error(503, 'wechat_unavailable', { retryable: true, retryAfter }))

    const seconds = await time.secondsOf(wxlogin.login())

    assert.equal(seconds, 1)
  })
}

test('a login that may be retried is tried three times in all', async () => {
  const { wxlogin, weChat, service } = phone()
  service.script('POST /login', ...times(3, () => error(502, 'backend_unavailable', { retryable: true })))

  const { code, retryable } = await failureOf(wxlogin.login())

  assert.equal(code, 'backend_unavailable')
  assert.equal(retryable, true)
  assert.equal(service.count('POST /login'), 3)
  assert.equal(weChat.logins, 1)
})

const WANT_A_NEW_CODE = [
  [400, 'invalid_code'], [400, 'code_used'], [429, 'rate_limited'], [502, 'wechat_error'], [503, 'store_unavailable'],
  [504, 'wechat_timeout']
]

for (const [status, code] of WANT_A_NEW_CODE) {
  test(`a login refused with ${status} ${code} is tried with a new code`, async () => {
    const { wxlogin, service } = phone()
    service.script('POST /login', error(status, code))

    await time.until(wxlogin.login())

    assert.deepEqual(codesSentTo(service), ['0a1CODE1', '0a1CODE2'])
  })

  test(`a login refused with ${status} ${code} is tried with a new code once`, async () => {
    const { wxlogin, service } = phone()
    service.script('POST /login', error(status, code), error(status, code))

    const failure = await failureOf(wxlogin.login())

    assert.equal(failure.code, code)
    assert.equal(service.count('POST /login'), 2)
  })
}

test('a new code waits as long as Retry-After says', async () => {
  const { wxlogin, service } = phone()
  service.script('POST /login', error(429, 'rate_limited', { retryAfter: 4 }))

  const seconds = await time.secondsOf(wxlogin.login())

  assert.equal(seconds, 4)
})

test('a new code does not wait without Retry-After', async () => {
  const { wxlogin, service } = phone()
  service.script('POST /login', error(400, 'code_used'))

  const seconds = await time.secondsOf(wxlogin.login())

  assert.equal(seconds, 0)
})

test('a new code may be retried too', async () => {
  const { wxlogin, service, weChat } = phone()
  service.script('POST /login', error(400, 'code_used'), error(503, 'wechat_unavailable', { retryable: true }))

  await time.until(wxlogin.login())

  assert.equal(service.count('POST /login'), 3)
  assert.equal(weChat.logins, 2)
})

const FINAL = [
  [400, 'invalid_request'], [403, 'user_blocked'], [404, 'not_found'], [413, 'content_too_large'],
  [500, 'internal_error']
]

for (const [status, code] of FINAL) {
  test(`a login refused with ${status} ${code} is told at once`, async () => {
    const { wxlogin, service } = phone()
    service.script('POST /login', error(status, code))

    const failure = await failureOf(wxlogin.login())

    assert.equal(failure.code, code)
    assert.equal(failure.statusCode, status)
    assert.equal(service.count('POST /login'), 1)
  })
}

test('five seconds are waited for', async () => {
  const { wxlogin, service } = phone()
  service.script('POST /login', error(429, 'wechat_rate_limited', { retryable: true, retryAfter: 5 }))

  const seconds = await time.secondsOf(wxlogin.login())

  assert.equal(seconds, 5)
})

for (const retryable of [true, false]) {
  const name = `a service that wants to be left alone for longer (retryable: ${retryable})`

  test(`${name} is, and it is told at once`, async () => {
    const { wxlogin, service } = phone()
    service.script('POST /login', error(429, 'rate_limited', { retryable, retryAfter: 6 }))
    const start = time.now

    const failure = await failureOf(orders(wxlogin))

    assert.equal(failure.code, 'rate_limited')
    assert.equal(failure.retryAfter, 6)
    assert.equal(time.now, start)
    assert.equal(service.count('POST /login'), 1)
  })

  test(`${name} is left alone until then`, async () => {
    const { wxlogin, service, weChat } = phone()
    service.script('POST /login', error(429, 'rate_limited', { retryable, retryAfter: 60 }))
    const first = await failureOf(orders(wxlogin))
    await time.pass(59999)

    const second = await failureOf(orders(wxlogin))

    assert.equal(second, first)
    assert.equal(weChat.logins, 1)
  })

  test(`${name} is asked again after that`, async () => {
    const { wxlogin, service } = phone()
    service.script('POST /login', error(429, 'rate_limited', { retryable, retryAfter: 60 }))
    await failureOf(orders(wxlogin))
    await time.pass(60000)

    const { statusCode } = await orders(wxlogin)

    assert.equal(statusCode, 200)
  })
}

test('who is logged in is not bothered by a service that takes no logins', async () => {
  const { wxlogin, service } = await loggedInPhone()
  service.script('POST /login', error(429, 'rate_limited', { retryAfter: 60 }))
  await failureOf(wxlogin.login())

  const { statusCode } = await orders(wxlogin)

  assert.equal(statusCode, 200)
})

// No answer.

for (const [name, script] of Object.entries({ unreachable, lost })) {
  test(`the same code is sent again if the network failed (${name})`, async () => {
    const { wxlogin, service, weChat } = phone()
    service.script('POST /login', script)

    const seconds = await time.secondsOf(wxlogin.login())

    assert.equal(seconds, 1)
    assert.equal(weChat.logins, 1)
    assert.deepEqual(codesSentTo(service), ['0a1CODE1', '0a1CODE1'])
  })
}

test('a login whose answers get lost is tried three times in all', async () => {
  const { wxlogin, service } = phone()
  service.script('POST /login', lost, lost, lost)

  const { code, message, errMsg, errno, retryable, statusCode } = await failureOf(wxlogin.login())

  assert.equal(code, 'network_error')
  assert.equal(message, 'request:fail net::ERR_CONNECTION_REFUSED')
  assert.equal(errMsg, message)
  assert.equal(errno, 600001)
  assert.equal(retryable, true)
  assert.equal(statusCode, undefined)
  assert.equal(service.count('POST /login'), 3)
})

test('a login that is not answered in time is tried again', async () => {
  const { wxlogin, service } = phone()
  service.hold('POST /login')

  const seconds = await time.secondsOf(wxlogin.login())

  assert.equal(seconds, 9) // within the 10 s in which the same code gets the same session
})

test('a failing wx.login is told', async () => {
  const { wxlogin, service, weChat } = phone()
  weChat.loginFailure = { errMsg: 'timeout', errno: 5 }

  const { code, message, errMsg, errno, retryable } = await failureOf(orders(wxlogin))

  assert.equal(code, 'wx_login_failed')
  assert.equal(message, 'login:fail timeout')
  assert.equal(errMsg, message)
  assert.equal(errno, 5)
  assert.equal(retryable, true)
  assert.equal(service.received.length, 0)
  assert.equal(weChat.logins, 1)
})

// Logins in a loop.

test('a seventh login within a minute is an error', async () => {
  const { wxlogin, weChat } = phone()
  await Promise.all(times(6, () => wxlogin.login()))
  for (let count = 1; count < 6; count += 1) await wxlogin.login()
  await time.pass(20000)

  const { code, retryable, retryAfter } = await failureOf(wxlogin.login())

  assert.equal(code, 'too_many_logins')
  assert.equal(retryable, true)
  assert.equal(retryAfter, 40)
  assert.equal(weChat.logins, 6)
})

test('logins are free again a minute after the first', async () => {
  const { wxlogin, weChat } = phone()
  await wxlogin.login()
  await time.pass(10000)
  for (let count = 1; count < 6; count += 1) await wxlogin.login()
  await time.pass(50000)
  await wxlogin.login()

  const { code } = await failureOf(wxlogin.login())

  assert.equal(code, 'too_many_logins')
  assert.equal(weChat.logins, 7)
})

test('how many logins there may be in a minute can be told', async () => {
  const { start } = phone()
  const wxlogin = start({ loginsPerMinute: 1 })
  await wxlogin.login()

  const { code, message } = await failureOf(wxlogin.login())

  assert.equal(code, 'too_many_logins')
  assert.match(message, /1 logins a minute/)
})

test('failed logins count', async () => {
  const { start, service } = phone()
  const wxlogin = start({ loginsPerMinute: 1 })
  service.script('POST /login', error(403, 'user_blocked'))
  await failureOf(wxlogin.login())

  const { code } = await failureOf(wxlogin.login())

  assert.equal(code, 'too_many_logins')
})

test('a wx.login that fails does not count: it has cost nobody anything', async () => {
  const { start, weChat } = phone()
  const wxlogin = start({ loginsPerMinute: 1 })
  weChat.loginFailure = { errMsg: 'timeout' }
  await failureOf(wxlogin.login())
  weChat.loginFailure = null

  const answer = await wxlogin.login()

  assert.ok(answer.expires_in)
})

test('a clock that is put back after a refusal does not stop logins', async () => {
  const { wxlogin, service } = phone()
  service.script('POST /login', error(429, 'rate_limited', { retryAfter: 60 }))
  await failureOf(wxlogin.login())
  time.now -= 3600000

  const answer = await wxlogin.login()

  assert.ok(answer.expires_in)
})

test('a clock that is put back does not stop logins', async () => {
  const { start } = phone()
  const wxlogin = start({ loginsPerMinute: 1 })
  await wxlogin.login()
  time.now -= 1

  const answer = await wxlogin.login()

  assert.ok(answer.expires_in)
})

test('sessions that end at once do not log in without end', async () => {
  const { wxlogin, service, weChat } = phone()
  const failures = []
  for (let count = 0; count < 10; count += 1) {
    service.endSessions()
    await orders(wxlogin).catch((failure) => failures.push(failure.code))
  }

  assert.deepEqual(failures, times(4, () => 'too_many_logins'))
  assert.equal(weChat.logins, 6)
})
