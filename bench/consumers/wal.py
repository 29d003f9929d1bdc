"""A consumer of PostgreSQL's log with psycopg2, as consumers/wal.rb: wal.py folder=/tmp/pg slot=bench events=400000 ...

With decode=1 it reads the values of each row in plain Python; else it only counts the rows."""
import resource
import struct
import sys
import time

import psycopg2
import psycopg2.extras

settings = dict(word.split("=", 1) for word in sys.argv[1:])
events, decodes = int(settings["events"]), settings.get("decode") == "1"
connection = psycopg2.connect(host=settings["folder"], user="spec", dbname="postgres",
                              connection_factory=psycopg2.extras.LogicalReplicationConnection)
cursor = connection.cursor()
cursor.start_replication(slot_name=settings["slot"], decode=False, status_interval=10,
                         options={"proto_version": "1", "publication_names": "bench"})


def values(row):
    """Returns the values of a row: a number for the first two columns, a text for the third."""
    found, at = [], 8
    for _ in range(struct.unpack_from(">H", row, 6)[0]):
        kind = row[at]
        at += 1
        if kind == 116:
            size = struct.unpack_from(">I", row, at)[0]
            at += 4
            found.append(row[at:at + size].decode())
            at += size
        else:
            found.append(None)
    return [int(found[0]), int(found[1]), *found[2:]]


class Consumer:
    count = 0
    began = None

    def __call__(self, message):
        payload = message.payload
        if payload[:1] == b"C":
            # Done, as far as this transaction.
            message.cursor.send_feedback(flush_lsn=message.data_start)
        if payload[:1] != b"I":
            return
        if decodes:
            values(payload)
        self.count += 1
        if self.began is None:
            self.began = (time.monotonic(), time.process_time())
        if self.count == events:
            took, cpu = time.monotonic() - self.began[0], time.process_time() - self.began[1]
            rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            print(f"events={self.count - 1} seconds={took} cpu_us={cpu * 1e6:.0f} rss_kib={rss}", flush=True)
            sys.exit(0)


cursor.consume_stream(Consumer())
