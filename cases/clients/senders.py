"""Log handlers that others wrote, each against a listener: senders.py KIND HOST PORT COUNT [EXTRA]; prints how many records to expect."""
import json
import logging
import random
import sys

kind, host, port, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
extra = sys.argv[5:]
logger = logging.getLogger("probe")
logger.setLevel(logging.INFO)
logger.propagate = False


def log(handler, times=count):
    logger.handlers = [handler]
    for n in range(times):
        logger.info("message %d über 'quotes'", n)


def splunk():
    from splunk_handler import SplunkHandler, force_flush

    log(SplunkHandler(host=host, port=port, token=extra[0], index="main", sourcetype="probe", protocol="http", verify=False, retry_count=1))
    force_flush()
    logging.shutdown()
    return count


def graypy():
    import graypy

    # Does not compress well: comes in chunks.
    long = "%0*x" % (60_000, random.Random(1).getrandbits(240_000))
    if extra[0] == "udp":
        handler = graypy.GELFUDPHandler(host, port)
        log(handler)
        logger.info("long %s", long)
        return count + 1
    handler = graypy.GELFTCPHandler(host, port) if extra[0] == "tcp" else graypy.GELFHTTPHandler(host, port)
    log(handler)
    handler.close()
    return count


def pygelf():
    import pygelf

    long = "%0*x" % (60_000, random.Random(2).getrandbits(240_000))
    if extra[0] == "udp":
        log(pygelf.GelfUdpHandler(host, port, compress=False, chunk_size=1300))
        logger.info("long %s", long)
        return count + 1
    if extra[0] == "tls":
        handler = pygelf.GelfTlsHandler(host, port, validate=True, ca_certs=extra[1])
    elif extra[0] == "tcp":
        handler = pygelf.GelfTcpHandler(host, port)
    else:
        handler = pygelf.GelfHttpHandler(host, port, compress=True)
    log(handler)
    handler.close()
    return count


def fluent():
    from fluent.sender import EventTime, FluentSender

    sender = FluentSender("probe", host=host, port=port, nanosecond_precision=True)
    for n in range(count):
        assert sender.emit_with_time("app", EventTime(1767604364.25 + n), {"n": n, "text": "über"}), sender.last_error
    sender.close()
    return count


def otlp():
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter

    return exported(OTLPLogExporter(endpoint=f"http://{host}:{port}/v1/logs", compression=Compression.Gzip, headers={"authorization": f"Bearer {extra[0]}"}))


def otlp_grpc():
    from grpc import Compression, ssl_channel_credentials
    from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter

    # A third word is a folder of certificates: over TLS then.
    pem = [open(f"{extra[1]}/{name}", "rb").read() for name in ("ca.pem", "client.key", "client.pem")] if extra[1:] else []
    tls = {"credentials": ssl_channel_credentials(*pem)} if pem else {"insecure": True}
    scheme = "https" if extra[1:] else "http"
    return exported(OTLPLogExporter(endpoint=f"{scheme}://{host}:{port}", compression=Compression.Gzip, headers={"authorization": f"Bearer {extra[0]}"}, **tls))


def exported(exporter):
    from opentelemetry._logs import LogRecord, SeverityNumber
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
    from opentelemetry.sdk.resources import Resource

    provider = LoggerProvider(resource=Resource({"service.name": "checkout", "host.name": "web1"}))
    provider.add_log_record_processor(BatchLogRecordProcessor(exporter))
    otel = provider.get_logger("probe", "1.0")
    for n in range(count):
        otel.emit(LogRecord(timestamp=1_767_604_364_000_000_000 + n * 1000, severity_number=SeverityNumber.INFO, body=f"message {n} über", attributes={"n": n}))
    assert provider.force_flush()
    provider.shutdown()
    return count


print({"splunk": splunk, "graypy": graypy, "pygelf": pygelf, "fluent": fluent, "otlp": otlp, "otlp_grpc": otlp_grpc}[kind]())
