// request(), uploadFile() and downloadFile() are what wx has under these names, for who is logged in.

import assert from 'node:assert/strict'
import test from 'node:test'
import { error, failureOf, html, loggedInPhone, phone, time, times, unhandledDuring, unreachable } from './drivers.mjs'

const orders = (more) => ({ url: '/orders', ...more })

// As with wx.request.

test('a request is answered as wx.request answers it', async () => {
  const { wxlogin } = phone()

  const answer = await wxlogin.request(orders())

  assert.deepEqual(answer, {
    data: { route: 'GET /orders' },
    statusCode: 200,
    header: { 'Content-Type': 'application/json' },
    cookies: [],
    errMsg: 'request:ok'
  })
})

const REFUSALS = [
  error(400, 'bad'), error(403, 'no'), error(404, 'not_found'), error(429, 'rate_limited', { retryable: true }),
  error(500, 'internal_error'), error(503, 'store_unavailable', { retryable: true }), html(502)
]

for (const script of REFUSALS) {
  const { statusCode } = script()

  test(`${statusCode} is an answer, not a failure, and is not tried again`, async () => {
    const { wxlogin, service } = await loggedInPhone()
    service.script('GET /orders', script)

    const answer = await wxlogin.request(orders())

    assert.equal(answer.statusCode, statusCode)
    assert.equal(service.count('GET /orders'), 1)
  })
}

test('a request that is not answered fails with network_error', async () => {
  const { wxlogin, service } = await loggedInPhone()
  service.script('GET /orders', unreachable)

  const { code, message, errMsg, errno, retryable } = await failureOf(wxlogin.request(orders()))

  assert.deepEqual({ code, message, errMsg, errno, retryable }, {
    code: 'network_error',
    message: 'request:fail net::ERR_CONNECTION_REFUSED',
    errMsg: 'request:fail net::ERR_CONNECTION_REFUSED',
    errno: 600001,
    retryable: true
  })
  assert.equal(service.count('GET /orders'), 1)
})

for (const failure of [new Error('no network'), 'no network']) {
  test(`a failure that is ${typeof failure === 'string' ? 'a string' : 'an Error'} is told, too`, async () => {
    const adapt = (wx) => ({ ...wx, login: (options) => options.fail(failure) })
    const { wxlogin } = phone({ adapt })

    const { code, message } = await failureOf(wxlogin.request(orders()))

    assert.equal(code, 'wx_login_failed')
    assert.match(message, /no network$/)
  })
}

test('method, data and headers go through', async () => {
  const { wxlogin, service } = await loggedInPhone()

  const headers = { 'content-type': 'application/x-www-form-urlencoded', 'X-Mine': '1' }
  await wxlogin.request(orders({ method: 'POST', data: { a: 'b' }, header: headers }))

  const { body, header } = service.last('POST /orders')
  assert.equal(body, 'a=b')
  assert.equal(header['X-Mine'], '1')
})

test('all options go through to wx.request, but the callbacks', async () => {
  let seen
  const adapt = (wx) => ({ ...wx, request: (options) => { seen = options; return wx.request(options) } })
  const { wxlogin } = phone({ adapt })
  const given = { dataType: 'text', timeout: 1234, responseType: 'text', enableHttp2: true, enableChunked: true }

  const { data } = await wxlogin.request(orders({ ...given, success() {}, fail() {}, complete() {}, onTask() {} }))

  const { url, header, success, fail, complete, onTask, ...others } = seen
  assert.deepEqual(others, given)
  assert.equal(url, 'https://login.example.com/orders')
  assert.equal(typeof header.sessionid, 'string')
  assert.ok(success && fail)
  assert.deepEqual([complete, onTask], [undefined, undefined])
  assert.equal(data, '{"route":"GET /orders"}')
})

test('the caller\'s options stay as they are', async () => {
  const { wxlogin } = phone()
  const header = Object.freeze({ Cookie: 'a=b', sessionid: 'mine' })
  const options = Object.freeze(orders({ header, data: Object.freeze({ page: 1 }), success() {} }))
  const before = JSON.stringify(options)

  await wxlogin.request(options)

  assert.equal(JSON.stringify(options), before)
})

