// The client against the real site.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import test from 'node:test'
import vm from 'node:vm'
import { LOST, SPELLINGS } from '../../../wxlogin/sandbox/simulator/wx.mjs'
import { BODY_URL, SITE_URL, createWxLogin, endSession, exchanges, phone, statusOf } from './site.mjs'

const MANY = 50
const count = (sent, route) => sent.filter((each) => each === route).length
const callers = (wxlogin) => Array.from({ length: MANY }, () => wxlogin.request({ url: '/api/' }))
const failureOf = (promise) => promise.then(() => assert.fail('was to fail'), (failure) => failure)

for (const page of ['README.md', 'README.zh-CN.md', 'miniprogram/README.md', 'miniprogram/README.zh-CN.md']) {
  test(`the three lines of ${page}, copied, log in`, async () => {
    const text = readFileSync(new URL(`../../../${page}`, import.meta.url), 'utf8')
    const [, lines] = /```js\n(const \{ createWxLogin \}.*?)```/s.exec(text)
    const { wx, sent, weChat, storage } = phone()
    const code = lines.replace('https://login.example.com', SITE_URL)

    const printed = await new Promise((resolve) => {
      vm.runInNewContext(code, { require: () => ({ createWxLogin: adding(wx) }), console: { log: resolve } })
    })

    assert.equal(lines.trim().split('\n').length, 3)
    assert.equal(printed.openid, weChat.openid)
    assert.deepEqual(sent, ['POST /login', 'GET /api/'])
    assert.ok(storage.sessionId)
  })
}

/** On phones, wx is there for all. */
function adding(wx) {
  return (options) => createWxLogin({ ...options, wx })
}

for (const [name, platform] of Object.entries(SPELLINGS)) {
  test(`logs in with Set-Cookie as: ${name}`, async () => {
    const { wxlogin, weChat, sent } = phone({ platform })

    await wxlogin.login()

    const { data } = await wxlogin.request({ url: '/api/' })
    assert.equal(data.openid, weChat.openid)
    assert.deepEqual(sent, ['POST /login', 'GET /api/'])
  })
}

test('a lost Set-Cookie is an error that says the cure', async () => {
  const { wxlogin } = phone({ platform: LOST })

  const failure = await failureOf(wxlogin.login())

  assert.equal(failure.code, 'no_session_id')
  assert.match(failure.message, /WXLOGIN_SESSION_ID_IN_BODY=true/)
})

test('which works', async () => {
  const { wxlogin, sent } = phone({ platform: LOST, baseUrl: BODY_URL })

  const { appid } = await wxlogin.session()

  assert.equal(appid, 'wx4f4bc4dec97d474b')
  assert.deepEqual(sent, ['POST /login', 'GET /session'])
})

test(`${MANY} parallel requests of a logged-out client: one wx.login, one POST /login, ${MANY} answers`, async () => {
  const { wxlogin, weChat, sent } = phone()
  const before = await exchanges()

  const answers = await Promise.all(callers(wxlogin))

  assert.deepEqual(answers.map(({ data }) => data.openid), Array(MANY).fill(weChat.openid))
  assert.equal(weChat.logins, 1)
  assert.equal(count(sent, 'POST /login'), 1)
  assert.equal(await exchanges(), before + 1)
})

test(`the session ends amid them: one more login, still ${MANY} answers`, async () => {
  const { wxlogin, weChat, sent, storage } = phone()
  await wxlogin.login()
  const ended = []
  const firstAnswered = ({ statusCode }) => {
    if (!ended.length) ended.push(endSession(storage.sessionId))
    return statusCode
  }

  const statuses = await Promise.all(callers(wxlogin).map((each) => each.then(firstAnswered)))

  assert.deepEqual(statuses, Array(MANY).fill(200))
  assert.equal((await ended[0]).statusCode, 204)
  assert.equal(weChat.logins, 2)
  assert.equal(count(sent, 'POST /login'), 2)
  assert.ok(count(sent, 'GET /api/') > MANY)
})

test('the next start goes on with the session', async () => {
  const { wxlogin, start, sent } = phone()
  await wxlogin.login()

  await start().request({ url: '/api/' })

  assert.deepEqual(sent, ['POST /login', 'GET /api/'])
})

test('files go to the back end and come from it, as the user', async () => {
  const { wxlogin } = phone()

  const up = await wxlogin.uploadFile({ url: '/api/', filePath: 'wxfile://tmp/cat.png', name: 'file' })
  const down = await wxlogin.downloadFile({ url: '/api/' })

  assert.equal(up.statusCode, 405) // nginx lets it through, the example takes none
  assert.equal(down.statusCode, 200)
})

test('user data that WeChat encrypted is decrypted', async () => {
  const { wxlogin, wx } = phone()
  await wxlogin.ensureSessionKey()

  const data = await wxlogin.decrypt(await wx.getUserInfo())

  assert.equal(typeof data.nickName, 'string')
  assert.equal(data.openId, undefined)
})

test('user data of before a new key is decrypted still', async () => {
  const { wxlogin, wx } = phone()
  await wxlogin.login()
  const before = await wx.getUserInfo()
  await wxlogin.login()

  const data = await wxlogin.decrypt(before)

  assert.equal(typeof data.nickName, 'string')
})

test('user data under a key that nobody has logs in, and has to be fetched again', async () => {
  const { wxlogin, wx, weChat } = phone()
  await wxlogin.login()
  const another = phone()
  await another.wxlogin.login()

  const failure = await failureOf(wxlogin.decrypt(await another.wx.getUserInfo()))

  const data = await wxlogin.decrypt(await wx.getUserInfo())
  assert.equal(failure.code, 'session_key_stale')
  assert.equal(weChat.logins, 2)
  assert.equal(typeof data.nickName, 'string')
})

test('a phone number is exchanged', async () => {
  const { wxlogin, weChat } = phone()
  await wxlogin.login()

  const { purePhoneNumber } = await wxlogin.phoneNumber(await weChat.getPhoneNumber())

  assert.match(purePhoneNumber, /^\d{11}$/)
})

test('a used phone code is the error of the service', async () => {
  const { wxlogin, weChat } = phone()
  await wxlogin.login()
  const code = await weChat.getPhoneNumber()
  await wxlogin.phoneNumber(code)

  const { code: error, statusCode, requestId, errcode } = await failureOf(wxlogin.phoneNumber(code))

  assert.deepEqual([error, statusCode, errcode], ['invalid_code', 400, 40029])
  assert.match(requestId, /^[\w-]+$/)
})

test('logging out ends the session', async () => {
  const { wxlogin, storage } = phone()
  await wxlogin.login()
  const id = storage.sessionId

  await wxlogin.logout()

  assert.equal(await statusOf(id), 401)
  assert.equal((await wxlogin.request({ url: '/api/' })).statusCode, 401)
})

test('logging out everywhere ends the sessions of the user\'s other phones', async () => {
  const first = phone()
  await first.wxlogin.login()
  const second = phone({ openid: first.weChat.openid })
  await second.wxlogin.login()

  await second.wxlogin.logoutEverywhere()

  assert.equal(await statusOf(first.storage.sessionId), 401)
})

test('logging out everywhere works from a phone that has logged out', async () => {
  const first = phone()
  await first.wxlogin.login()
  const second = phone({ openid: first.weChat.openid })
  await second.wxlogin.logout()

  await second.wxlogin.logoutEverywhere()

  assert.equal(await statusOf(first.storage.sessionId), 401)
})
