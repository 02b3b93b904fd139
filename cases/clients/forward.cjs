// Writes by Fluent Forward with a shared key and acknowledgements: node forward.cjs PORT KEY COUNT; prints how many events were acknowledged.
const { FluentClient } = require('@fluent-org/logger')
const { createFluentSender } = require('fluent-logger')

const [port, key, count] = [Number(process.argv[2]), process.argv[3], Number(process.argv[4])]
const security = { clientHostname: 'web1.example', sharedKey: key }

// Each mode by the newer client. Its promises are kept when the acknowledgement is there.
async function newer (eventMode) {
  const socket = { host: '127.0.0.1', port, timeout: 5000, disableReconnect: true }
  const client = new FluentClient('newer', { eventMode, socket, security, ack: { ackTimeout: 10000 } })
  await client.connect()
  await Promise.all(Array.from({ length: count }, (_, n) => client.emit(eventMode, { n, text: 'über' }, 1767604364 + n)))
  await client.disconnect()
}

// The older one calls back with an error, or nothing once its chunk was acknowledged.
async function older () {
  const client = createFluentSender('older', { host: '127.0.0.1', port, timeout: 5, requireAckResponse: true, ackResponseTimeout: 10000, security })
  const failed = new Promise((resolve, reject) => client.on('error', reject))
  const emitted = Array.from({ length: count }, (_, n) => new Promise((resolve, reject) => {
    client.emit('app', { n, text: 'über' }, error => error ? reject(error) : resolve())
  }))
  await Promise.race([Promise.all(emitted), failed])
  await new Promise(resolve => client.end(null, null, resolve))
}

// A client that was turned away may leave its promises open for ever, and nothing to wait for.
process.exitCode = 1

async function main () {
  const modes = ['Message', 'Forward', 'PackedForward', 'CompressedPackedForward']
  for (const mode of modes) await newer(mode)
  await older()
  console.log((modes.length + 1) * count)
  process.exitCode = 0
}

main().catch(error => { console.error(error); process.exit(1) })
