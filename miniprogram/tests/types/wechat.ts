// The client's types beside WeChat's: what a mini-program in TypeScript may write, and what it may not.

import {
  createWxLogin, WxLoginError, type ClientErrorCode, type DownloadAnswer, type DownloadOptions, type LoginAnswer,
  type PhoneNumberAnswer, type Platform, type RequestAnswer, type RequestOptions, type SessionAnswer, type Task,
  type UploadAnswer, type UploadOptions, type WxLogin, type WxLoginOptions
} from 'wxlogin-miniprogram'

interface Order { id: number }
const url = '/orders'

/** Fails to compile if both types are not the same. */
function same<One, Other>(..._are: (<T>() => T extends One ? 1 : 2) extends (<T>() => T extends Other ? 1 : 2) ? [] : ['differ']) {}

// Creating it.

const options: WxLoginOptions = {
  baseUrl: 'https://login.example.com',
  appid: 'wx4f4bc4dec97d474b',
  origins: ['https://api.example.com'] as const,
  wx,
  storageKey: 'session',
  loginsPerMinute: 3,
  timeout: 5000
}
const wxlogin: WxLogin = createWxLogin(options)
createWxLogin({ baseUrl: 'https://login.example.com' })
// @ts-expect-error: the address has to be there
createWxLogin({})
// @ts-expect-error: so have the options
createWxLogin()
// @ts-expect-error: there is no such option
createWxLogin({ baseUrl: 'https://login.example.com', baseURL: '' })
// @ts-expect-error: origins is a list
createWxLogin({ baseUrl: 'https://login.example.com', origins: 'https://api.example.com' })
// @ts-expect-error: that can't log in
createWxLogin({ baseUrl: 'https://login.example.com', wx: { request() {} } })

const platform: Platform = wx

// What it answers.

async function answers() {
  same<typeof wxlogin.login, () => Promise<LoginAnswer>>()
  same<typeof wxlogin.session, () => Promise<SessionAnswer>>()
  same<typeof wxlogin.phoneNumber, (code: string) => Promise<PhoneNumberAnswer>>()
  const left: number = (await wxlogin.login()).expires_in
  const openid: string | undefined = (await wxlogin.login()).openid
  // @ts-expect-error: it may not be there
  const surely: string = (await wxlogin.session()).openid
  const { appid, created_at, expires_in, idle_expires_in } = await wxlogin.session()
  const sum: number = created_at + expires_in + idle_expires_in
  const { phoneNumber, purePhoneNumber, countryCode } = await wxlogin.phoneNumber('code')
  const text: string = phoneNumber + purePhoneNumber + countryCode + appid
  const nothing: void[] = await Promise.all([wxlogin.logout(), wxlogin.logoutEverywhere(), wxlogin.ensureSessionKey()])
  // @ts-expect-error: it is a code
  wxlogin.phoneNumber({ code: 'code' })
  return [left, openid, surely, sum, text, nothing]
}

// Requests.

async function requests(given: WechatMiniprogram.RequestOption, typed: WechatMiniprogram.RequestOption<Order>) {
  const loose: RequestOptions = given
  const own: RequestOptions<Order> = typed
  const data: any = (await wxlogin.request({ url })).data
  const id: number = (await wxlogin.request<Order>({ url, method: 'POST', data: { a: 1 }, enableHttp2: true })).data.id
  const sameId: number = (await wxlogin.request(typed)).data.id
  // @ts-expect-error: an order has no name
  const name = (await wxlogin.request<Order>({ url })).data.name
  const { statusCode, header, cookies, errMsg } = await wxlogin.request(given)
  const contentType: string = header['Content-Type']
  wxlogin.request<Order>({ url, success: ({ data }) => data.id, fail: ({ errMsg }) => errMsg, complete() {}, onTask() {} })
  // @ts-expect-error: nor has it one in success
  wxlogin.request<Order>({ url, success: ({ data }) => data.name })
  // @ts-expect-error: the address has to be there
  wxlogin.request({ method: 'GET' })
  // @ts-expect-error: there is no such method
  wxlogin.request({ url, method: 'FETCH' })
  return [loose, own, data, id, sameId, name, statusCode, contentType, cookies, errMsg]
}

/** What was written for wx.request goes on working. */
function callbacks() {
  const success = (answer: WechatMiniprogram.RequestSuccessCallbackResult) => answer.statusCode
  const fail: WechatMiniprogram.RequestFailCallback = ({ errMsg }) => errMsg
  const complete: WechatMiniprogram.RequestCompleteCallback = ({ errMsg }) => errMsg
  wxlogin.request({ url, success, fail, complete, onTask: (task: WechatMiniprogram.RequestTask) => task.onHeadersReceived(() => {}) })
  const task: Task<RequestAnswer> = wxlogin.request({ url })
  task.abort()
  return task.then(({ statusCode }) => statusCode).catch(() => 0)
}

function theirs(answer: WechatMiniprogram.RequestSuccessCallbackResult<Order>, uploaded: WechatMiniprogram.UploadFileSuccessCallbackResult,
  downloaded: WechatMiniprogram.DownloadFileSuccessCallbackResult) {
  const answers: [RequestAnswer<Order>, UploadAnswer, DownloadAnswer] = [answer, uploaded, downloaded]
  return answers
}

async function files(upload: WechatMiniprogram.UploadFileOption, download: WechatMiniprogram.DownloadFileOption) {
  const given: [UploadOptions, DownloadOptions] = [upload, download]
  const { data }: UploadAnswer = await wxlogin.uploadFile({ url, filePath: 'wxfile://1.png', name: 'file', formData: { a: 1 } })
  const { tempFilePath }: DownloadAnswer = await wxlogin.downloadFile({ url })
  wxlogin.uploadFile({ ...upload, onTask: (task: WechatMiniprogram.UploadTask) => task.onProgressUpdate(({ progress }) => progress) })
  wxlogin.downloadFile({ ...download, success: ({ filePath }) => filePath }).abort()
  // @ts-expect-error: which file?
  wxlogin.uploadFile({ url })
  return [given, data, tempFilePath]
}

async function decryption(told: WechatMiniprogram.GetUserInfoSuccessCallbackResult, run: WechatMiniprogram.GetWeRunDataSuccessCallbackResult) {
  const anything = await wxlogin.decrypt(told)
  const { stepInfoList } = await wxlogin.decrypt<{ stepInfoList: { step: number }[] }>(run)
  // @ts-expect-error: it takes the iv as well
  wxlogin.decrypt({ encryptedData: '' })
  return [anything.nickName, stepInfoList[0].step]
}

// Errors.

async function errors(thrown: unknown) {
  if (!(thrown instanceof WxLoginError)) return thrown
  const error: Error = thrown
  const sum = (thrown.statusCode ?? 0) + (thrown.retryAfter ?? 0) + (thrown.errcode ?? 0) + (thrown.errno ?? 0)
  const text = thrown.code + thrown.errMsg + thrown.message + thrown.requestId
  const isLater: boolean = thrown.retryable
  const codes: ClientErrorCode[] = ['network_error', 'wx_login_failed', 'too_many_logins', 'no_session_id', 'foreign_origin', 'http_error']
  // @ts-expect-error: the service's own codes are not the client's
  const other: ClientErrorCode = 'code_used'
  // @ts-expect-error: it stays what it is
  thrown.code = 'other'
  // @ts-expect-error: it may not be there
  const status: number = thrown.statusCode
  return [error, sum, text, isLater, codes, other, status, thrown.code === 'code_used']
}

export { answers, requests, callbacks, theirs, files, decryption, errors, platform }
