/** Logs a mini-program's users in with wxlogin, and keeps them logged in. */
export function createWxLogin(options: WxLoginOptions): WxLogin;

export interface WxLoginOptions {
  /** Where the service is, `https://login.example.com`; its path is kept. */
  baseUrl: string;
  /** Which mini-program this is, for a service of several. */
  appid?: string;
  /** Other servers that get the session, `https://api.example.com`. No others do. */
  origins?: readonly string[];
  /** What to do things with, if not the global `wx`: `uni`, `Taro`, or something of your own. */
  wx?: Platform;
  /** Under which key the session is stored; `wxlogin:` and the address, if left out. */
  storageKey?: string;
  /** How many logins there may be in a minute, 6 if left out; more are an error (`too_many_logins`). */
  loginsPerMinute?: number;
  /** How long a login, or another request of the client's own, may take, in milliseconds: 8 s if left out. */
  timeout?: number;
}

export interface WxLogin {
  /**
   * Logs in anew. There is no need to: a request that needs a session makes one. Who calls it while a login is under
   * way gets that one's answer.
   */
  login(): Promise<LoginAnswer>;
  /** Logs out here: `DELETE /session`. Until the next `login()`, after a restart too, requests go without a session. */
  logout(): Promise<void>;
  /**
   * Logs out on all of the user's devices: `DELETE /sessions`. It takes a session, which says who the user is: without
   * one, it logs in first.
   */
  logoutEverywhere(): Promise<void>;
  /**
   * Makes sure that what WeChat encrypts from now on can be decrypted: logs in if there is no session, or if
   * `wx.checkSession` says that the `session_key` is over. For a page with a button that asks WeChat for data, in its
   * `onShow`: not after the data is there, when a login may make it unreadable.
   */
  ensureSessionKey(): Promise<void>;
  /**
   * `wx.request` as the user. A path is one of the service's address. Logs in first if there is no session, and once more on a
   * 401; then the answer is what it is, of any status. With callbacks, a promise, or both.
   */
  request<T = any>(options: RequestOptions<T>): Task<RequestAnswer<T>>;
  /** `wx.uploadFile` as the user. */
  uploadFile(options: UploadOptions): Task<UploadAnswer>;
  /** `wx.downloadFile` as the user. */
  downloadFile(options: DownloadOptions): Task<DownloadAnswer>;
  /** Tells about the session: `GET /session`. */
  session(): Promise<SessionAnswer>;
  /**
   * Has what WeChat encrypted about the user decrypted: `POST /user-data/decrypt`. If no key of the user's fits, it logs in and
   * fails with `session_key_stale`: get the data from WeChat again, then.
   */
  decrypt<T = Record<string, any>>(data: EncryptedData): Promise<T>;
  /** Exchanges what the `getPhoneNumber` button gave, `event.detail.code`: `POST /phone-number`. */
  phoneNumber(code: string): Promise<PhoneNumberAnswer>;
}

/** Raised if something did not work. */
export class WxLoginError extends Error {
  constructor(code: string, message: string, details?: object);
  /** The service's, see docs/errors.md, or one of the client's own. */
  readonly code: ClientErrorCode | (string & {});
  /** The same as `message`: where WeChat's own functions have it. */
  readonly errMsg: string;
  /** Whether the same may succeed later. */
  readonly retryable: boolean;
  /** After how many seconds, if that was said. */
  readonly retryAfter?: number;
  /** The answer's status, if there was an answer. */
  readonly statusCode?: number;
  /** What the service's log has, too. */
  readonly requestId?: string;
  /** WeChat's reason at the service, where WeChat said no. */
  readonly errcode?: number;
  /** WeChat's reason on the phone. */
  readonly errno?: number;
}

/** Returns what an answer says went wrong: for a `request` whose status is not the one that it should be. */
export function errorOf(answer: { statusCode: number; data?: unknown; header?: object }): WxLoginError;

export type ClientErrorCode =
  /** No answer came. */
  | 'network_error'
  /** `wx.login()` failed. */
  | 'wx_login_failed'
  /** There were too many logins in the last minute. */
  | 'too_many_logins'
  /** The answer to the login had no session id: the platform drops `Set-Cookie`. */
  | 'no_session_id'
  /** The address is not one that gets the session: see `origins`. */
  | 'foreign_origin'
  /** An error without a code: somebody else's, on the way. */
  | 'http_error';

export interface LoginAnswer {
  /** How many seconds the session can last at the most. */
  expires_in: number;
  /** Only where the service is told to expose it. */
  openid?: string;
}

export interface SessionAnswer {
  appid: string;
  /** Unix seconds. */
  created_at: number;
  expires_in: number;
  idle_expires_in: number;
  openid?: string;
}

export interface PhoneNumberAnswer {
  phoneNumber: string;
  purePhoneNumber: string;
  countryCode: string;
}

/** What `wx.getUserInfo()` and its like give. */
export interface EncryptedData {
  encryptedData: string;
  iv: string;
}

/** A promise that can be given up. */
export interface Task<T> extends Promise<T> {
  abort(): void;
}

interface Callbacks<T> {
  // Methods, so that callbacks that were written for wx.request's answers are taken, too.
  success?(answer: T): void;
  fail?(error: any): void;
  complete?(answerOrError: any): void;
  /** Is given WeChat's own task, of each try: for `onProgressUpdate` and the like. */
  onTask?(task: any): void;
}

/** What `wx.request` takes, `WechatMiniprogram.RequestOption`, and `onTask`. */
export interface RequestOptions<T = any> extends Callbacks<RequestAnswer<T>> {
  url: string;
  method?: 'OPTIONS' | 'GET' | 'HEAD' | 'POST' | 'PUT' | 'DELETE' | 'TRACE' | 'CONNECT';
  data?: string | object | ArrayBuffer;
  header?: object;
  timeout?: number;
  dataType?: string;
  responseType?: string;
  [more: string]: any;
}

export interface UploadOptions extends Callbacks<UploadAnswer> {
  url: string;
  filePath: string;
  name: string;
  formData?: object;
  header?: object;
  timeout?: number;
  [more: string]: any;
}

export interface DownloadOptions extends Callbacks<DownloadAnswer> {
  url: string;
  filePath?: string;
  header?: object;
  timeout?: number;
  [more: string]: any;
}

export interface RequestAnswer<T = any> {
  statusCode: number;
  data: T;
  header: Record<string, any>;
  cookies?: string[];
  errMsg: string;
}

export interface UploadAnswer {
  statusCode: number;
  data: string;
  errMsg: string;
}

export interface DownloadAnswer {
  statusCode: number;
  tempFilePath: string;
  filePath?: string;
  errMsg: string;
}

/** What the client calls of `wx`. A function may take callbacks, or return a promise, or both. */
export interface Platform {
  login(options: any): unknown;
  request(options: any): unknown;
  uploadFile?(options: any): unknown;
  downloadFile?(options: any): unknown;
  checkSession?(options: any): unknown;
  getStorage?(options: any): unknown;
  setStorage?(options: any): unknown;
}
