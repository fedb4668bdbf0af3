/**
 * A back end with node-easywechat: it does what it is told on stdin, a JSON line each, and answers on stdout.
 */
import { createInterface } from 'node:readline'
import { MiniApp } from 'node-easywechat'

const [appid, secret, tokens] = process.argv.slice(2)
// It keeps its access token in a file of the working directory, as it does by itself.
const app = new MiniApp({ app_id: appid, secret, use_stable_access_token: tokens === 'stable_token' })

const COMMANDS = {
  log_in: ({ code }) => app.getUtils().codeToSession(code),
  access_token: () => app.getAccessToken().getToken(),
  renew_token: () => app.getAccessToken().refresh(),
  phone_number: async ({ code }) => {
    // The SDK has no method for it, and sends whatever one has a path for.
    const response = await app.getClient().postJson('/wxa/business/getuserphonenumber', { code })
    return accepted(response.toObject()).phone_info
  },
  decrypt: ({ session_key, encryptedData, iv }) => app.getUtils().decryptSession(session_key, iv, encryptedData)
}

/** An answer with an errcode is an answer like any other to this client. */
function accepted(answer) {
  if (answer.errcode) throw new Error(JSON.stringify(answer))
  return answer
}

/** The SDK's errors are a text that has WeChat's answer in it. */
function describe({ message }) {
  const found = /"errcode":(-?\d+)/.exec(message)
  return { errcode: found && Number(found[1]), message }
}

async function answer(told) {
  try {
    return { result: await COMMANDS[told.do](told) }
  } catch (error) {
    return { error: describe(error) }
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await answer(JSON.parse(line))))
}
