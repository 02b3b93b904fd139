"""Reads a Delta table with delta-rs, DuckDB and chDB, and prints what each sees as JSON: version, rows, and sums of two columns."""

import json
import os
import sys

import chdb
import duckdb
from deltalake import DeltaTable

# ClickHouse reads the log itself, and only below the folder it runs in.
folder = os.path.abspath(sys.argv[1])
os.chdir(folder)
table = DeltaTable(folder)
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
rows, records, seq, ranged = json.loads(
    str(
        chdb.query(
            "SELECT count(), sum(record), sum(toInt64(native['seq'])), countIf(record >= 100 AND record < 200) "
            f"FROM deltaLakeLocal('{folder}') SETTINGS output_format_json_quote_64bit_integers = 0",
            "JSONCompactEachRow",
        )
    )
)
told["chdb"] = {"rows": rows, "records": records, "seq": seq, "ranged": ranged}
try:
    duckdb.execute("INSTALL delta; LOAD delta")
    told["duckdb_delta"] = duckdb.execute(f"SELECT count(*), sum(record)::BIGINT FROM delta_scan('{folder}')").fetchone()
except duckdb.Error as error:  # the extension comes over the network, which tests may not have
    told["duckdb_delta"] = None
    print(f"DuckDB's own reader of the log was not tried: {error}", file=sys.stderr)
print(json.dumps(told))
