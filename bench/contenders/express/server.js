// What a team writes by hand on node: express with express-session and connect-redis, as they come.
'use strict'

const { RedisStore } = require('connect-redis')
const express = require('express')
const session = require('express-session')
const { createClient } = require('redis')

async function main() {
  const client = createClient({ url: process.env.BENCH_REDIS_URL })
  await client.connect()
  const app = express()
  app.disable('x-powered-by')
  app.use(session({ store: new RedisStore({ client }), secret: process.env.BENCH_SECRET, resave: false, saveUninitialized: false }))
  app.get('/healthz', (request, response) => response.status(200).end())
  app.get('/auth', (request, response) => {
    if (!request.session.openid) return response.status(401).end()
    response.set({
      'X-WX-OPENID': request.session.openid,
      'X-WX-APPID': 'wx4f4bc4dec97d474b',
      'X-WX-SOURCE': 'wx_client',
      'Cache-Control': 'no-store'
    })
    return response.status(204).end()
  })
  app.listen(Number(process.env.PORT), '127.0.0.1')
}

main()
