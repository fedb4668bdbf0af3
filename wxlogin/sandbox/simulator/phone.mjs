// The phone: the client that mini-programs use, on an imitation of `wx` whose requests the sandbox makes.

import wxlogin from "./wxlogin.js";
import { LOST, createWx } from "./wx.mjs";

const EXCHANGE = "/sns/jscode2session";
const MANY = 1000000;
const SLOW_MS = 1000;
const PATIENCE_MS = 20000; // longer than the sandbox waits for the service
// More than anybody clicks: the service's own limit shows itself first.
const LOGINS_PER_MINUTE = 100;

/** Return what the buttons do, the switches, and whether there is a session. */
export function createPhone({ service, storage }) {
  const switches = {
    lowerCase: false, array: false, joined: false, lost: false, slow: false, busy: false, codeUsed: false, expired: false,
  };
  let isArmed = false;
  const wx = createWx({
    send,
    storage,
    weChat: weChatOf(storage),
    platform: () => platformOf(switches),
    delay: () => new Promise((resolve) => setTimeout(resolve, switches.slow ? SLOW_MS : 0)),
  });
  const client = wxlogin.createWxLogin({ baseUrl: service, wx, loginsPerMinute: LOGINS_PER_MINUTE });
  const heldId = () => JSON.parse(storage.getItem(`wxlogin:${service}`) ?? "{}").id;

  async function endSession() {
    const sessionid = heldId();
    if (sessionid) await control("/simulator/end-session", { header: { sessionid } });
  }

  const actions = {
    logIn: () => client.login(),
    // The service tells the openid to back ends alone; this phone's WeChat knows it.
    whoAmI: async () => {
      const session = await client.session();
      return { openid: storage.getItem("openid"), ...session };
    },
    callBackend: async () => {
      const answer = await client.request({ url: "/api/orders" });
      if (answer.statusCode !== 200) throw wxlogin.errorOf(answer);
      return answer.data;
    },
    decryptUserInfo: async () => {
      await client.ensureSessionKey();
      return client.decrypt(await wx.getUserInfo());
    },
    getPhoneNumber: async () => {
      const { code } = await control("/simulator/wx/getPhoneNumber", whose(storage));
      return client.phoneNumber(code);
    },
    logOut: () => client.logout(),
    logOutEverywhere: () => client.logoutEverywhere(),
  };

  return {
    hasSession: () => Boolean(heldId()),
    async press(name) {
      if (switches.expired) await endSession();
      return actions[name]();
    },
    /** Turn a switch; one turn has to be done before the next begins. */
    async turn(name, isOn) {
      if (name === "busy" || name === "codeUsed") {
        isArmed = true;
        await arm({ ...switches, [name]: isOn });
      }
      switches[name] = isOn;
    },
    /** Undo what the switches did to the sandbox, as the page goes away. */
    leave() {
      if (isArmed) disarm({ keepalive: true });
    },
  };
}

/** Several switches may be on: what is lost is lost, and the rest adds up. */
function platformOf({ lowerCase, array, joined, lost }) {
  if (lost) return LOST;
  return { name: lowerCase ? "set-cookie" : "Set-Cookie", form: array ? "array" : "string", others: joined, withCookies: false };
}

/** WeChat as it is on this phone: it knows its user. */
function weChatOf(storage) {
  return {
    async login() {
      const { code, openid } = await control("/simulator/wx/login", whose(storage));
      storage.setItem("openid", openid);
      return code;
    },
    checkSession: () => control("/simulator/wx/checkSession", whose(storage)),
    getUserInfo: () => control("/simulator/wx/getUserInfo", whose(storage)),
  };
}

function whose(storage) {
  const openid = storage.getItem("openid");
  return openid ? { openid } : {};
}

async function send({ method, url, header, body = "" }) {
  return control("/simulator/request", { method, url, header, body });
}

async function arm({ busy, codeUsed }) {
  await disarm();
  const errcode = busy ? -1 : 40163; // who is busy looks at no code
  if (busy || codeUsed) await control("/_sandbox/faults", { path: EXCHANGE, errcode, times: MANY });
}

function disarm(how = {}) {
  return control("/_sandbox/faults", { path: EXCHANGE }, { method: "DELETE", ...how });
}

/** Ask the sandbox for something; its refusals are told as WeChat tells failures. */
async function control(path, body, how = {}) {
  const headers = { "content-type": "application/json" };
  const signal = AbortSignal.timeout(PATIENCE_MS);
  const response = await fetch(path, { method: "POST", headers, body: JSON.stringify(body), signal, ...how });
  const text = await response.text();
  const answer = text ? JSON.parse(text) : {};
  if (!response.ok) throw new Error(answer.error.message);
  return answer;
}
