/**
 * The mini-program in examples/miniprogram, on an imitation of wx, of the service and of the sandbox.
 */
import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import Module, { createRequire } from 'node:module'
import { dirname, join, relative, resolve } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

import { createWx } from '../../wxlogin/sandbox/simulator/wx.mjs'

const CLIENT = fileURLToPath(new URL('..', import.meta.url))
const PROJECT = fileURLToPath(new URL('../../examples/miniprogram/', import.meta.url))
const REFUSED = { detail: { errMsg: 'getPhoneNumber:fail user deny' } }
const CHINESE = /[\u4e00-\u9fff]/
const SESSION_SECONDS = 2592000
const IDLE_SECONDS = 604800

const require = createRequire(import.meta.url)
const config = require(join(PROJECT, 'config.js'))
mapPackage('wxlogin-miniprogram', CLIENT) // as an npm install in the example would

// At the start.

test('the start logs in, and shows whose session it is, since when and until when', async (t) => {
  const now = Date.UTC(2026, 6, 5, 4, 3, 21)
  t.mock.method(Date, 'now', () => now)
  const world = new World()

  const page = await start(world)

  assert.deepEqual(page.data.session.map(({ value }) => value), [
    world.appid, minute(now), minute(now + SESSION_SECONDS * 1000), minute(now + IDLE_SECONDS * 1000)
  ])
  assert.equal(page.data.message, null)
})

test('the next start goes on with the same session', async () => {
  const world = new World()
  await start(world)

  await start(world)

  assert.equal(world.count('POST /login'), 1)
})

test('the next start is the same user, even without a session', async () => {
  const world = new World()
  await start(world)
  world.endSessions()

  await start(world)

  assert.deepEqual([world.count('POST /login'), world.users.size], [2, 1])
})

test('a start without the service says so, and the button logs in later', async () => {
  const world = new World()
  world.always('POST /login', refuse(500, 'internal_error'))
  const page = await start(world)
  assert.deepEqual([page.data.session, page.data.message.title], [null, 'internal_error'])

  world.restore('POST /login')
  await page.logIn()

  assert.ok(page.data.session)
  assert.equal(page.data.message, null)
})

test('an account of your own asks WeChat, and never the sandbox', async () => {
  const world = new World()

  const page = await start(world, { sandboxUrl: '' })
  await page.decryptUserInfo()

  assert.equal(page.data.isSandbox, false)
  assert.ok(page.data.session)
  assert.match(page.data.message.text, new RegExp(world.nickName))
  assert.deepEqual(world.calls.filter(({ url }) => url.startsWith(config.sandboxUrl)), [])
})

// The buttons.

test('who am I shows the session there is now', async () => {
  const world = new World()
  const page = await start(world)
  world.appid = 'wx00000000000000aa'

  await page.whoAmI()

  assert.equal(page.data.session[0].value, world.appid)
  assert.equal(page.data.message.isError, undefined)
})

for (const status of [200, 404, 418, 502]) {
  test(`the protected call shows the ${status} it got`, async () => {
    const world = new World()
    const page = await start(world)
    world.always('GET /api/', { statusCode: status, body: {} })

    await page.callBackEnd()

    assert.equal(page.data.message.title, `HTTP ${status}`)
    assert.equal(page.data.message.isError, status >= 400)
    assert.match(page.data.message.text, CHINESE)
  })
}

test('the protected call shows the code of an error', async () => {
  const world = new World()
  const page = await start(world)
  world.always('GET /api/', refuse(403, 'wrong_app'))

  await page.callBackEnd()

  assert.equal(page.data.message.title, 'HTTP 403 wrong_app')
})

test('user data is decrypted', async () => {
  const world = new World()
  const page = await start(world)

  await page.decryptUserInfo()

  assert.match(page.data.message.text, new RegExp(world.nickName))
})

test('user data is asked for when there is a session_key to encrypt it with', async () => {
  const world = new World()
  const page = await start(world)
  world.forgetUsers()

  await page.decryptUserInfo()

  assert.match(page.data.message.text, new RegExp(world.nickName))
  assert.equal(world.count('POST /user-data/decrypt'), 1)
})

