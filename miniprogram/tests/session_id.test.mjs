// The session's id: how it is found in what platforms make of Set-Cookie, how it is sent, and to whom.

import assert from 'node:assert/strict'
import test from 'node:test'
import { LOST, SPELLINGS } from '../../wxlogin/sandbox/simulator/wx.mjs'
import { BASE_URL, changing, error, failureOf, loggedInPhone, phone } from './drivers.mjs'

// Found.

for (const [name, platform] of Object.entries(SPELLINGS)) {
  test(`logs in where Set-Cookie comes so: ${name}`, async () => {
    const { wxlogin, service } = phone({ platform })

    const { statusCode } = await wxlogin.request({ url: '/orders' })

    assert.equal(statusCode, 200)
    assert.equal(service.count('GET /orders'), 1)
    assert.equal(service.last('GET /orders').header.sessionid, service.newest)
  })
}

test('logs in where Set-Cookie is lost, if the body has the id', async () => {
  const { wxlogin, service } = phone({ platform: LOST, isIdInBody: true })

  await wxlogin.request({ url: '/orders' })

  assert.equal(service.last('GET /orders').header.sessionid, service.newest)
})

test('the id in the body is not handed on', async () => {
  const { wxlogin, service } = phone({ platform: LOST, isIdInBody: true })

  const answer = await wxlogin.login()

  assert.equal(JSON.stringify(answer).includes(service.newest), false)
  assert.equal('session_id' in answer, false)
})

const WITHOUT_HEADERS = {
  'without a header': ({ header, ...answer }) => answer, // eslint-disable-line no-unused-vars
  'with null as header': (answer) => ({ ...answer, header: null }),
  'with undefined as header': (answer) => ({ ...answer, header: undefined }),
  'with null as Set-Cookie': (answer) => ({ ...answer, header: { 'Set-Cookie': null } }),
  'with null as cookies': (answer) => ({ ...answer, cookies: null, header: {} })
}

for (const [name, change] of Object.entries(WITHOUT_HEADERS)) {
  test(`logs in by the body where answers come ${name}`, async () => {
    const { wxlogin, service } = phone({ platform: LOST, isIdInBody: true, adapt: changing(change) })

    await wxlogin.request({ url: '/orders' })

    assert.equal(service.last('GET /orders').header.sessionid, service.newest)
  })

  test(`tells errors where answers come ${name}`, async () => {
    const { wxlogin, service } = phone({ adapt: changing(change) })
    service.script('POST /login', error(403, 'user_blocked'))

    const { code } = await failureOf(wxlogin.login())

    assert.equal(code, 'user_blocked')
  })
}

for (const data of [{}, null, 'ok', { session_id: '' }]) {
  test(`where Set-Cookie is lost and the body is ${JSON.stringify(data)}, it says which setting helps`, async () => {
    const { wxlogin, weChat } = phone({ platform: LOST, adapt: changing((answer) => ({ ...answer, data })) })

    const { code, message } = await failureOf(wxlogin.request({ url: '/orders' }))

    assert.equal(code, 'no_session_id')
    assert.match(message, /WXLOGIN_SESSION_ID_IN_BODY/)
    assert.equal(weChat.logins, 1)
  })
}

const SET_COOKIES = {
  'the id in quotes': (id) => [`sessionid="${id}"; Path=/`],
  'a cookie that is cleared before ours': (id) => ['sessionid=; Path=/api; Max-Age=0', `sessionid=${id}; Path=/`],
  'a cookie that is cleared after ours': (id) => [`sessionid=${id}; Path=/`, 'sessionid=; Path=/api; Max-Age=0'],
  'a cookie that is cleared with quotes': (id) => [`sessionid=${id}; Path=/`, 'sessionid=""; Path=/api; Max-Age=0'],
  'a cookie of a longer name before ours': (id) => ['xsessionid=no; Path=/', `sessionid=${id}; Path=/`],
  'a cookie of a longer name after ours': (id) => [`sessionid=${id}`, 'my-sessionid=no', 'my.sessionid=no'],
  'a cookie whose name begins with ours': (id) => [`sessionid=${id}; Path=/`, 'sessionid2=no; Path=/'],
  'a cookie whose value tells of ours': (id) => [`sessionid=${id}; Path=/`, 'back=/?sessionid=no; Path=/'],
  'no attributes': (id) => [`sessionid=${id}`],
  'an older one of ours before': (id) => ['sessionid=older; Path=/', `sessionid=${id}; Path=/`]
}

for (const [name, setCookies] of Object.entries(SET_COOKIES)) {
  for (const separator of [',', ', ', ';', '; ']) {
    test(`finds the id among ${name}, joined by '${separator}'`, async () => {
      const { wxlogin, service } = phone({ setCookies, platform: { separator, withCookies: false } })

      await wxlogin.request({ url: '/orders' })

      assert.equal(service.last('GET /orders').header.sessionid, service.newest)
    })
  }

  test(`finds the id among ${name}, apart`, async () => {
    const { wxlogin, service } = phone({ setCookies, platform: { name: null } })

    await wxlogin.request({ url: '/orders' })

    assert.equal(service.last('GET /orders').header.sessionid, service.newest)
  })
}

// Sent.

test('the id is sent as a header and as a cookie', async () => {
  const { wxlogin, service, id } = await loggedInPhone()

  await wxlogin.request({ url: '/orders' })

  const { header } = service.last('GET /orders')
  assert.deepEqual(header, { 'content-type': 'application/json', sessionid: id, Cookie: `sessionid=${id}` })
})

