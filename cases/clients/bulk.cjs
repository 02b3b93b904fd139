// Writes with the official JavaScript client: node bulk.cjs URL COUNT
const { Client } = require('@elastic/elasticsearch')
const assert = require('node:assert')

async function main () {
  const [url, count] = [process.argv[2], Number(process.argv[3])]
  const client = new Client({ node: url, compression: true, maxRetries: 0 })
  assert.strictEqual((await client.info()).tagline, 'You Know, for Search')
  const datasource = Array.from({ length: count }, (_, n) => ({ n, via: 'js' }))
  const result = await client.helpers.bulk({ datasource, onDocument: () => ({ index: { _index: 'js-bulk' } }), flushBytes: 4000 })
  assert.strictEqual(result.successful, count)
  assert.strictEqual(result.failed, 0)
  const operations = datasource.flatMap(document => [{ create: { _index: 'js-raw' } }, document])
  const answer = await client.bulk({ operations })
  assert.strictEqual(answer.errors, false)
  assert.strictEqual(answer.items.length, count)
  const one = await client.index({ index: 'js-one', document: { via: 'js' } })
  assert.strictEqual(one.result, 'created')
  console.log(2 * count + 1)
}

main().catch(error => { console.error(error); process.exit(1) })