test('user data that a login in between made unreadable is fetched and sent once more', async () => {
  const world = new World()
  const page = await start(world)
  world.endSessions()

  await page.decryptUserInfo()

  const sent = world.sent('POST /user-data/decrypt').map(({ encryptedData }) => encryptedData)
  assert.match(page.data.message.text, new RegExp(world.nickName))
  assert.notEqual(sent[sent.length - 1], sent[0])
})

test('user data that stays unreadable is given up after the second try', async () => {
  const world = new World()
  const page = await start(world)
  world.always('POST /user-data/decrypt', refuse(409, 'session_key_stale'))

  await page.decryptUserInfo()

  assert.equal(page.data.message.title, 'session_key_stale')
  assert.equal(world.count('POST /user-data/decrypt'), 2)
})

test('another error of the decryption is not tried again', async () => {
  const world = new World()
  const page = await start(world)
  world.always('POST /user-data/decrypt', refuse(400, 'invalid_request'))

  await page.decryptUserInfo()

  assert.equal(page.data.message.title, 'invalid_request')
  assert.equal(world.count('POST /user-data/decrypt'), 1)
})

test('the sandbox gives the phone number of this user', async () => {
  const world = new World()
  const page = await start(world)

  await page.takeSandboxPhoneNumber()

  assert.match(page.data.message.text, new RegExp(`86 ${world.phoneNumber}$`))
  assert.deepEqual(world.sent('POST /_sandbox/phone-codes'), [{ openid: [...world.users.keys()][0] }])
})

test("WeChat's button gives a phone number for its code", async () => {
  const world = new World()
  const page = await start(world, { sandboxUrl: '' })
  const code = world.newPhoneCode()

  await page.takePhoneNumber({ detail: { code } })

  assert.match(page.data.message.text, new RegExp(`86 ${world.phoneNumber}$`))
})

test('a user who refuses to give a phone number is told so, and the service is not asked', async () => {
  const world = new World()
  const page = await start(world)

  await page.takePhoneNumber(REFUSED)

  assert.equal(page.data.message.title, REFUSED.detail.errMsg)
  assert.match(page.data.message.text, CHINESE)
  assert.equal(world.count('POST /phone-number'), 0)
})

for (const [method, route] of [['logOut', 'DELETE /session'], ['logOutEverywhere', 'DELETE /sessions']]) {
  test(`${method} ends what it says, and shows that nobody is logged in`, async () => {
    const world = new World()
    const page = await start(world)

    await page[method]()

    assert.equal(page.data.session, null)
    assert.equal(page.data.message.isError, undefined)
    assert.equal(world.count(route), 1)
  })

  test(`${method} that did not work leaves the session in sight`, async () => {
    const world = new World()
    const page = await start(world)
    world.always(route, refuse(500, 'internal_error'))

    await page[method]()

    assert.ok(page.data.session)
    assert.equal(page.data.message.title, 'internal_error')
  })
}

test('who has logged out logs in with the button', async () => {
  const world = new World()
  const page = await start(world)
  await page.logOut()

  await page.logIn()

  assert.ok(page.data.session)
  assert.equal(world.count('POST /login'), 2)
})

test('a second tap does nothing while the first is under way', async () => {
  const world = new World()
  const page = await start(world)
  const before = world.calls.length
  const letThrough = world.hold()

  const taps = [page.whoAmI(), page.whoAmI(), page.logOut()]
  assert.equal(page.data.busy, 'whoAmI')
  letThrough()
  await Promise.all(taps)

  assert.equal(world.calls.length, before + 1)
})

test('after an error the buttons work again', async () => {
  const world = new World()
  const page = await start(world)
  world.always('GET /session', refuse(500, 'internal_error'))
  await page.whoAmI()
  world.restore('GET /session')

  await page.whoAmI()

  assert.equal(page.data.busy, '')
  assert.equal(page.data.message.isError, undefined)
})

// What it says of errors.

