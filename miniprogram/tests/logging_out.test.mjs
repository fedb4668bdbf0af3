// Logging out, here and everywhere: from then on nobody is logged in, until login() is called.

import assert from 'node:assert/strict'
import test from 'node:test'
import { EXPIRES_IN, answered, error, failureOf, loggedInPhone, lost, phone, time, times, unreachable } from './drivers.mjs'

const orders = (wxlogin) => wxlogin.request({ url: '/orders' })
const refused = error(500, 'internal_error')
const unavailable = error(503, 'store_unavailable', { retryable: true, retryAfter: 1 })

const FAILURES = {
  'is out of order': { script: unavailable, code: 'store_unavailable' },
  'is not reached': { script: unreachable, code: 'network_error' },
  'breaks down': { script: refused, code: 'internal_error' }
}

for (const [name, route] of [['logout', 'DELETE /session'], ['logoutEverywhere', 'DELETE /sessions']]) {
  test(`${name}() ends the session`, async () => {
    const { wxlogin, service, id } = await loggedInPhone()

    const answer = await wxlogin[name]()

    assert.equal(answer, undefined)
    assert.equal(service.last(route).header.sessionid, id)
    assert.equal(service.received.length, 2)
    assert.equal(service.sessions.size, 0)
  })

  test(`${name}() ends the session that was stored`, async () => {
    const { start, service, id } = await loggedInPhone()

    await start()[name]()

    assert.equal(service.last(route).header.sessionid, id)
  })

  test(`${name}() is tried again if the service has no time`, async () => {
    const { wxlogin, service } = await loggedInPhone()
    service.script(route, unavailable, unavailable)

    const seconds = await time.secondsOf(wxlogin[name]())

    assert.equal(seconds, 2)
    assert.equal(service.sessions.size, 0)
  })

  for (const [how, { script, code }] of Object.entries(FAILURES)) {
    test(`${name}() fails if the service ${how}, and the user is still logged in`, async () => {
      const { wxlogin, service, weChat, storage, id } = await loggedInPhone()
      service.script(route, ...times(3, () => script))

      const failure = await failureOf(wxlogin[name]())
      await orders(wxlogin)

      assert.equal(failure.code, code)
      assert.equal(service.last('GET /orders').header.sessionid, id)
      assert.equal(storage.session.id, id)
      assert.equal(weChat.logins, 1)
    })
  }
}

test('logout() sends nothing without a session', async () => {
  const { wxlogin, service, weChat } = phone()

  await wxlogin.logout()

  assert.equal(service.received.length, 0)
  assert.equal(weChat.logins, 0)
})

test('logout() is done if the session has ended already', async () => {
  const { wxlogin, service, storage } = await loggedInPhone()
  service.endSessions()

  await wxlogin.logout()

  assert.equal(storage.isLoggedOut, true)
  assert.equal(service.count('DELETE /session'), 1)
})

const SESSIONLESS = {
  'has no session': async () => phone(),
  'has logged out here': async () => {
    const started = await loggedInPhone()
    await started.wxlogin.logout()
    return started
  },
  'has a session that is over by the clock': async () => {
    const started = await loggedInPhone()
    await time.pass(EXPIRES_IN * 1000)
    return started
  }
}

for (const [how, begin] of Object.entries(SESSIONLESS)) {
  test(`logoutEverywhere() of one who ${how} logs in, to say who it is, and ends all`, async () => {
    const { wxlogin, service, storage, weChat } = await begin()
    const before = weChat.logins
    service.sessions.set('on-another-device', 'another code')

    await wxlogin.logoutEverywhere()

    assert.equal(weChat.logins, before + 1)
    assert.equal(service.count('DELETE /sessions'), 1)
    assert.equal(service.sessions.size, 0)
    assert.equal(storage.isLoggedOut, true)
    assert.equal((await orders(wxlogin)).statusCode, 401)
  })
}

test('logoutEverywhere() with a session that has ended logs in, and ends all', async () => {
  const { wxlogin, service, storage, weChat } = await loggedInPhone()
  service.endSessions()
  service.sessions.set('on-another-device', 'another code')

  await wxlogin.logoutEverywhere()

  assert.equal(weChat.logins, 2)
  assert.equal(service.count('DELETE /sessions'), 2)
  assert.equal(service.sessions.size, 0)
  assert.equal(storage.isLoggedOut, true)
})

test('logoutEverywhere() fails if it can not log in, and all is as it was', async () => {
  const { wxlogin, service } = phone()
  service.script('POST /login', error(403, 'user_blocked'))

  const failure = await failureOf(wxlogin.logoutEverywhere())

  assert.equal(failure.code, 'user_blocked')
  assert.equal((await orders(wxlogin)).statusCode, 200)
})

const FAILING = {
  'at its login': ['POST /login', error(403, 'user_blocked')],
  'after its login': ['DELETE /sessions', refused]
}

