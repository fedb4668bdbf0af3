// The client's types without WeChat's, as who uses Taro or uni-app has them.

import { createWxLogin, WxLoginError, type Platform } from 'wxlogin-miniprogram'

// @ts-expect-error: WeChat's types are not here, so that this is what it says
type Theirs = WechatMiniprogram.Wx

/** Returns a promise, as Taro's functions do. */
interface Taro {
  login(options?: { timeout?: number }): Promise<{ code: string, errMsg: string }>
  request<T = any>(options: { url: string, method?: 'GET' | 'POST' }): Promise<{ data: T, statusCode: number }> & { abort?(): void }
  checkSession(): Promise<{ errMsg: string }>
  getStorage<T = any>(options: { key: string }): Promise<{ data: T }>
}

/** Takes callbacks, as uni's functions do. */
interface Uni {
  login(options?: { provider?: 'weixin', success?: (result: { code: string }) => void, fail?: (result: any) => void }): void
  request(options: { url: string, success?: (result: { statusCode: number }) => void }): { abort(): void }
  uploadFile(options: { url: string, filePath?: string, files?: object[] }): { abort(): void }
  setStorage<T = any>(options: { key: string, data: T }): void
}

declare const taro: Taro
declare const uni: Uni
const platforms: Platform[] = [taro, uni]

const wxlogin = createWxLogin({ baseUrl: 'https://login.example.com', wx: taro })
createWxLogin({ baseUrl: 'https://login.example.com', wx: uni })
// @ts-expect-error: that is no platform
createWxLogin({ baseUrl: 'https://login.example.com', wx: 'uni' })

async function orders() {
  const { data, statusCode } = await wxlogin.request<{ id: number }[]>({ url: '/orders', method: 'GET' })
  const status: number = statusCode
  const ids: number[] = data.map(({ id }) => id)
  // @ts-expect-error: there is no such method
  wxlogin.request({ url: '/orders', method: 'get' })
  return [status, ids]
}

async function logIn() {
  try {
    return (await wxlogin.login()).expires_in
  } catch (error) {
    return error instanceof WxLoginError ? error.retryAfter : undefined
  }
}

export { orders, logIn, platforms }
export type { Theirs }
