// A phone in front of the real site: nginx, the service, Redis and a back end, with the sandbox in WeChat's place.
// tests/nginx/test_miniprogram.py starts all of it, and these tests; the environment says where they are.

import { randomInt } from 'node:crypto'
import { Agent, request } from 'node:https'
import { request as requestInClear } from 'node:http'
import { createRequire } from 'node:module'
import { createWx } from '../../../wxlogin/sandbox/simulator/wx.mjs'

export const { createWxLogin, WxLoginError } = createRequire(import.meta.url)('../../miniprogram_dist/index.js')
export const { SITE_URL, BODY_URL, SANDBOX_URL } = process.env

/**
 * Returns a phone with its `wx`, what it has sent, and who its user is. It has an address of its own: nginx limits each.
 *
 * `platform` is how it hands over cookies, one of wx.mjs's `SPELLINGS`; `openid` is that of a user of another phone.
 */
export function phone({ baseUrl = SITE_URL, platform = {}, openid } = {}) {
  const localAddress = `127.${randomInt(1, 255)}.${randomInt(255)}.${randomInt(1, 255)}`
  const sent = []
  const weChat = new WeChat(openid)
  const send = (message) => {
    sent.push(`${message.method} ${new URL(message.url).pathname}`)
    return exchange(message, localAddress)
  }
  const storage = new Storage()
  const wx = createWx({ send, weChat, storage, platform: () => platform })
  const start = () => createWxLogin({ baseUrl, wx })
  return { wx, sent, weChat, storage, start, wxlogin: start() }
}

/** Ends a session where its phone doesn't notice. */
export const endSession = (sessionid) => exchange({ url: `${SITE_URL}/session`, method: 'DELETE', header: { sessionid } })

/** What the service says to who has that session. */
export async function statusOf(sessionid) {
  return (await exchange({ url: `${SITE_URL}/session`, method: 'GET', header: { sessionid } })).statusCode
}

/** How often the sandbox was asked to exchange a code. */
export async function exchanges() {
  const calls = await sandbox('GET', '/calls')
  return calls.filter(({ path }) => path === '/sns/jscode2session').length
}

export async function sandbox(method, path, fields) {
  const message = { url: `${SANDBOX_URL}/_sandbox${path}`, method, header: {}, body: fields && JSON.stringify(fields) }
  return JSON.parse((await exchange(message)).body)
}

class WeChat {
  logins = 0

  constructor(openid) {
    this.openid = openid
  }

  async login() {
    this.logins += 1
    const { code, openid } = await sandbox('POST', '/codes', this.openid ? { openid: this.openid } : {})
    this.openid = openid
    return code
  }

  async checkSession() {}

  getUserInfo() {
    return sandbox('POST', '/user-data', { openid: this.openid, kind: 'user_info' })
  }

  async getPhoneNumber() {
    return (await sandbox('POST', '/phone-codes', { openid: this.openid })).code
  }
}

class Storage extends Map {
  getItem(key) {
    return this.has(key) ? this.get(key) : null
  }

  setItem(key, text) {
    this.set(key, text)
  }

  get sessionId() {
    return JSON.parse([...this.values()][0]).id
  }
}

/** Sends a message, and resolves to the answer with its headers as they came: in their case, each Set-Cookie by itself. */
function exchange({ url, method, header, body = '' }, localAddress) {
  const agent = new Agent({ rejectUnauthorized: false }) // the site's certificate is nobody's
  const [ask, more] = url.startsWith('https:') ? [request, { agent, localAddress }] : [requestInClear, {}]
  const headers = { ...header, 'content-length': Buffer.byteLength(body) }
  return new Promise((resolve, reject) => {
    const asked = ask(url, { method, headers, ...more }, (response) => read(response).then(resolve, reject))
    asked.on('error', ({ message }) => reject({ errMsg: message }))
    asked.end(body)
  })
}

async function read(response) {
  const chunks = await response.toArray()
  const raw = response.rawHeaders
  const headers = raw.flatMap((name, index) => index % 2 ? [] : [[name, raw[index + 1]]])
  return { statusCode: response.statusCode, headers, body: Buffer.concat(chunks).toString() }
}
