/**
 * All that the page says. What is shown is picked field by field, for an answer may have an openid in it.
 */
const SENTENCES = {
  network_error: '连不上服务，请检查网络。',
  wx_login_failed: '没有取得登录凭证，请稍后再试。',
  too_many_logins: '登录过于频繁。',
  no_session_id: '服务没有返回会话，请联系我们。',
  invalid_code: '凭证无效或已过期，请再试一次。',
  code_used: '凭证已经用过，请再试一次。',
  not_logged_in: '请先登录。',
  session_expired: '登录已过期，请重新登录。',
  user_blocked: '微信暂时不允许你登录。',
  session_key_stale: '数据无法解密，请再试一次。',
  rate_limited: '操作过于频繁。',
  wechat_rate_limited: '操作过于频繁。'
}

const STATUSES = {
  200: '业务后端知道你是谁。',
  401: '业务后端只认登录用户。',
  404: '这个地址没有业务后端，见 README。',
  502: '业务后端没有响应。'
}

const KNOWN = { title: '我是谁', text: '服务认得你，会话有效。' }
const LOGGED_OUT = { title: '已退出登录', text: '再次登录之前，请求都不带会话。' }
const LOGGED_OUT_EVERYWHERE = { title: '已在所有设备上退出', text: '其他设备的下一次请求会重新登录。' }

function ofSession({ appid, created_at: createdAt, expires_in: expiresIn, idle_expires_in: idleExpiresIn }) {
  const now = Date.now() / 1000
  return [
    { label: '小程序', value: appid },
    { label: '登录时间', value: timeOf(createdAt) },
    { label: '最晚有效至', value: timeOf(now + expiresIn) },
    { label: '闲置有效至', value: timeOf(now + idleExpiresIn) }
  ]
}

function ofUserInfo({ nickName }) {
  return { title: '用户信息', text: `昵称：${nickName}` }
}

function ofPhoneNumber({ countryCode, purePhoneNumber }) {
  return { title: '手机号', text: `+${countryCode} ${purePhoneNumber}` }
}

function ofRefusal({ errMsg }) {
  return { isError: true, title: errMsg, text: '没有取得手机号，可以再点一次。' }
}

function ofAnswer({ statusCode, data }) {
  const { code } = Object(Object(data).error)
  return {
    isError: statusCode >= 400,
    title: `HTTP ${statusCode}${code ? ` ${code}` : ''}`,
    text: STATUSES[statusCode] || '业务后端给出了别的回答。'
  }
}

/** Describes an error of the client's, or of a function of wx, which has no code. */
function ofError(error) {
  const { code, errMsg, retryable, retryAfter } = error
  const sentence = SENTENCES[code] || (retryable ? '暂时不可用，请稍后再试。' : '出错了，请联系我们。')
  const wait = retryAfter ? `请在 ${retryAfter} 秒后再试。` : ''
  return { isError: true, title: code || errMsg || String(error), text: sentence + wait }
}

function timeOf(seconds) {
  const date = new Date(seconds * 1000)
  const [month, day, hour, minute] = [date.getMonth() + 1, date.getDate(), date.getHours(), date.getMinutes()]
    .map((number) => String(number).padStart(2, '0'))
  return `${date.getFullYear()}-${month}-${day} ${hour}:${minute}`
}

module.exports = {
  KNOWN,
  LOGGED_OUT,
  LOGGED_OUT_EVERYWHERE,
  ofSession,
  ofUserInfo,
  ofPhoneNumber,
  ofRefusal,
  ofAnswer,
  ofError
}
