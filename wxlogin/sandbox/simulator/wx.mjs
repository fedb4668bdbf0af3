// An imitation of `wx`, as far as logging in needs it: for the simulator's page, and for the tests of the client.
// https://developers.weixin.qq.com/miniprogram/dev/api/: functions take callbacks, or return a promise if there are none;
// requests return a task, and any HTTP status is a success.

const MOST_REQUESTS = 10; // at once; more wait, as they do in WeChat
const REQUEST_TIMEOUT_MS = 60000;

/**
 * How platforms hand a mini-program the `Set-Cookie` of an answer. `name` is what the header is called, null if it is
 * dropped; `form` is what its value is; `separator` joins several cookies, of which `others` stand before and after ours;
 * `withCookies` says whether the answer has `cookies` beside `header`.
 */
export const SPELLINGS = {
  "Set-Cookie": {},
  "set-cookie, as over HTTP/2": { name: "set-cookie" },
  "SET-COOKIE": { name: "SET-COOKIE" },
  "no cookies beside the header, as on some Android phones": { withCookies: false },
  "cookies, and no header": { name: null },
  "an array, as iOS gives uploads": { form: "array", withCookies: false },
  "an array in lower case": { name: "set-cookie", form: "array", withCookies: false },
  "joined by commas, and apart in cookies": { others: true },
  "joined by commas, one of them in a date": { separator: ",", others: true, withCookies: false },
  "joined by commas in lower case": { name: "set-cookie", separator: ",", others: true, withCookies: false },
  "joined by commas and spaces": { separator: ", ", others: true, withCookies: false },
  "joined by semicolons without a space, as QQ on Android does": { separator: ";", others: true, withCookies: false },
  "joined by commas in cookies": { name: null, form: "joined in cookies", separator: ",", others: true },
  "several in cookies, and no header": { name: null, others: true },
  "several cookies in an array": { form: "array", others: true, withCookies: false },
  "several cookies in an array in lower case": { name: "set-cookie", form: "array", others: true, withCookies: false },
};
export const LOST = { name: null, withCookies: false };
const USUAL = { name: "Set-Cookie", form: "string", separator: ",", others: false, withCookies: true };

const OTHERS = ["lang=zh_CN; Expires=Wed, 21 Oct 2026 07:28:00 GMT; Path=/", "xsessionid=not-this-one; Path=/; HttpOnly"];

/** Return `{header, cookies}` as a platform hands over the headers of an answer, `[[name, value], ...]`. */
export function handOver(headers, spelling) {
  const { name, form, separator, others, withCookies } = { ...USUAL, ...spelling };
  const isCookie = ([each]) => each.toLowerCase() === "set-cookie";
  const header = Object.fromEntries(headers.filter((each) => !isCookie(each)));
  const ours = headers.filter(isCookie).map(([, value]) => value);
  const all = others && ours.length ? [OTHERS[0], ...ours, OTHERS[1]] : ours;
  const joined = all.join(separator);
  if (name && all.length) header[name] = form === "array" ? all : joined;
  if (!withCookies) return { header };
  return { header, cookies: form === "joined in cookies" ? [joined] : all };
}

/**
 * Return a `wx`.
 *
 * `send({method, url, header, body})` is the network: it resolves to `{statusCode, headers, body}`, or rejects with an
 * `Error` or what `fail` gets. `weChat` is the app around the mini-program: `login()` resolves to a code,
 * `checkSession()` resolves or rejects, `getUserInfo()` resolves to what it gives. `storage` is like a browser's.
 * `platform()` returns which of the `SPELLINGS` is in force, `delay()` resolves when the network lets a message through.
 */
export function createWx({ send, weChat, storage, platform = () => ({}), delay = () => Promise.resolve() }) {
  const queue = new Queue(MOST_REQUESTS);

  const simple = {
    login: async () => ({ code: await weChat.login() }),
    checkSession: async () => { await weChat.checkSession(); },
    getUserInfo: async () => weChat.getUserInfo(),
    getStorage: async ({ key }) => ({ data: read(storage, key) }),
    setStorage: async ({ key, data }) => { storage.setItem(key, JSON.stringify(data)); },
  };

  async function exchange(message) {
    await delay();
    const answer = await send(message);
    await delay();
    return { statusCode: answer.statusCode, body: answer.body, ...handOver(answer.headers, platform()) };
  }

  async function request({ url, method = "GET", data, header, dataType = "json" }) {
    const message = encode({ url, method: method.toUpperCase(), data, header: withoutReferer(header) });
    const { body, ...answer } = await exchange(message);
    return { data: dataType === "json" ? parsed(body) : body, ...answer };
  }

  async function uploadFile({ url, filePath, name, formData, header }) {
    const content = multipart({ filePath, name, formData, header: withoutReferer(header) });
    const { body, ...answer } = await exchange({ url, method: "POST", ...content });
    return { data: body, ...answer };
  }

  async function downloadFile({ url, header, filePath }) {
    const answer = await exchange({ url, method: "GET", header: withoutReferer(header) });
    delete answer.body;
    return { tempFilePath: `http://tmp/${encodeURIComponent(url)}`, filePath, ...answer };
  }

  return {
    ...Object.fromEntries(Object.entries(simple).map(([name, work]) => [name, withCallbacks(name, work)])),
    request: asTask("request", queue, request),
    uploadFile: asTask("uploadFile", queue, uploadFile),
    downloadFile: asTask("downloadFile", queue, downloadFile),
  };
}

