/**
 * For all JavaScript of the project, so its patterns start with no folder: ESLint takes them from where it is started.
 */
import js from '@eslint/js'
import globals from 'globals'

const RULES = {
  eqeqeq: 'error',
  'no-var': 'error',
  'prefer-const': 'error',
  'no-unused-vars': ['error', { caughtErrors: 'none' }], // ES2017 has no catch without a name
  'max-len': ['error', 140],
  'max-depth': ['error', 3],
  complexity: ['error', 8]
}

function named(names) {
  return Object.fromEntries(names.map((name) => [name, 'readonly']))
}

export default [
  // The simulator's wxlogin.js is a link to the one that is looked at here.
  { ignores: ['**/node_modules/', '**/miniprogram_npm/', '**/coverage/', '**/simulator/wxlogin.js'] },
  { linterOptions: { reportUnusedDisableDirectives: 'error' } },
  { ...js.configs.recommended, files: ['**/*.js', '**/*.mjs'] },
  { files: ['**/*.js', '**/*.mjs'], rules: RULES },
  {
    // The oldest syntax that phones have; what is newer is an error here.
    files: ['**/miniprogram_dist/**/*.js'],
    languageOptions: {
      ecmaVersion: 2017,
      sourceType: 'commonjs',
      globals: named(['wx', 'module', 'require', 'setTimeout'])
    }
  },
  {
    // What WeChat's developer tools compile for older phones.
    files: ['**/examples/miniprogram/**/*.js'],
    languageOptions: {
      ecmaVersion: 2020,
      sourceType: 'commonjs',
      globals: named(['wx', 'App', 'Page', 'getApp', 'module', 'require'])
    }
  },
  {
    files: ['**/miniprogram/tests/**/*.mjs', '**/miniprogram/*.mjs', '**/sdks/node/*.mjs'],
    languageOptions: { ecmaVersion: 2022, globals: globals.node }
  },
  {
    files: ['**/sandbox/simulator/**/*.mjs'],
    ignores: ['**/sandbox/simulator/wx.mjs'],
    languageOptions: { ecmaVersion: 2022, globals: globals.browser }
  },
  {
    // Runs in the simulator's page, and under node for the tests here.
    files: ['**/sandbox/simulator/wx.mjs'],
    languageOptions: { ecmaVersion: 2022, globals: globals['shared-node-browser'] }
  }
]
