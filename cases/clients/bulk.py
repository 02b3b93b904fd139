"""Writes with the official Python client in each way its helpers know: bulk.py URL COUNT"""
import sys

from elasticsearch import Elasticsearch, helpers

url, count = sys.argv[1], int(sys.argv[2])
client = Elasticsearch(url, http_compress=True, retry_on_timeout=False)
assert client.info()["tagline"] == "You Know, for Search"
assert client.ping()
assert client.cluster.health()["status"] == "green"

actions = ({"_index": "py-bulk", "_source": {"n": n, "via": "bulk"}} for n in range(count))
done, errors = helpers.bulk(client, actions, chunk_size=100)
assert (done, errors) == (count, []), (done, errors)

actions = [{"_op_type": "create", "_index": "py-parallel", "_id": str(n), "n": n, "via": "parallel"} for n in range(count)]
assert sum(ok for ok, _ in helpers.parallel_bulk(client, actions, thread_count=2, chunk_size=50)) == count

answer = client.index(index="py-one", document={"via": "index"})
assert answer["result"] == "created", answer
answer = client.create(index="py-one", id="7", document={"via": "create"})
assert answer["_id"] == "7", answer

# One wrong item among good ones: it is named, the rest is kept.
wrong = client.bulk(operations='{"index":{"_index":"py-wrong"}}\n{"via":"good"}\n{"index":{"_index":"py-wrong"}}\nnot json\n{"index":{"_index":"py-wrong"}}\n{"via":"good"}\n')
assert wrong["errors"] and [item["index"]["status"] for item in wrong["items"]] == [201, 400, 201], wrong
print(2 * count + 4)
