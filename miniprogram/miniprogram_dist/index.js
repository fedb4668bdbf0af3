module.exports = require('./wxlogin')
