"""Reads a Delta table with delta-rs and with DuckDB, and prints what both see as JSON: version, rows, sums, times, and one event's fields."""

import json
import sys

import duckdb
from deltalake import DeltaTable

table = DeltaTable(sys.argv[1])
files = table.file_uris()
told = {
    "version": table.version(),
    "files": len(files),
    "schema": [field.name for field in table.schema().fields],
}
arrow = table.to_pyarrow_table()
told["delta_rs"] = {
    "rows": arrow.num_rows,
    "records": sum(value.as_py() for value in arrow["record"]),
    "seq": sum(int(dict(row.as_py())["seq"]) for row in arrow["native"]),
}
# What the log tells of columns lets a reader leave files out; the answer must not depend on it.
ranged = table.to_pyarrow_table(filters=[("record", ">=", 100), ("record", "<", 200)])
told["delta_rs"]["ranged"] = ranged.num_rows
rows, records, seq = duckdb.execute(
    "SELECT count(*), sum(record), sum(CAST(native['seq'] AS BIGINT)) FROM read_parquet($files)", {"files": files}
).fetchone()
told["duckdb"] = {"rows": rows, "records": int(records), "seq": int(seq)}
told["duckdb"]["ranged"] = duckdb.execute(
    "SELECT count(*) FROM read_parquet($files) WHERE record >= 100 AND record < 200", {"files": files}
).fetchone()[0]
try:
    duckdb.execute("INSTALL delta; LOAD delta")
    told["duckdb_delta"] = duckdb.execute(f"SELECT count(*), sum(record)::BIGINT FROM delta_scan('{sys.argv[1]}')").fetchone()
except duckdb.Error as error:  # the extension comes over the network, which tests may not have
    told["duckdb_delta"] = None
    print(f"DuckDB's own reader of the log was not tried: {error}", file=sys.stderr)
print(json.dumps(told))