test('a network that is away is told with its code and a sentence', async (t) => {
  const world = new World()
  const page = await start(world)
  hurry(t)
  world.always('GET /api/', () => { throw new Error('connect ECONNREFUSED') })

  await page.callBackEnd()

  assert.equal(page.data.message.title, 'network_error')
  assert.match(page.data.message.text, CHINESE)
})

test('a sandbox that is away is told as a failure of wx.login()', async (t) => {
  const world = new World()
  hurry(t)
  world.always('POST /_sandbox/codes', () => { throw new Error('connect ECONNREFUSED') })

  const page = await start(world)

  assert.equal(page.data.message.title, 'wx_login_failed')
})

test('what the sandbox refuses is told in its words', async () => {
  const world = new World()
  const page = await start(world)
  const error = refuse(400, 'invalid_request', { message: 'the body has to be JSON' })
  world.always('POST /_sandbox/phone-codes', error)

  await page.takeSandboxPhoneNumber()

  assert.match(page.data.message.title, new RegExp(error.body.error.message))
})

test('who has to wait is told how long', async () => {
  const world = new World()
  const page = await start(world)
  const seconds = 4711
  world.always('POST /phone-number', refuse(429, 'rate_limited', { retryable: true }, [['Retry-After', `${seconds}`]]))

  await page.takeSandboxPhoneNumber()

  assert.match(page.data.message.text, new RegExp(`${seconds} 秒`))
})

test('each error of the client has a sentence of its own', () => {
  const words = require(join(PROJECT, 'pages/index/words.js'))
  const types = readFileSync(join(CLIENT, 'miniprogram_dist/wxlogin.d.ts'), 'utf8')
  const [, union] = /type ClientErrorCode =([^;]+);/.exec(types)
  const codes = [...union.matchAll(/'(\w+)'/g)].map(([, code]) => code).filter((code) => !IN_GENERAL.includes(code))

  const sentences = codes.map((code) => words.ofError({ code }).text)

  assert.ok(codes.length > 2)
  assert.equal(new Set([...sentences, words.ofError({ code: 'another' }).text]).size, codes.length + 1)
})
const IN_GENERAL = ['http_error', 'foreign_origin'] // the first says nothing, the second is a mistake in the code

test('an error without a sentence says whether to try again', () => {
  const words = require(join(PROJECT, 'pages/index/words.js'))

  const [later, never] = [true, false].map((retryable) => words.ofError({ code: 'new', retryable }).text)

  assert.notEqual(later, never)
})

test('a mistake in the code is shown, not hidden', () => {
  const words = require(join(PROJECT, 'pages/index/words.js'))
  const mistake = new TypeError('x is not a function')

  assert.match(words.ofError(mistake).title, new RegExp(mistake.message))
})

test('no openid, session id or session_key is shown or logged', async (t) => {
  const logged = ['log', 'info', 'warn', 'error', 'debug'].map((name) => t.mock.method(console, name, () => {}))
  const world = new World({ exposesOpenid: true })
  const page = await start(world)

  for (const tap of ['whoAmI', 'callBackEnd', 'decryptUserInfo', 'takeSandboxPhoneNumber']) await page[tap]()
  await page.logOutEverywhere()

  const shown = JSON.stringify(page.shown)
  assert.ok(world.secrets.length > 2)
  assert.deepEqual(world.secrets.filter((secret) => shown.includes(secret)), [])
  assert.deepEqual(logged.map(({ mock }) => mock.calls.length), [0, 0, 0, 0, 0])
})

// The project as such.

test('every page has its four files', () => {
  const missing = readJson('app.json').pages
    .flatMap((page) => ['js', 'json', 'wxml', 'wxss'].map((ending) => `${page}.${ending}`))
    .filter((file) => !existsSync(join(PROJECT, file)))

  assert.deepEqual(missing, [])
})

test('all JSON can be read', () => {
  const names = filesOf('json')

  names.forEach(readJson)

  assert.ok(names.includes('project.config.json'))
})

test('what the settings name is there', () => {
  const { setting, miniprogramRoot } = readJson('project.config.json')
  const [{ packageJsonPath, miniprogramNpmDistDir }] = setting.packNpmRelationList

  for (const named of [miniprogramRoot, packageJsonPath, miniprogramNpmDistDir, readJson('app.json').sitemapLocation]) {
    assert.ok(existsSync(join(PROJECT, named)), named)
  }
})

