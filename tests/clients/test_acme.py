"""A certificate got by itself from Pebble, the test authority of Let's Encrypt, which looks for the proof for real."""

import json
import pathlib
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
import unittest

from headwater import ROOT, Headwater

PEBBLE = shutil.which("pebble", path=f"{ROOT}/target/pebble/bin") or shutil.which("pebble")
NAMES = shutil.which("pebble-challtestsrv", path=f"{ROOT}/target/pebble/bin") or shutil.which("pebble-challtestsrv")
DOMAINS = ["live.example.test", "also.example.test"]
PATIENCE = 60  # s from the start to the certificate


def free_port(kind=socket.SOCK_STREAM):
    with socket.socket(type=kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@unittest.skipUnless(PEBBLE and NAMES, "Pebble is not here: scripts/test installs it where Go is")
class Acme(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="headwater-acme-")
        self.addCleanup(self.folder.cleanup)
        self.home = pathlib.Path(self.folder.name)
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
        command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE"]
        command += ["-keyout", self.home / "key.pem", "-out", self.home / "cert.pem"]
        subprocess.run(command, check=True, capture_output=True)
        self.tls = free_port()

    def background(self, *command, **variables):
        with open(self.home / "pebble.log", "ab") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=variables)
        self.addCleanup(process.wait, 10)
        self.addCleanup(process.terminate)

    def authority(self):
        """Starts an authority that resolves every name to this machine; gives its directory."""
        directory, management, names = free_port(), free_port(), free_port(socket.SOCK_DGRAM)
        config = {
            "listenAddress": f"127.0.0.1:{directory}",
            "managementListenAddress": f"127.0.0.1:{management}",
            "certificate": str(self.home / "cert.pem"),
            "privateKey": str(self.home / "key.pem"),
            "httpPort": free_port(),
            "tlsPort": self.tls,
        }
        (self.home / "pebble.json").write_text(json.dumps({"pebble": config}))
        off = ["-http01", "", "-https01", "", "-tlsalpn01", "", "-doh", "", "-management", f"127.0.0.1:{free_port()}"]
        self.background(NAMES, "-dnsserver", f"127.0.0.1:{names}", "-defaultIPv4", "127.0.0.1", "-defaultIPv6", "", *off)
        command = [PEBBLE, "-config", str(self.home / "pebble.json"), "-dnsserver", f"127.0.0.1:{names}"]
        self.background(*command, PEBBLE_VA_NOSLEEP="1", PEBBLE_WFE_NONCEREJECT="0")
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", directory), 1).close()
                return f"https://localhost:{directory}/dir"
            except OSError:
                assert time.monotonic() < deadline, (self.home / "pebble.log").read_text()
                time.sleep(0.02)

    def serve(self, directory):
        options = ["--acme-domains", json.dumps(DOMAINS), "--acme-accept-terms", "true", "--acme-contact", "ops@example.test"]
        options += ["--acme-directory", directory, "--acme-ca-file", str(self.home / "cert.pem")]
        options += ["--http-tls-listen", f"127.0.0.1:{self.tls}", "--webrtc-listen", "127.0.0.1:0"]
        return Headwater(*options, data=self.home / "data")

    def names(self):
        """The names in the certificate that is served, and who gave it; None where none is."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        try:
            with socket.create_connection(("127.0.0.1", self.tls), 5) as plain:
                with context.wrap_socket(plain, server_hostname=DOMAINS[0]) as secure:
                    der = secure.getpeercert(True)
        except OSError:
            return None
        command = ["openssl", "x509", "-inform", "der", "-noout", "-issuer", "-ext", "subjectAltName"]
        return subprocess.run(command, input=der, capture_output=True, check=True).stdout.decode()

    def got(self, server):
        deadline = time.monotonic() + PATIENCE
        while (names := self.names()) is None:
            log = server.words() + (self.home / "pebble.log").read_text()[-2000:]
            assert time.monotonic() < deadline, log
            time.sleep(0.1)
        return names

    def test_a_certificate_is_got_served_and_kept(self):
        directory = self.authority()
        with self.serve(directory) as server:
            names = self.got(server)
            self.assertIn("Pebble", names)
            for domain in DOMAINS:
                self.assertIn(f"DNS:{domain}", names)
            kept = self.home / "data/acme/certificate.pem"
            self.assertEqual((kept.stat().st_mode & 0o777, kept.parent.stat().st_mode & 0o777), (0o600, 0o700))
            written = kept.stat().st_mtime_ns
        with self.serve(directory) as server:
            self.assertIn("Pebble", self.got(server), "it is there from the start")
            self.assertEqual(kept.stat().st_mtime_ns, written, "and is not asked for again")

    def test_without_an_authority_the_server_serves_all_the_same(self):
        with self.serve("https://localhost:1/dir") as server:
            deadline = time.monotonic() + PATIENCE
            while "no certificate" not in server.log.read_text():
                assert time.monotonic() < deadline, server.words()
                time.sleep(0.05)
            self.assertIsNone(self.names())
            self.assertIn("cannot connect", server.words())


if __name__ == "__main__":
    unittest.main()
