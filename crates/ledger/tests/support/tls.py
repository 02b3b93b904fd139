"""Ends TLS before a server that speaks plain HTTP: tls.py CERTIFICATE HOST:PORT. Prints its own port."""
import socket
import ssl
import sys
import threading


def pump(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass
    finally:
        try:
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass


def serve(connection, context, host, port):
    try:
        inner = context.wrap_socket(connection, server_side=True)
        outer = socket.create_connection((host, port))
    except (ssl.SSLError, OSError) as error:
        print(error, file=sys.stderr)
        return
    threading.Thread(target=pump, args=(outer, inner), daemon=True).start()
    pump(inner, outer)


def main(certificate, address):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    host, _, port = address.rpartition(":")
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=(connection, context, host, int(port)), daemon=True).start()


main(*sys.argv[1:])