// Callbacks.

test('success gets the answer, then complete does, then the promise is resolved', async () => {
  const { wxlogin } = phone()
  const order = []
  const note = (name) => (answer) => { order.push([name, answer.statusCode]) }

  const callbacks = { success: note('success'), fail: note('fail'), complete: note('complete') }
  await wxlogin.request(orders(callbacks)).then(note('promise'))

  assert.deepEqual(order, [['success', 200], ['complete', 200], ['promise', 200]])
})

test('fail gets the error, then complete does, then the promise is rejected', async () => {
  const { wxlogin, service } = await loggedInPhone()
  service.script('GET /orders', unreachable)
  const order = []
  const note = (name) => ({ code }) => { order.push([name, code]) }

  const callbacks = { success: note('success'), fail: note('fail'), complete: note('complete') }
  await wxlogin.request(orders(callbacks)).catch(note('promise'))

  assert.deepEqual(order, [['fail', 'network_error'], ['complete', 'network_error'], ['promise', 'network_error']])
})

for (const name of ['success', 'fail', 'complete']) {
  test(`a failure is no unhandled rejection if there is ${name}`, async () => {
    const { wxlogin } = phone()

    const unhandled = await unhandledDuring(() => { wxlogin.request({ url: 'https://evil.com/', [name]() {} }) })

    assert.deepEqual(unhandled, [])
  })

  test(`a failure rejects the promise, too, if there is ${name}`, async () => {
    const { wxlogin } = phone()

    const { code } = await failureOf(wxlogin.request({ url: 'https://evil.com/', [name]() {} }))

    assert.equal(code, 'foreign_origin')
  })

  test(`each callback is called once, and others are not missed: ${name}`, async () => {
    const { wxlogin, service } = await loggedInPhone()
    service.script('GET /orders', ...(name === 'fail' ? [unreachable] : [error(401, 'session_expired')]))
    let calls = 0

    await wxlogin.request(orders({ [name]() { calls += 1 } })).catch(() => {})

    assert.equal(calls, 1)
  })
}

// Giving up.

test('a request that is given up before it is sent is not sent', async () => {
  const { wxlogin, service } = await loggedInPhone()
  const task = wxlogin.request(orders())

  task.abort()

  const { code, message } = await failureOf(task)
  assert.deepEqual({ code, message }, { code: 'network_error', message: 'request:fail abort' })
  assert.equal(service.count('GET /orders'), 0)
})

test('a request that is given up while it waits for a login fails at once, and is not sent', async () => {
  const { wxlogin, service } = phone()
  const held = service.hold('POST /login')
  const task = wxlogin.request(orders())
  const failure = failureOf(task)
  await held.ready

  task.abort()

  assert.equal((await failure).message, 'request:fail abort') // while the login goes on
  held.release()
  await wxlogin.login()
  assert.equal(service.count('GET /orders'), 0)
})

test('a request that is given up under way fails at once', async () => {
  const { wxlogin, service } = await loggedInPhone()
  const held = service.hold('GET /orders')
  const task = wxlogin.request(orders())
  await held.ready

  task.abort()

  const { code, message } = await failureOf(task)
  assert.deepEqual({ code, message }, { code: 'network_error', message: 'request:fail abort' })
  assert.equal(service.count('GET /orders'), 1)
})

test('a request that is given up while it logs in on a 401 is not repeated', async () => {
  const { wxlogin, service } = await loggedInPhone()
  service.endSessions()
  const held = service.hold('POST /login')
  const task = wxlogin.request(orders())
  await held.ready
  task.abort()
  held.release()

  const { message } = await failureOf(task)

  assert.equal(message, 'request:fail abort')
  assert.equal(service.count('GET /orders'), 1)
})

test('a request can be given up after it is answered', async () => {
  const { wxlogin } = phone()
  const task = wxlogin.request(orders())
  const answer = await task

  task.abort()

  assert.equal(await task, answer)
})

test('uploads say by their own name that they were given up', async () => {
  const { wxlogin } = await loggedInPhone()
  const task = wxlogin.uploadFile({ url: '/avatar', filePath: 'http://tmp/1.png', name: 'file' })

  task.abort()

  const { message } = await failureOf(task)
  assert.equal(message, 'uploadFile:fail abort')
})

