// The session in the phone's storage: it is found again, and where the storage is broken, everything works without.

import assert from 'node:assert/strict'
import test from 'node:test'
import { BASE_URL, EXPIRES_IN, STORAGE_KEY, loggedInPhone, phone, time } from './drivers.mjs'

test('the session is stored, with its end, under the service\'s address', async () => {
  const { wxlogin, storage, service } = phone()

  await wxlogin.login()

  assert.deepEqual([...storage.keys()], [STORAGE_KEY])
  assert.deepEqual(storage.session, { id: service.newest, expiresAt: Date.now() + EXPIRES_IN * 1000 })
})

test('the session is stored before login() is done', async () => {
  const setStorage = ({ success }) => setTimeout(() => success({}), 500)
  const { wxlogin } = phone({ adapt: (wx) => ({ ...wx, setStorage }) })

  const seconds = await time.secondsOf(wxlogin.login())

  assert.equal(seconds, 0.5)
})

test('services of different addresses don\'t share a session', async () => {
  const { start, storage, weChat } = await loggedInPhone()

  await start({ baseUrl: `${BASE_URL}:8443` }).request({ url: '/orders' })

  assert.equal(weChat.logins, 2)
  assert.deepEqual([...storage.keys()], [STORAGE_KEY, `${STORAGE_KEY}:8443`])
})

test('the key in the storage can be told', async () => {
  const { start, storage } = phone()

  await start({ storageKey: 'mine' }).login()

  assert.deepEqual([...storage.keys()], ['mine'])
})

test('the next start finds the session', async () => {
  const { start, service, weChat } = await loggedInPhone()

  const { statusCode } = await start().request({ url: '/orders' })

  assert.equal(statusCode, 200)
  assert.equal(weChat.logins, 1)
  assert.equal(service.count('POST /login'), 1)
})

test('the storage is read once, and not before it is needed', async () => {
  let reads = 0
  const adapt = (wx) => ({ ...wx, getStorage: (options) => { reads += 1; wx.getStorage(options) } })
  const { wxlogin } = phone({ adapt })
  assert.equal(reads, 0)

  await Promise.all([wxlogin.request({ url: '/orders' }), wxlogin.session(), wxlogin.ensureSessionKey()])

  assert.equal(reads, 1)
})

test('a stored session that the service does not know any more is replaced', async () => {
  const { start, storage, service, weChat } = await loggedInPhone()
  service.endSessions()

  const { statusCode } = await start().request({ url: '/orders' })

  assert.equal(statusCode, 200)
  assert.equal(weChat.logins, 2)
  assert.equal(storage.session.id, service.newest)
})

test('a stored session that is over by the clock is replaced, and not sent', async () => {
  const { start, service, weChat, id } = await loggedInPhone()
  await time.pass(EXPIRES_IN * 1000)

  await start().request({ url: '/orders' })

  assert.equal(weChat.logins, 2)
  assert.equal(service.received.filter(({ header }) => header.sessionid === id).length, 0)
})

test('logging out leaves no session in the storage', async () => {
  const { wxlogin, storage } = await loggedInPhone()

  await wxlogin.logout()

  assert.equal(storage.isLoggedOut, true)
})

test('logging out with a session that is over leaves none in the storage', async () => {
  const { start, storage } = await loggedInPhone()
  await time.pass(EXPIRES_IN * 1000)

  await start().logout()

  assert.equal(storage.isLoggedOut, true)
})

test('what is stored last is what happened last, however slow the storage is', async () => {
  const delays = [0, 900, 0]
  const adapt = (wx) => ({ ...wx, setStorage: (options) => setTimeout(() => wx.setStorage(options), delays.shift()) })
  const { wxlogin, storage, service } = phone({ adapt })
  await time.until(wxlogin.login())
  const logout = wxlogin.logout()
  await time.pass(100) // the logout is being written

  await time.until(Promise.all([wxlogin.login(), logout]))
  await time.pass(1000)

  assert.equal(storage.session.id, service.newest)
})

test('a slow storage is waited for: it may say that the user has logged out', async () => {
  const slow = (wx) => ({ ...wx, getStorage: (options) => setTimeout(() => wx.getStorage(options), 2900) })
  const { wxlogin, start, weChat } = phone({ adapt: slow })
  await time.until(wxlogin.login())
  await time.until(wxlogin.logout())

  const { statusCode } = await time.until(start().request({ url: '/orders' }))

  assert.equal(statusCode, 401)
  assert.equal(weChat.logins, 1)
})

test('a logout that comes while the session is being stored has the last word', async () => {
  const adapt = (wx) => ({ ...wx, setStorage: (options) => setTimeout(() => wx.setStorage(options), 900) })
  const { wxlogin, storage } = phone({ adapt })
  const login = wxlogin.login()
  await time.pass(100)

  await time.until(Promise.all([login, wxlogin.logout()]))
  await time.pass(1000)

  assert.equal(storage.isLoggedOut, true)
})

// What can be wrong with it.

const NAMES = ['getStorage', 'setStorage']
const BROKEN = {
  'is not there': undefined,
  throws: () => { throw new Error('no storage') },
  fails: ({ fail }) => fail({ errMsg: 'fail' }),
  'fails without a word': ({ fail }) => fail(),
  rejects: () => Promise.reject(new Error('no storage')),
  'never calls back': () => {},
  'gives nothing': ({ success }) => success(),
  'gives null': ({ success }) => success(null)
}

for (const name of NAMES) {
  for (const [how, broken] of Object.entries(BROKEN)) {
    test(`everything works if ${name} ${how}`, async () => {
      const { wxlogin, service, weChat } = phone({ adapt: (wx) => ({ ...wx, [name]: broken }) })

      const answer = await time.until(wxlogin.request({ url: '/orders' }))
      await time.until(wxlogin.request({ url: '/orders' }))
      await time.until(wxlogin.logout())

      assert.equal(answer.statusCode, 200)
      assert.equal(weChat.logins, 1)
      assert.equal(service.count('DELETE /session'), 1)
    })
  }
}

test('a storage that never calls back costs three seconds for each of reading and writing', async () => {
  const adapt = (wx) => ({ ...wx, getStorage: () => {}, setStorage: () => {} })
  const { wxlogin } = phone({ adapt })

  const first = await time.secondsOf(wxlogin.request({ url: '/orders' }))
  const second = await time.secondsOf(wxlogin.request({ url: '/orders' }))

  assert.deepEqual([first, second], [6, 0])
})

const LATER = Date.UTC(2100, 0, 1)
const RUBBISH = [
  undefined, null, '', 'a string', 0, 1, true, [], {}, { id: 1 }, { expiresAt: LATER },
  ...[1, '', null, ['x'], {}].map((id) => ({ id, expiresAt: LATER })),
  ...[undefined, null, 'soon', -1, {}].map((expiresAt) => ({ id: 'x', expiresAt }))
]

for (const data of RUBBISH) {
  test(`logs in if the storage has ${JSON.stringify(data)}`, async () => {
    const adapt = (wx) => ({ ...wx, getStorage: ({ success }) => success({ data }) })
    const { wxlogin, weChat, service } = phone({ adapt })

    const { statusCode } = await wxlogin.request({ url: '/orders' })

    assert.equal(statusCode, 200)
    assert.equal(weChat.logins, 1)
    assert.equal(service.count('GET /orders'), 1)
    assert.equal(service.last('POST /login').header.sessionid, undefined)
  })
}
