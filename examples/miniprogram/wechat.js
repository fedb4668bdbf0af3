const { sandboxUrl } = require('./config.js')
const sandbox = require('./sandbox.js')

// With an account of your own, delete this file and sandbox.js, and write `wx` where they are used.
module.exports = sandboxUrl ? sandbox : wx