for (const [when, [route, script]] of Object.entries(FAILING)) {
  for (const isRestarted of [false, true]) {
    test(`logoutEverywhere() that fails ${when} leaves one logged out (after a restart: ${isRestarted})`, async () => {
      const { wxlogin, start, service, storage } = await loggedInPhone()
      await wxlogin.logout()
      const client = isRestarted ? start() : wxlogin
      service.script(route, script)

      await failureOf(client.logoutEverywhere())

      assert.equal((await orders(client)).statusCode, 401)
      assert.equal((await orders(start())).statusCode, 401)
      assert.equal(storage.isLoggedOut, true)
    })
  }
}

test('logout() with a session that has run out is done', async () => {
  const { wxlogin, service, storage } = await loggedInPhone()
  service.script('DELETE /session', error(401, 'session_expired'))

  await wxlogin.logout()

  assert.equal(storage.isLoggedOut, true)
})

test('a login() after a logout(), both amid a login, is the last word', async () => {
  const { wxlogin, service, storage } = phone()
  const held = service.hold('POST /login')
  const first = wxlogin.login()
  await held.ready
  const logout = wxlogin.logout()
  const last = wxlogin.login()
  held.release()

  await Promise.all([first, logout, last])

  assert.equal(service.sessions.size, 1)
  assert.equal(storage.session.id, service.newest)
})

test('a login() amid a failing logoutEverywhere() of one who is logged out is the last word', async () => {
  const { wxlogin, service } = await loggedInPhone()
  await wxlogin.logout()
  const held = service.hold('DELETE /sessions', refused)
  const logout = failureOf(wxlogin.logoutEverywhere())
  await held.ready
  await wxlogin.login()
  held.release()
  await logout

  const { statusCode } = await orders(wxlogin)

  assert.equal(statusCode, 200)
})

test('a logout whose answer is lost is done with the next try', async () => {
  const { wxlogin, service, storage } = await loggedInPhone()
  service.script('DELETE /session', lost)

  await time.until(wxlogin.logout())

  assert.equal(service.count('DELETE /session'), 2)
  assert.equal(storage.isLoggedOut, true)
})

test('after a logout that failed, a 401 logs in again', async () => {
  const { wxlogin, service } = await loggedInPhone()
  service.script('DELETE /session', refused)
  await failureOf(wxlogin.logout())
  service.endSessions()

  const { statusCode } = await orders(wxlogin)

  assert.equal(statusCode, 200)
})

test('after logging out, requests go out without a session, and 401 is their answer', async () => {
  const { wxlogin, service, weChat } = await loggedInPhone()
  await wxlogin.logout()

  const { statusCode, data } = await orders(wxlogin)

  assert.equal(statusCode, 401)
  assert.equal(data.error.code, 'not_logged_in')
  assert.deepEqual(service.last('GET /orders').header, { 'content-type': 'application/json' })
  assert.equal(service.count('GET /orders'), 1)
  assert.equal(weChat.logins, 1)
})

const WORK = {
  session: (wxlogin) => wxlogin.session(),
  decrypt: (wxlogin) => wxlogin.decrypt({ encryptedData: '', iv: '' }),
  phoneNumber: (wxlogin) => wxlogin.phoneNumber('code')
}

for (const [name, work] of Object.entries(WORK)) {
  test(`after logging out, ${name}() fails with not_logged_in`, async () => {
    const { wxlogin, weChat } = await loggedInPhone()
    await wxlogin.logout()

    const { code, statusCode } = await failureOf(work(wxlogin))

    assert.equal(code, 'not_logged_in')
    assert.equal(statusCode, 401)
    assert.equal(weChat.logins, 1)
  })
}

test('after logging out, ensureSessionKey() logs nobody in', async () => {
  const { wxlogin, weChat } = await loggedInPhone()
  await wxlogin.logout()

  await wxlogin.ensureSessionKey()

  assert.equal(weChat.logins, 1)
})

test('after logging out, a 409 logs nobody in', async () => {
  const { wxlogin, service, weChat } = await loggedInPhone()
  await wxlogin.logout()
  service.script('POST /user-data/decrypt', error(409, 'session_key_stale'))

  const { code } = await failureOf(wxlogin.decrypt({ encryptedData: '', iv: '' }))

  assert.equal(code, 'session_key_stale')
  assert.equal(weChat.logins, 1)
})

test('after logging out, login() logs in, and requests do again', async () => {
  const { wxlogin, service, weChat } = await loggedInPhone()
  await wxlogin.logout()
  await wxlogin.login()
  service.endSessions()

  const { statusCode } = await orders(wxlogin)

  assert.equal(statusCode, 200)
  assert.equal(weChat.logins, 3)
})

test('a login after logging out tells nothing of the session before', async () => {
  const { wxlogin, service } = await loggedInPhone()
  await wxlogin.logout()

  await wxlogin.login()

  assert.deepEqual(service.last('POST /login').header, { 'content-type': 'application/json' })
})