test('onTask gets the task of each try', async () => {
  const tasks = []
  const { wxlogin, service } = await loggedInPhone({
    adapt: (wx) => ({ ...wx, request: (options) => Object.assign(wx.request(options), { url: options.url }) })
  })
  service.endSessions()

  await wxlogin.request(orders({ onTask: (task) => tasks.push(task) }))

  assert.deepEqual(tasks.map(({ url }) => url), times(2, () => 'https://login.example.com/orders'))
  assert.equal(typeof tasks[0].onHeadersReceived, 'function')
  assert.notEqual(tasks[0], tasks[1])
})

test('the task that onTask gets can be given up, too', async () => {
  const { wxlogin } = phone()

  const { message } = await failureOf(wxlogin.request(orders({ onTask: (task) => task.abort() })))

  assert.equal(message, 'request:fail abort')
})

// Files.

const FILE = { url: '/avatar', filePath: 'http://tmp/1.png', name: 'file' }
const UPLOAD = { ...FILE, formData: { a: 'b' }, header: { 'X-Mine': '1' } }

for (const [name, route] of [['uploadFile', 'POST /avatar'], ['downloadFile', 'GET /avatar']]) {
  test(`${name}() logs in first`, async () => {
    const { wxlogin, service, weChat } = phone()

    const { statusCode, errMsg } = await wxlogin[name](UPLOAD)

    assert.deepEqual({ statusCode, errMsg }, { statusCode: 200, errMsg: `${name}:ok` })
    assert.equal(weChat.logins, 1)
    assert.equal(service.last(route).header.sessionid, service.newest)
    assert.equal(service.last(route).header['X-Mine'], '1')
  })

  test(`${name}() logs in on a 401, and is repeated`, async () => {
    const { wxlogin, service, weChat } = await loggedInPhone()
    service.endSessions()

    const { statusCode } = await wxlogin[name](UPLOAD)

    assert.equal(statusCode, 200)
    assert.equal(weChat.logins, 2)
    assert.equal(service.count(route), 2)
  })

  test(`${name}() calls back`, async () => {
    const { wxlogin } = phone()

    const answer = await new Promise((success, fail) => { wxlogin[name]({ ...UPLOAD, success, fail }) })

    assert.equal(answer.statusCode, 200)
  })
}

test('an upload sends the file and its fields', async () => {
  const { wxlogin, service } = phone()

  const { data } = await wxlogin.uploadFile(UPLOAD)

  const { body } = service.last('POST /avatar')
  assert.match(body, /the content of http:\/\/tmp\/1\.png/)
  assert.match(body, /name="a"\r\n\r\nb/)
  assert.equal(data, '{"route":"POST /avatar"}')
})

test('a download says where the file is', async () => {
  const { wxlogin } = phone()

  const { filePath, tempFilePath } = await wxlogin.downloadFile({ url: '/avatar', filePath: 'wxfile://usr/1.png' })

  assert.equal(filePath, 'wxfile://usr/1.png')
  assert.match(tempFilePath, /avatar$/)
})

test('an upload\'s error is read from its text', async () => {
  const { wxlogin, service, weChat } = await loggedInPhone()
  service.script('POST /avatar', error(409, 'session_key_stale'))

  const { code, requestId } = await failureOf(wxlogin.uploadFile(UPLOAD))

  assert.deepEqual({ code, requestId }, { code: 'session_key_stale', requestId: 'request-1' })
  assert.equal(weChat.logins, 2)
})

test('an upload\'s 409 of another kind is an answer', async () => {
  const { wxlogin, service, weChat } = await loggedInPhone()
  service.script('POST /avatar', html(409))

  const { statusCode } = await wxlogin.uploadFile(UPLOAD)

  assert.equal(statusCode, 409)
  assert.equal(weChat.logins, 1)
})

test('a file may take as long as its caller says', async () => {
  const { wxlogin, service } = await loggedInPhone()
  service.hold('POST /avatar')

  const seconds = await time.secondsOf(failureOf(wxlogin.uploadFile({ ...UPLOAD, timeout: 60000 })))

  assert.equal(seconds, 60)
})
