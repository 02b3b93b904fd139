"""Makes certificate authorities and server certificates for a test: certificates.py FOLDER."""
import datetime
import ipaddress
import sys

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NOW = datetime.datetime.now(datetime.timezone.utc)
DAY = datetime.timedelta(days=1)


def certificate(name, issuer, issuer_key, extensions, begins=NOW - 10 * DAY, ends=NOW + 10 * DAY):
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer or subject).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(begins).not_valid_after(ends)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return key, builder.sign(issuer_key or key, hashes.SHA256())


def authority(name):
    return certificate(name, None, None, [(x509.BasicConstraints(ca=True, path_length=None), True)])


def server(ca, san, **times):
    ca_key, ca_certificate = ca
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    extensions = [(x509.SubjectAlternativeName([san]), False), (usage, False)]
    return certificate("server", ca_certificate.subject, ca_key, extensions, **times)


def write(path, key, cert):
    pem = cert.public_bytes(serialization.Encoding.PEM)
    if key:
        pem += key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    with open(path, "wb") as file:
        file.write(pem)


def main(folder):
    ours, other = authority("ours"), authority("other")
    here, elsewhere = x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("elsewhere.example")
    write(f"{folder}/ca.pem", None, ours[1])
    write(f"{folder}/good.pem", *server(ours, here))
    write(f"{folder}/wrong-name.pem", *server(ours, elsewhere))
    write(f"{folder}/expired.pem", *server(ours, here, ends=NOW - DAY))
    write(f"{folder}/unknown.pem", *server(other, here))


main(sys.argv[1])
