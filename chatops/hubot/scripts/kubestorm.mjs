// Description:
//   Passes what people say to StackStorm or stormcell, and tells them how it ended. Makes the calls that
//   hubot-stackstorm makes: the list of aliases, aliasexecution, the stream of announcements.
//
// Configuration (environment; credentials are read from files or the environment, never from arguments):
//   ST2_API_URL            where the API is, with its version: http://127.0.0.1:9101/v1
//   ST2_STREAM_URL         where the stream is; ST2_API_URL if not set (behind st2web: https://HOST/stream/v1)
//   ST2_API_KEY_FILE       file that holds an API key; or ST2_API_KEY
//   ST2_AUTH_TOKEN_FILE    file that holds a token; or ST2_AUTH_TOKEN
//   ST2_ROUTE              route of notifications (hubot)
//   ST2_RELOAD_SECONDS     how often the aliases are read again (120)
//
// Notes:
//   The account that is passed on is the id of the user where the chat has one that users cannot choose (Slack),
//   and the name otherwise. Who that is, and what may be done, StackStorm's side decides.

import { randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'

const LONGEST_CHARACTERS = 4000
const FIRST_WAIT_MS = 500
const LONGEST_WAIT_MS = 30_000
const ANSWER_MS = 20_000
// StackStorm sends a comment or an event at least every half minute; a stream that is silent for longer is dead.
const SILENT_MS = 90_000
const MOST_PENDING = 500
const ANNOUNCEMENT = 'st2.announcement__chatops'

// A place for a value in a format, with the blanks before it; one with a default may be left out.
const PLACE = /(\s*)\{\{([^{}]*(?:\{[^{}]*\}[^{}]*)*)\}\}/g
const VALUE = '[\\s\\S]+?'
const PAIR = '\\s+[^\\s=]+=(?:"[^"]*"|\'[^\']*\'|\\{[^}]*\\}|\\S+)'

// What an alias's format is in JavaScript: StackStorm's rules for places, key=value pairs at the end, nothing else around
// it. Returns null for a format that is no expression here.
export function expressionOf (format) {
  const body = format.replace(PLACE, (_place, blanks, inside) =>
    inside.includes('=') ? `(?:${blanks}${VALUE})?` : `${blanks}${VALUE}`)
  try {
    return new RegExp(`^\\s*${body}(?:${PAIR})*\\s*$`)
  } catch {
    return null
  }
}

// Aliases as the API lists them -> what can be said, and the alias for everything else.
export function readAliases (aliases) {
  const sayings = []
  let everythingElse = null
  for (const alias of aliases) {
    if (alias.enabled === false) continue
    for (const given of alias.formats || []) {
      const form = typeof given === 'string' ? { display: given, representation: [given] } : given
      const texts = [].concat(form.representation || [])
      for (const text of texts) {
        if (form.match_multiple) {
          if (alias.name === 'kubestorm_anything') everythingElse = { alias, format: text }
          continue
        }
        const expression = expressionOf(text)
        if (expression) sayings.push({ alias, format: text, expression })
      }
    }
  }
  return { sayings, everythingElse }
}

export function matching (known, command) {
  return known.sayings.find(saying => saying.expression.test(command)) || known.everythingElse
}

// StackStorm takes `word=value` at the end of a command for a parameter, also the one in `... see https://x/y?id=5`. What no
// parameter could be called gets a full stop behind it, which the pack's reader takes off, so that the text stays whole.
export function keepText (command) {
  const last = /(?:^|\s)([^\s=]+)=\S+\s*$/.exec(command)
  return last && !/^[a-z_]+$/.test(last[1]) ? `${command} .` : command
}

// Cuts a text/event-stream into events: {event, data}. Feed it text as it comes.
export class EventReader {
  #rest = ''
  #event = ''
  #data = [];

  * read (text) {
    this.#rest += text
    const lines = this.#rest.split(/\r\n|\n|\r(?!$)/)
    this.#rest = lines.pop()
    for (const line of lines) {
      if (line === '') {
        if (this.#data.length) yield { event: this.#event || 'message', data: this.#data.join('\n') }
        this.#event = ''
        this.#data = []
      } else if (line.startsWith('event:')) {
        this.#event = line.slice(6).trim()
      } else if (line.startsWith('data:')) {
        this.#data.push(line.slice(5).replace(/^ /, ''))
      }
    }
  }
}

export class Refused extends Error {}

export class StackStorm {
  constructor (env) {
    this.api = (env.ST2_API_URL || 'http://127.0.0.1:9101/v1').replace(/\/+$/, '')
    this.stream = (env.ST2_STREAM_URL || this.api).replace(/\/+$/, '')
    this.env = env
  }

  async headers () {
    const key = await secret(this.env, 'ST2_API_KEY')
    if (key) return { 'St2-Api-Key': key }
    const token = await secret(this.env, 'ST2_AUTH_TOKEN')
    return token ? { 'X-Auth-Token': token } : {}
  }

  async call (path, body) {
    const response = await fetch(`${this.api}${path}`, {
      method: body ? 'POST' : 'GET',
      headers: { ...await this.headers(), 'Content-Type': 'application/json' },
      body: body ? JSON.stringify(body) : undefined,
      signal: AbortSignal.timeout(ANSWER_MS)
    })
    const answer = await response.json().catch(() => ({}))
    if (response.ok) return answer
    throw new Refused(String(answer.faultstring || `HTTP ${response.status}`).slice(0, 500))
  }

  // Calls back for each announcement until the stream ends or breaks.
  async listen (signal, onOpen, onAnnouncement) {
    const silence = new AbortController()
    let timer = setTimeout(() => silence.abort(), SILENT_MS)
    try {
      const response = await fetch(`${this.stream}/stream`, {
        headers: { ...await this.headers(), Accept: 'text/event-stream' },
        signal: AbortSignal.any([signal, silence.signal])
      })
      if (!response.ok) throw new Refused(`the stream answered ${response.status}`)
      await onOpen()
      const reader = new EventReader()
      const decoder = new TextDecoder()
      for await (const chunk of response.body) {
        clearTimeout(timer)
        timer = setTimeout(() => silence.abort(), SILENT_MS)
        for (const { event, data } of reader.read(decoder.decode(chunk, { stream: true }))) {
          if (event === ANNOUNCEMENT) onAnnouncement(JSON.parse(data).payload)
        }
      }
    } finally {
      clearTimeout(timer)
    }
  }
}

async function secret (env, name) {
  if (env[`${name}_FILE`]) return (await readFile(env[`${name}_FILE`], 'utf8')).trim()
  return (env[name] || '').trim()
}

export class Bridge {
  #known = { sayings: [], everythingElse: null }
  // Request -> where it was asked, and its execution: to answer in the same thread, and after a lost connection.
  #pending = new Map()
  #stopping = new AbortController()

  constructor (robot, env) {
    this.robot = robot
    this.env = env
    this.stackstorm = new StackStorm(env)
    this.route = env.ST2_ROUTE || 'hubot'
    this.slack = /slack/i.test(robot.adapterName || '')
  }

  start () {
    this.robot.respond(/([\s\S]+)$/i, response => this.hear(response))
    const seconds = Number(this.env.ST2_RELOAD_SECONDS) || 120
    this.timer = setInterval(() => this.load(), seconds * 1000)
    this.timer.unref()
    this.load().then(() => this.keepListening())
  }

  stop () {
    clearInterval(this.timer)
    this.#stopping.abort()
  }

  async load () {
    try {
      this.#known = readAliases(await this.stackstorm.call('/actionalias?limit=-1&offset=0'))
      this.robot.logger.info(`kubestorm: ${this.#known.sayings.length} formats of aliases are loaded`)
    } catch (error) {
      this.robot.logger.error(`kubestorm: the aliases cannot be read: ${reason(error)}`)
    }
  }

  async hear (response) {
    const { message } = response
    const user = message.user || {}
    if (this.#isBot(user)) return
    const command = response.match[1].trim()
    if (!command) return
    if (command.length > LONGEST_CHARACTERS) {
      return response.send(`That message has ${command.length} characters; a command has fewer. I did nothing.`)
    }
    if (!this.#known.sayings.length) await this.load()
    const found = matching(this.#known, command)
    if (!found) return
    const request = randomUUID()
    const thread = message.thread_ts || message.rawMessage?.thread_ts || message.rawMessage?.ts || null
    const body = {
      name: found.alias.name,
      format: found.format,
      command: found.alias.pack === 'kubestorm' ? keepText(command) : command,
      user: String(this.slack ? user.id : user.name || user.id || ''),
      source_channel: String(message.room || ''),
      source_context: { id: String(message.id || ''), room: String(message.room || ''), thread, request },
      notification_route: this.route
    }
    this.#remember(request, { envelope: response.envelope, thread, execution: null })
    try {
      const answer = await this.stackstorm.call('/aliasexecution', body)
      const pending = this.#pending.get(request)
      if (!pending) return // the outcome was faster than this answer
      pending.execution = answer.execution?.id
      await this.#acknowledge(response, found.alias, answer, thread)
    } catch (error) {
      this.#pending.delete(request)
      const why = error instanceof Refused
        ? `That was not taken: ${error.message}`
        : `StackStorm does not answer (${reason(error)}). Nothing was done that I know of; try again in a moment.`
      await this.#tell(response.envelope, thread, why, '#d0342c')
    }
  }

  async #acknowledge (response, alias, answer, thread) {
    if (alias.ack?.enabled === false) return
    const text = answer.message || `Working on it; the execution is ${answer.execution?.id}.`
    await this.#tell(response.envelope, thread, text)
  }

  async keepListening () {
    let wait = FIRST_WAIT_MS
    while (!this.#stopping.signal.aborted) {
      try {
        await this.stackstorm.listen(
          this.#stopping.signal,
          async () => {
            wait = FIRST_WAIT_MS
            this.robot.logger.info('kubestorm: listening to announcements')
            await this.load()
            await this.#catchUp()
          },
          payload => this.announce(payload)
        )
      } catch (error) {
        if (this.#stopping.signal.aborted) return
        this.robot.logger.error(`kubestorm: the stream broke off: ${reason(error)}`)
      }
      await new Promise(resolve => setTimeout(resolve, wait + Math.random() * wait / 4))
      wait = Math.min(wait * 2, LONGEST_WAIT_MS)
    }
  }

  async announce (payload) {
    const text = String(payload.message || '').trim()
    if (!text) return
    const request = payload.context?.request
    const pending = request && this.#pending.get(request)
    const colour = payload.extra?.color || payload.extra?.slack?.color
    if (pending) {
      this.#pending.delete(request)
      return this.#tell(pending.envelope, pending.thread, text, colour)
    }
    const room = payload.whisper && payload.user ? payload.user : payload.channel
    if (room) await this.#tell({ room }, payload.context?.thread, text, colour)
  }

  // What ended while nobody listened: its execution knows the answer.
  async #catchUp () {
    for (const [request, pending] of [...this.#pending]) {
      if (!pending.execution) continue
      try {
        const found = await this.stackstorm.call(`/executions/${encodeURIComponent(pending.execution)}`)
        if (!found.end_timestamp || !this.#pending.delete(request)) continue
        const text = found.result?.output?.text || `It has ended: ${found.status}, execution ${pending.execution}.`
        await this.#tell(pending.envelope, pending.thread, text, found.result?.output?.colour)
      } catch (error) {
        this.robot.logger.error(`kubestorm: an outcome cannot be read: ${reason(error)}`)
      }
    }
  }

  async #tell (envelope, thread, text, colour) {
    if (!this.slack) return this.robot.adapter.send(envelope, text)
    const attachments = colour ? [{ color: colour, text, fallback: text.slice(0, 500), mrkdwn_in: ['text'] }] : undefined
    const message = attachments ? { attachments } : { text }
    return this.robot.adapter.send(envelope, thread ? { ...message, thread_ts: thread } : message)
  }

  #isBot (user) {
    const own = [this.robot.name, this.robot.alias].filter(Boolean)
    return Boolean(user.is_bot || user.slack?.is_bot || user.bot_id) || own.includes(user.name)
  }

  #remember (request, pending) {
    if (this.#pending.size >= MOST_PENDING) this.#pending.delete(this.#pending.keys().next().value)
    this.#pending.set(request, pending)
  }
}

// An error in a few words, without addresses that could hold credentials.
function reason (error) {
  return error instanceof Refused ? error.message : String(error.cause?.code || error.code || error.name)
}

export default robot => {
  const bridge = new Bridge(robot, process.env)
  bridge.start()
  const shutdown = robot.shutdown.bind(robot)
  robot.shutdown = (...given) => {
    bridge.stop()
    return shutdown(...given)
  }
}