for (const name of ['Cookie', 'cookie', 'COOKIE']) {
  test(`the id is added to a ${name} of the caller's own`, async () => {
    const { wxlogin, service, id } = await loggedInPhone()

    await wxlogin.request({ url: '/orders', header: { [name]: 'lang=zh_CN', 'X-Mine': '1' } })

    const { header } = service.last('GET /orders')
    const ours = { sessionid: id, Cookie: `lang=zh_CN; sessionid=${id}` }
    assert.deepEqual(header, { 'content-type': 'application/json', 'X-Mine': '1', ...ours })
  })
}

test('an empty Cookie of the caller\'s own adds nothing', async () => {
  const { wxlogin, service, id } = await loggedInPhone()

  await wxlogin.request({ url: '/orders', header: { Cookie: '' } })

  assert.equal(service.last('GET /orders').header.Cookie, `sessionid=${id}`)
})

for (const name of ['sessionid', 'SessionId', 'SESSIONID']) {
  test(`a ${name} header of the caller's own is replaced`, async () => {
    const { wxlogin, service, id } = await loggedInPhone()

    await wxlogin.request({ url: '/orders', header: { [name]: 'an old one' } })

    const { header } = service.last('GET /orders')
    assert.deepEqual(header, { 'content-type': 'application/json', sessionid: id, Cookie: `sessionid=${id}` })
  })
}

test('headers whose names only contain ours stay', async () => {
  const { wxlogin, service } = await loggedInPhone()

  const others = { 'X-Cookie': '1', 'Cookie-2': '2', 'X-sessionid': '3', 'sessionid-2': '4' }
  await wxlogin.request({ url: '/orders', header: others })

  const { header } = service.last('GET /orders')
  assert.deepEqual({ ...header, ...others }, header)
  assert.equal(Object.keys(header).length, 7)
})

// To whom.

const OURS = [
  `${BASE_URL}/orders`, 'HTTPS://LOGIN.EXAMPLE.COM/orders', 'https://api.example.com/orders',
  'https://API.example.com/orders?a=//b', 'http://192.168.1.2:8000/orders'
]

for (const url of OURS) {
  test(`${url} gets the session, being the service or one of the origins`, async () => {
    const { service, start } = await loggedInPhone()
    const wxlogin = start({ origins: ['https://api.example.com/v1/', 'http://192.168.1.2:8000'] })

    await wxlogin.request({ url })

    const { header, url: asked } = service.last('GET /orders')
    assert.equal(header.sessionid, service.newest)
    assert.equal(asked, url)
  })
}

const FOREIGN = [
  'https://evil.com/orders',
  'https://login.example.com@evil.com/',
  'https://login.example.com:x@evil.com/',
  'https://login.example.com.evil.com/',
  'https://evil.com/?https://login.example.com/',
  'https://evil.com/#https://login.example.com/',
  '//evil.com/x',
  '//login.example.com/x',
  'https:/login.example.com/',
  'https://login.example.com\\@evil.com/',
  'https://login.example.com\\.evil.com/',
  'https://login.example.com\n.evil.com/',
  'https://login.example.com:8443/',
  'https://login.example.com:443/',
  'http://login.example.com/',
  'wss://login.example.com/',
  ' https://login.example.com/',
  'xhttps://login.example.com/',
  'https://example.com/',
  'https://api.example.com/',
  'https://',
  'login.example.com/orders',
  'orders',
  '',
  undefined,
  null
]

for (const url of FOREIGN) {
  test(`${JSON.stringify(url)} gets no session, and nothing else`, async () => {
    const { wxlogin, service, weChat } = phone()

    const { code, message } = await failureOf(wxlogin.request({ url }))

    assert.equal(code, 'foreign_origin')
    assert.match(message, /origins/)
    assert.equal(service.received.length, 0)
    assert.equal(weChat.logins, 0)
  })
}

for (const name of ['uploadFile', 'downloadFile']) {
  test(`${name} sends nothing to other servers either`, async () => {
    const { wxlogin, service } = phone()

    const { code } = await failureOf(wxlogin[name]({ url: 'https://evil.com/', filePath: '1', name: 'file' }))

    assert.equal(code, 'foreign_origin')
    assert.equal(service.received.length, 0)
  })
}

test('an error names the server that gets no session, and not what is asked of it', async () => {
  const { wxlogin } = phone()

  const { message } = await failureOf(wxlogin.request({ url: 'https://evil.com/path?token=1' }))

  assert.match(message, /^https:\/\/evil\.com is not in origins/)
})

for (const baseUrl of [BASE_URL, `${BASE_URL}/`, `${BASE_URL}//`]) {
  test(`a path is one of the service's at ${baseUrl}`, async () => {
    const { service, start } = phone()

    await start({ baseUrl }).request({ url: '/orders?page=2' })

    assert.deepEqual(service.received.map(({ url }) => url), [`${BASE_URL}/login`, `${BASE_URL}/orders?page=2`])
  })
}

for (const baseUrl of [`${BASE_URL}/wx/v1`, `${BASE_URL}/wx/v1/`]) {
  test(`a path is one below the service's own at ${baseUrl}`, async () => {
    const { service, start } = phone({ path: '/wx/v1' })
    const wxlogin = start({ baseUrl })

    await wxlogin.request({ url: '/orders' })
    await wxlogin.session()
    await wxlogin.decrypt({ encryptedData: '', iv: '' })
    await wxlogin.logout()

    const paths = service.received.map(({ url }) => url.replace(`${BASE_URL}/wx/v1`, ''))
    assert.deepEqual(paths, ['/login', '/orders', '/session', '/user-data/decrypt', '/session'])
  })
}

test('a path with a backslash is one of the service\'s too', async () => {
  const { wxlogin, service } = phone()

  await wxlogin.request({ url: '/\\evil.com/' })

  assert.equal(service.received[1].url, `${BASE_URL}/\\evil.com/`)
})
