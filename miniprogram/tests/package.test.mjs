// What is published: small, without dependencies, in a syntax that every phone knows.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readFileSync, readdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import test from 'node:test'
import { fileURLToPath } from 'node:url'
import { minify } from 'terser'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const require = createRequire(import.meta.url)
const espree = createRequire(require.resolve('eslint'))('espree')
const manifest = require('../package.json')
const textOf = (path) => readFileSync(join(ROOT, path), 'utf8')
const SCRIPTS = readdirSync(join(ROOT, 'miniprogram_dist')).filter((name) => name.endsWith('.js'))

test('it is smaller than 6,000 bytes when minified', async () => {
  const { code } = await minify(textOf('miniprogram_dist/wxlogin.js'), { compress: true, mangle: true, toplevel: true })

  assert.ok(code.length > 3000, 'that was all of it')
  assert.ok(Buffer.byteLength(code) < 6000, `it has ${Buffer.byteLength(code)}`)
})

test('it has no dependencies', () => {
  const kinds = Object.keys(manifest).filter((name) => /dependencies/i.test(name))

  assert.deepEqual(kinds, ['devDependencies'])
})

test('it requires nothing but its own files', () => {
  const code = SCRIPTS.map((name) => textOf(`miniprogram_dist/${name}`)).join('\n').replace(/\/\*.*?\*\//gs, '')

  assert.deepEqual(code.match(/\brequire\([^)]*\)|\bimport\b.*/g), ["require('./wxlogin')"])
})

test('WeChat\'s developer tools and node find the same', () => {
  const client = require('../miniprogram_dist/wxlogin.js')

  assert.equal(require(join('..', manifest.main)), client)
  assert.equal(require(join('..', manifest.miniprogram, 'index.js')), client)
  assert.equal(require('..'), client)
  assert.deepEqual(Object.keys(client), ['createWxLogin', 'WxLoginError', 'errorOf'])
})

test('the types are beside what they describe', () => {
  const described = SCRIPTS.map((name) => name.replace(/js$/, 'd.ts'))

  assert.deepEqual(readdirSync(join(ROOT, 'miniprogram_dist')).filter((name) => name.endsWith('.d.ts')), described)
  assert.equal(manifest.types, manifest.main.replace(/js$/, 'd.ts'))
})

for (const name of SCRIPTS) {
  test(`${name} is ES2017`, () => {
    espree.parse(textOf(`miniprogram_dist/${name}`), { ecmaVersion: 2017, sourceType: 'commonjs' })
  })
}

const NEWER = [
  '({...a})', 'a?.b', 'a ?? b', 'try {} catch {}', 'async function* a() {}', '/(?<a>b)/', 'class A { b = 1 }'
]

for (const newer of NEWER) {
  test(`that would notice ${newer}`, () => {
    assert.throws(() => espree.parse(newer, { ecmaVersion: 2017, sourceType: 'commonjs' }), SyntaxError)
  })
}

test('npm packs the client, its types and what npm always packs', () => {
  const quietly = { cwd: ROOT, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }
  const [{ files }] = JSON.parse(execFileSync('npm', ['pack', '--dry-run', '--json'], quietly))
  const always = /^(package\.json|LICENSE|README(\.[\w-]+)?\.md)$/

  const packed = files.map(({ path }) => path).filter((path) => !always.test(path)).sort()

  const ours = ['index.d.ts', 'index.js', 'wxlogin.d.ts', 'wxlogin.js']
  assert.deepEqual(packed, ours.map((name) => `miniprogram_dist/${name}`))
})