test('what the code requires is there, or a dependency', () => {
  const { dependencies } = readJson('package.json')
  const missing = filesOf('js')
    .flatMap((name) => [...read(name).matchAll(/require\('([^']+)'\)/g)].map(([, named]) => ({ name, named })))
    .filter(({ name, named }) => !(named in dependencies) && !existsSync(resolve(PROJECT, dirname(name), named)))

  assert.deepEqual(missing, [])
})

test('the dependency is the client that is tested here', () => {
  for (const [name, version] of Object.entries(readJson('package.json').dependencies)) {
    const folder = resolve(PROJECT, version.replace(/^file:/, ''))
    assert.equal(folder, resolve(CLIENT))
    assert.equal(JSON.parse(readFileSync(join(folder, 'package.json'))).name, name)
  }
})

for (const name of filesOf('wxml')) {
  test(`the tags of ${name} are closed in order`, () => {
    const open = []
    for (const { isEnd, tag, isAlone } of tagsOf(name)) {
      if (isEnd) assert.equal(open.pop(), tag)
      else if (!isAlone) open.push(tag)
    }

    assert.deepEqual(open, [])
  })

  test(`what ${name} binds is a method of the page`, () => {
    const page = load(new World()).pages[name.replace(/\.wxml$/, '')]
    const bound = tagsOf(name).flatMap(({ attributes }) =>
      Object.entries(attributes).filter(([key]) => /^(bind|catch)/.test(key)).map(([, handler]) => handler))

    assert.ok(bound.length > 0)
    assert.deepEqual(bound.filter((handler) => typeof page[handler] !== 'function'), [])
  })

  test(`what ${name} shows is in the page's data`, () => {
    const { data } = load(new World()).pages[name.replace(/\.wxml$/, '')]
    const names = [...read(name).matchAll(/\{\{(.+?)\}\}/g)].flatMap(([, expression]) => namesIn(expression))

    assert.ok(names.length > 0)
    assert.deepEqual(names.filter((each) => !(each in data) && each !== 'item'), [])
  })

  test(`every button of ${name} rests while something is under way`, () => {
    const buttons = tagsOf(name).filter(({ tag, isEnd }) => tag === 'button' && !isEnd)

    assert.ok(buttons.length > 0)
    assert.deepEqual(buttons.filter(({ attributes }) => attributes.disabled !== '{{!!busy}}'), [])
  })
}

test('there is an app, and its start alone asks for nothing', async () => {
  const world = new World()

  const { app } = load(world)
  await new Promise(setImmediate)

  assert.ok(app)
  assert.deepEqual(world.calls, [])
})

// Running it.

/** Starts the mini-program and returns its first page, loaded. */
async function start(world, changes) {
  const { pages, first } = load(world, changes)
  const page = instance(pages[first])
  await page.onLoad()
  return page
}

/** Loads the project anew, as a start of the mini-program does; what is stored stays. */
function load(world, changes = {}) {
  const loaded = { pages: {} }
  const { pages } = readJson('app.json')
  Object.keys(require.cache).filter((file) => file.startsWith(PROJECT)).forEach((file) => delete require.cache[file])
  globalThis.wx = world.wx
  globalThis.getApp = () => loaded.app
  globalThis.App = (app) => { loaded.app = app }
  Object.assign(require(join(PROJECT, 'config.js')), changes)
  require(join(PROJECT, 'app.js'))
  for (const name of pages) {
    globalThis.Page = (page) => { loaded.pages[name] = page }
    require(join(PROJECT, `${name}.js`))
  }
  return { ...loaded, first: pages[0] }
}

/** Makes of a definition what WeChat does. `shown` is all that was ever given to the view. */
function instance(definition) {
  const page = { ...definition, data: plain(definition.data), shown: [] }
  page.setData = (changes) => {
    Object.assign(page.data, plain(changes))
    page.shown.push(plain(page.data))
  }
  return page
}

/** Data goes to the view as JSON: what gets lost on the way is a mistake. */
function plain(data) {
  const arrived = JSON.parse(JSON.stringify(data))
  assert.deepEqual(arrived, data)
  return arrived
}

function mapPackage(name, folder) {
  const resolveFilename = Module._resolveFilename
  Module._resolveFilename = (asked, ...rest) => resolveFilename(asked === name ? folder : asked, ...rest)
}

/** Has what would take a second take ten milliseconds. */
function hurry(t) {
  const { setTimeout } = globalThis
  t.mock.method(globalThis, 'setTimeout', (work, ms, ...rest) => setTimeout(work, ms / 100, ...rest))
}

/** Writes a time as the page does, by other means. */
function minute(ms) {
  return new Date(ms).toLocaleString('sv-SE').slice(0, 16)
}

// Reading it.

function read(name) {
  return readFileSync(join(PROJECT, name), 'utf8')
}

function readJson(name) {
  return JSON.parse(read(name))
}

function filesOf(ending, folder = PROJECT) {
  return readdirSync(folder, { withFileTypes: true })
    .filter(({ name }) => !['node_modules', 'miniprogram_npm'].includes(name))
    .flatMap((entry) => entry.isDirectory() ? filesOf(ending, join(folder, entry.name)) : join(folder, entry.name))
    .filter((file) => file.endsWith(`.${ending}`))
    .map((file) => relative(PROJECT, resolve(PROJECT, file)))
}

function tagsOf(name) {
  const tags = read(name).replace(/<!--[^]*?-->/g, '').matchAll(/<(\/?)([\w-]+)((?:"[^"]*"|[^">])*?)(\/?)>/g)
  return [...tags].map(([, slash, tag, attributes, end]) => ({
    tag,
    isEnd: slash === '/',
    isAlone: end === '/',
    attributes: attributesIn(attributes)
  }))
}