/** Lets so many work at once; the others wait for their turn. */
class Queue {
  constructor(most) {
    this.free = most;
    this.waiting = [];
  }

  async run(work) {
    if (this.free > 0) this.free -= 1;
    else await new Promise((resolve) => this.waiting.push(resolve));
    try {
      return await work();
    } finally {
      const next = this.waiting.shift();
      if (next) next();
      else this.free += 1;
    }
  }
}

function withCallbacks(name, work) {
  return (options = {}) => {
    const promise = told(name, Promise.resolve().then(() => work(options)));
    if (!hasCallbacks(options)) return promise;
    tell(options, promise);
    return undefined;
  };
}

function asTask(name, queue, work) {
  return (options = {}) => {
    let giveUp;
    let isGivenUp = false;
    const givenUp = new Promise((resolve, reject) => {
      giveUp = (reason) => { isGivenUp = true; reject({ errMsg: reason }); };
    });
    const timer = setTimeout(() => giveUp("timeout"), options.timeout ?? REQUEST_TIMEOUT_MS);
    const done = queue.run(() => isGivenUp || Promise.race([work(options), givenUp]));
    tell(options, told(name, Promise.race([done, givenUp]).finally(() => clearTimeout(timer))));
    return { abort: () => giveUp("abort"), onProgressUpdate: () => {}, onHeadersReceived: () => {} };
  };
}

/** Give the outcome the `errMsg` that WeChat's functions have. */
function told(name, promise) {
  return promise.then(
    (result) => ({ ...result, errMsg: `${name}:ok` }),
    (error) => {
      const { errMsg, message } = Object(error);
      return Promise.reject({ ...(error instanceof Error ? {} : error), errMsg: `${name}:fail ${errMsg ?? message ?? error}` });
    },
  );
}

function hasCallbacks({ success, fail, complete }) {
  return Boolean(success || fail || complete);
}

function tell({ success, fail, complete }, promise) {
  promise.then(
    (result) => { success?.(result); complete?.(result); },
    (error) => { fail?.(error); complete?.(error); },
  );
}

function read(storage, key) {
  const text = storage.getItem(key);
  if (text === null) throw new Error("data not found");
  return JSON.parse(text);
}

/** WeChat sets the Referer, and lets nobody else. */
function withoutReferer(header = {}) {
  return Object.fromEntries(Object.entries(header).filter(([name]) => name.toLowerCase() !== "referer"));
}

function encode({ url, method, data, header }) {
  const given = Object.entries(header).find(([name]) => name.toLowerCase() === "content-type")?.[1];
  const sent = given ? header : { "content-type": "application/json", ...header };
  if (data === undefined) return { url, method, header: sent };
  if (method === "GET") return { url: withQuery(url, data), method, header: sent };
  return { url, method, header: sent, body: bodyOf(data, given ?? "application/json") };
}

function bodyOf(data, type) {
  if (typeof data === "string") return data;
  return type.includes("json") ? JSON.stringify(data) : String(new URLSearchParams(data));
}

function withQuery(url, data) {
  const query = typeof data === "string" ? data : String(new URLSearchParams(data));
  return query ? `${url}${url.includes("?") ? "&" : "?"}${query}` : url;
}

function multipart({ filePath, name, formData = {}, header }) {
  const boundary = "----wx-imitation-boundary";
  const part = (head, content) => `--${boundary}\r\nContent-Disposition: form-data; ${head}\r\n\r\n${content}\r\n`;
  const fields = Object.entries(formData).map(([field, value]) => part(`name="${field}"`, value));
  const file = part(`name="${name}"; filename="${filePath.split("/").pop()}"`, `the content of ${filePath}`);
  const body = `${fields.join("")}${file}--${boundary}--\r\n`;
  return { header: { ...header, "content-type": `multipart/form-data; boundary=${boundary}` }, body };
}

function parsed(body) {
  try {
    return JSON.parse(body.replace(/^\uFEFF/, ""));
  } catch {
    return body;
  }
}
