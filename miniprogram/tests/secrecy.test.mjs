// Neither the session's id nor the code is in what anybody may log.

import assert from 'node:assert/strict'
import test from 'node:test'
import { inspect } from 'node:util'
import { LOST } from '../../wxlogin/sandbox/simulator/wx.mjs'
import { changing, error, failureOf, html, loggedInPhone, lost, phone, times } from './drivers.mjs'

/** Returns a `wx` that tells in its failures all that it was given, as some platforms do. */
const telling = (wx) => ({
  ...wx,
  request: (options) => wx.request({ ...options, fail: (failure) => options.fail({ ...failure, config: options }) })
})

const orders = (wxlogin) => wxlogin.request({ url: '/orders' })
const login = (wxlogin) => wxlogin.login()
const logout = (wxlogin) => wxlogin.logout()
const session = (wxlogin) => wxlogin.session()
const decrypt = (wxlogin) => wxlogin.decrypt({})

function isSecretIn(failure, service) {
  const text = inspect(failure, { depth: 9, showHidden: true }) + JSON.stringify(failure) + failure.stack
  return [...service.sessions].flat().some((secret) => text.includes(secret)) || /0a1CODE|user_hash/.test(text)
}

const FAILURES = {
  'the network': { adapt: telling, route: 'GET /orders', scripts: [lost], work: orders },
  'the network at a login': { adapt: telling, route: 'POST /login', scripts: [lost, lost, lost], work: login },
  'a refused login': { route: 'POST /login', scripts: [error(403, 'user_blocked')], work: login },
  'a login that a proxy answers': { route: 'POST /login', scripts: [html(500)], work: login },
  'a logout': { adapt: telling, route: 'DELETE /session', scripts: times(3, () => lost), work: logout },
  'stale data': { route: 'POST /user-data/decrypt', scripts: [error(409, 'session_key_stale')], work: decrypt },
  'a second 401': { route: 'GET /session', scripts: times(2, () => error(401, 'not_logged_in')), work: session },
  'another server': { route: 'GET /', scripts: [], work: (wxlogin) => wxlogin.request({ url: 'https://evil.com/' }) }
}

for (const [name, { adapt, route, scripts, work }] of Object.entries(FAILURES)) {
  test(`no id and no code is in the error of ${name}`, async () => {
    const { wxlogin, service } = await loggedInPhone({ adapt })
    service.script(route, ...scripts)

    const failure = await failureOf(work(wxlogin))

    assert.equal(failure.name, 'WxLoginError')
    assert.equal(isSecretIn(failure, service), false)
  })
}

test('no id and no code is in the error of a login without an id', async () => {
  const adapt = changing((answer) => ({ ...answer, header: { 'X-Cookie': 'user_hash' } }))
  const { wxlogin, service } = phone({ platform: LOST, adapt })

  const failure = await failureOf(wxlogin.login())

  assert.equal(failure.code, 'no_session_id')
  assert.equal(isSecretIn(failure, service), false)
})

test('nothing is written to the console', async () => {
  const methods = Object.keys(console).filter((name) => typeof console[name] === 'function')
  const real = Object.assign({}, console)
  const written = []
  methods.forEach((name) => { console[name] = (...given) => written.push(given) })

  const { wxlogin, service } = phone()
  service.script('GET /orders', error(401, 'not_logged_in'), lost)
  await failureOf(orders(wxlogin))
  await failureOf(wxlogin.request({ url: 'https://evil.com/' }))
  await wxlogin.logout()
  Object.assign(console, real)

  assert.deepEqual(written, [])
})