function attributesIn(text) {
  return Object.fromEntries([...text.matchAll(/([\w:-]+)="([^"]*)"/g)].map(([, key, value]) => [key, value]))
}

/** Returns the names in an expression that stand for data: no strings, and nothing behind a dot. */
function namesIn(expression) {
  return expression.replace(/'[^']*'/g, '').match(/(?<![.\w])[a-z]\w*/gi) || []
}

// What there is around it.

/**
 * WeChat, the sandbox that imitates it, and the service, as docs/api.md has it: a network for wx.
 * `calls` are what was asked for, `secrets` what may never be shown.
 */
class World {
  constructor({ exposesOpenid = false } = {}) {
    this.appid = readJson('project.config.json').appid
    this.nickName = 'Tang Wei'
    this.phoneNumber = '13900001111'
    this.exposesOpenid = exposesOpenid
    this.users = new Map() // openid → session_key
    this.codes = new Map() // code → openid
    this.sessions = new Map() // id → {openid, session_key, created_at}
    this.calls = []
    this.secrets = []
    this.replaced = new Map()
    this.passable = Promise.resolve()
    this.wx = createWx({
      send: (message) => this.answer(message),
      weChat: {
        login: async () => this.newCode().code,
        checkSession: async () => {},
        getUserInfo: async () => this.userData([...this.users.keys()][0])
      },
      storage: createStorage(),
      delay: () => this.passable
    })
  }

  // For tests.

  count(route) {
    return this.sent(route).length
  }

  sent(route) {
    return this.calls.filter((call) => call.route === route).map(({ data }) => data)
  }

  /** Has a route answer this, whatever is asked; a function does it. */
  always(route, reply) {
    this.replaced.set(route, typeof reply === 'function' ? reply : () => reply)
  }

  restore(route) {
    this.replaced.delete(route)
  }

  /** Holds all messages back until the function that it returns is called. */
  hold() {
    let letThrough
    this.passable = new Promise((done) => { letThrough = done })
    return letThrough
  }

  endSessions() {
    this.sessions.clear()
  }

  forgetUsers() {
    this.users.clear()
  }

  // WeChat.

  newSecret(kind) {
    const secret = `${kind}-${this.secrets.length}-of-nobody-else`
    this.secrets.push(secret)
    return secret
  }

  newCode(openid = this.newSecret('openid')) {
    const code = this.newSecret('code')
    this.users.set(openid, this.newSecret('key'))
    this.codes.set(code, openid)
    return { code, openid }
  }

  newPhoneCode() {
    return this.newSecret('phone')
  }

  userData(openid) {
    return { encryptedData: `under ${this.users.get(openid)}`, iv: 'iv', rawData: '{}', signature: 'signature' }
  }

  // The network.

  answer({ method, url, header, body }) {
    const { pathname } = new URL(url)
    const route = `${method} ${pathname}`
    const data = body && JSON.parse(body)
    this.calls.push({ route, url, data })
    const reply = this.replaced.get(route) || ROUTES[route]
    const { statusCode = 200, headers = [], body: answer } = reply({ world: this, data, ...this.caller(header) })
    return { statusCode, headers, body: answer === undefined ? '' : JSON.stringify(answer) }
  }

  caller({ sessionid: id }) {
    return { id, session: this.sessions.get(id) }
  }
}

const ROUTES = {
  'POST /_sandbox/codes': ({ world, data }) => ({ body: world.newCode(data.openid) }),
  'POST /_sandbox/phone-codes': ({ world }) => ({ body: { code: world.newPhoneCode() } }),
  'POST /_sandbox/user-data': ({ world, data: { openid } }) =>
    world.users.has(openid) ? { body: world.userData(openid) } : refuse(400, 'invalid_request'),

  'POST /login': ({ world, data: { code } }) => {
    const openid = world.codes.get(code)
    if (!openid) return refuse(400, 'invalid_code', { errcode: 40029 })
    const id = world.newSecret('session')
    const createdAt = Math.floor(Date.now() / 1000)
    world.codes.delete(code)
    world.sessions.set(id, { openid, session_key: world.users.get(openid), created_at: createdAt })
    const cookie = `sessionid=${id}; Max-Age=${SESSION_SECONDS}; Secure; HttpOnly; Path=/; SameSite=Lax`
    return { headers: [['Set-Cookie', cookie]], body: { expires_in: SESSION_SECONDS, ...exposed(world, openid) } }
  },
  'GET /session': loggedIn(({ world, session: { openid, created_at: createdAt } }) => ({
    body: {
      appid: world.appid,
      created_at: createdAt,
      expires_in: SESSION_SECONDS,
      idle_expires_in: IDLE_SECONDS,
      ...exposed(world, openid)
    }
  })),
  'DELETE /session': ({ world, id }) => {
    world.sessions.delete(id)
    return { statusCode: 204 }
  },
  'DELETE /sessions': loggedIn(({ world }) => {
    world.endSessions()
    return { statusCode: 204 }
  }),
  'POST /user-data/decrypt': loggedIn(({ world, session, data: { encryptedData } }) =>
    encryptedData === `under ${session.session_key}`
      ? { body: { nickName: world.nickName, ...exposed(world, session.openid, 'openId') } }
      : refuse(409, 'session_key_stale')),
  'POST /phone-number': loggedIn(({ world, data: { code } }) =>
    code.startsWith('phone')
      ? { body: { phoneNumber: world.phoneNumber, purePhoneNumber: world.phoneNumber, countryCode: '86' } }
      : refuse(400, 'invalid_code')),
  'GET /api/': loggedIn(({ world, session: { openid } }) => ({ body: { appid: world.appid, openid, unionid: null } }))
}

function loggedIn(reply) {
  return (call) => call.session ? reply(call) : refuse(401, 'not_logged_in')
}

function exposed(world, openid, name = 'openid') {
  return world.exposesOpenid ? { [name]: openid } : {}
}

function refuse(statusCode, code, details = {}, headers = []) {
  const error = { code, message: code, request_id: '4d6ae01f', retryable: false, ...details }
  return { statusCode, headers, body: { error } }
}

function createStorage() {
  const kept = new Map()
  return {
    getItem: (key) => kept.has(key) ? kept.get(key) : null,
    setItem: (key, value) => { kept.set(key, value) }
  }
}
