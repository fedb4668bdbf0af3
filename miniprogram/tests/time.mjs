// Time that stands still until a test has it pass. (mock.timers came after Node 18.)

const realSetImmediate = setImmediate

class Time {
  now = Date.UTC(2026, 0, 1)
  timers = new Map()
  count = 0
  turn = Promise.resolve() // of who lets time pass, so that one timer after the other fires

  setTimeout(work, delay = 0) {
    this.count += 1
    this.timers.set(this.count, { work, at: this.now + delay })
    return this.count
  }

  /** Lets milliseconds pass, and everything happen that happens meanwhile. */
  async pass(milliseconds) {
    const end = this.now + milliseconds
    await quiet()
    for (let timer = this.first(); timer && timer[1].at <= end; timer = this.first()) await this.fire(timer)
    this.now = end
  }

  /** Returns what becomes of a promise, and lets as much time pass as that takes. */
  async until(promise) {
    let isSettled = false
    const settle = () => { isSettled = true }
    promise.then(settle, settle)
    const step = () => isSettled || this.fire(this.first())
    do {
      const turn = this.turn.then(quiet).then(step)
      this.turn = turn.catch(() => {})
      await turn
    } while (!isSettled)
    return promise
  }

  /** Returns how many seconds something takes. */
  async secondsOf(promise) {
    const start = this.now
    await this.until(promise)
    return (this.now - start) / 1000
  }

  first() {
    return [...this.timers].sort((one, other) => one[1].at - other[1].at)[0]
  }

  async fire(timer) {
    if (!timer) throw new Error('This would wait forever.')
    const [id, { work, at }] = timer
    this.timers.delete(id)
    this.now = Math.max(this.now, at)
    work()
    await quiet()
  }
}

/** Waits until nothing happens any more, time standing still. */
function quiet() {
  return new Promise((resolve) => { realSetImmediate(resolve) })
}

export const time = new Time()

globalThis.setTimeout = (...given) => time.setTimeout(...given)
globalThis.clearTimeout = (id) => time.timers.delete(id)
Date.now = () => time.now