test('the next start knows that the user has logged out', async () => {
  const { wxlogin, start, weChat } = await loggedInPhone()
  await wxlogin.logout()

  const { statusCode } = await orders(start())

  assert.equal(statusCode, 401)
  assert.equal(weChat.logins, 1)
})

test('a login() at the next start is one for all that follows', async () => {
  const { wxlogin, start, service } = await loggedInPhone()
  await wxlogin.logout()
  const next = start()
  await next.login()
  service.endSessions()

  const { statusCode } = await orders(next)

  assert.equal(statusCode, 200)
  assert.equal((await orders(start())).statusCode, 200)
})

// Amid other things.

test('a 401 that comes while logging out is the answer, and logs nobody in', async () => {
  const { wxlogin, service, weChat } = await loggedInPhone()
  const heldLogout = service.hold('DELETE /session')
  const heldOrders = service.hold('GET /orders')
  const logout = wxlogin.logout()
  await heldLogout.ready
  const request = orders(wxlogin)
  await heldOrders.ready
  heldOrders.release()

  const { statusCode } = await request

  assert.equal(statusCode, 401)
  heldLogout.release()
  await logout
  assert.equal(weChat.logins, 1)
  assert.equal(service.sessions.size, 0)
})

test('a 401 that comes after logging out is the answer, and logs nobody in', async () => {
  const { wxlogin, service, weChat } = await loggedInPhone()
  const held = service.hold('GET /basket')
  service.endSessions()
  const request = wxlogin.request({ url: '/basket' })
  await held.ready
  await wxlogin.logout()
  held.release()

  const { statusCode } = await request

  assert.equal(statusCode, 401)
  assert.equal(weChat.logins, 1)
  assert.equal(service.count('GET /basket'), 1)
})

test('a logout amid a login ends that login\'s session', async () => {
  const { wxlogin, service, storage, weChat } = phone()
  const held = service.hold('POST /login')
  const login = wxlogin.login()
  await held.ready
  const logout = wxlogin.logout()
  held.release()

  await Promise.all([login, logout])

  assert.equal(service.sessions.size, 0)
  assert.equal(storage.isLoggedOut, true)
  assert.equal((await orders(wxlogin)).statusCode, 401)
  assert.equal(weChat.logins, 1)
})

test('a logout amid a login that fails is done', async () => {
  const { wxlogin, service, weChat } = phone()
  service.script('POST /login', error(403, 'user_blocked'))
  const login = failureOf(wxlogin.login())

  await wxlogin.logout()

  await login
  assert.equal((await orders(wxlogin)).statusCode, 401)
  assert.equal(weChat.logins, 1)
})

test('a request that waits for a login logs nobody in again, if the user logs out meanwhile', async () => {
  const { wxlogin, service, weChat } = phone()
  const held = service.hold('POST /login')
  const request = orders(wxlogin)
  await held.ready
  const logout = wxlogin.logout()
  held.release()
  await logout

  await request

  assert.equal(weChat.logins, 1)
  assert.equal(service.sessions.size, 0)
})

test('a login amid a logout that is being tried again is not ended by it', async () => {
  const { wxlogin, service, id } = await loggedInPhone()
  service.script('DELETE /session', unavailable)
  const logout = wxlogin.logout()
  await time.pass(500)
  await wxlogin.login()

  await time.until(logout)

  assert.deepEqual(service.all('DELETE /session').map(({ header }) => header.sessionid), [id, id])
  assert.equal(service.sessions.size, 1)
})

test('a login amid a logout is not forgotten by it', async () => {
  const { wxlogin, service, storage, weChat } = await loggedInPhone()
  const held = service.hold('DELETE /session')
  const logout = wxlogin.logout()
  await held.ready
  await wxlogin.login()
  held.release()
  await logout

  await orders(wxlogin)

  assert.equal(weChat.logins, 2)
  assert.equal(storage.session.id, service.newest)
  assert.equal(service.last('GET /orders').header.sessionid, service.newest)
})

test('of two logouts at once, one is enough', async () => {
  const { wxlogin, service, weChat } = await loggedInPhone()
  const held = service.hold('DELETE /session')
  service.script('DELETE /session', answered)
  const first = wxlogin.logout()
  await held.ready
  await wxlogin.logout()
  held.release()
  await first

  const { statusCode } = await orders(wxlogin)

  assert.equal(statusCode, 401)
  assert.equal(weChat.logins, 1)
})

test('of two logouts at once, one that fails does not log the user in again', async () => {
  const { wxlogin, service, weChat } = await loggedInPhone()
  service.script('DELETE /session', unavailable, answered, refused)
  const first = failureOf(wxlogin.logout())
  await time.pass(500)
  await wxlogin.logout()
  const failure = await first

  const { statusCode } = await orders(wxlogin)

  assert.equal(failure.code, 'internal_error')
  assert.equal(statusCode, 401)
  assert.equal(weChat.logins, 1)
})
