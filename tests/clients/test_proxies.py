"""The reverse proxies' example files, as they are but for ports and certificates, in front of a live stream."""

import json
import pathlib
import re
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
import unittest
import urllib.error
import urllib.request

from headwater import PROBE_LIMIT, ROOT, Headwater

START_LIMIT = 10  # s until the proxy listens
TOKEN = "a-token-for-tests-alone"
SHOW = ["-re", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25", "-re", "-f", "lavfi", "-i", "sine=frequency=440"]
CODECS = ["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "25", "-c:a", "aac", "-f", "flv"]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Proxied:
    """What every proxy has to do; each test class brings `start`, which gives the ports of viewers and operators."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="headwater-proxy-")
        cls.home = pathlib.Path(cls.folder.name)
        cls.running = []
        try:
            cls.certificate()
            cls.server = Headwater("--webrtc-listen", "127.0.0.1:0", "--admin-token", TOKEN).__enter__()
            cls.admin = cls.server._listener("admin")
            cls.run_in_background("ffmpeg", "-v", "error", "-nostdin", *SHOW, *CODECS, f"{cls.server.rtmp}/show")
            cls.live, cls.operator = cls.start()
            cls.server.playlist("show")
        except BaseException:
            cls.tearDownClass()
            raise

    @classmethod
    def tearDownClass(cls):
        for process in reversed(cls.running):
            process.terminate()
            process.wait(10)
        if hasattr(cls, "server"):
            cls.server.__exit__()
        cls.folder.cleanup()

    @classmethod
    def certificate(cls):
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
        command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
        command += ["-keyout", cls.home / "key.pem", "-out", cls.home / "cert.pem"]
        subprocess.run(command, check=True, capture_output=True)

    @classmethod
    def run_in_background(cls, *command):
        with open(cls.home / f"{pathlib.Path(command[0]).name}.log", "ab") as log:
            process = subprocess.Popen(command, cwd=cls.home, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        cls.running.append(process)

    @classmethod
    def await_listener(cls, port):
        deadline = time.monotonic() + START_LIMIT
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                logs = "".join(log.read_text(errors="replace") for log in cls.home.glob("*.log"))
                assert time.monotonic() < deadline, f"nothing listens on {port}\n{logs}"
                time.sleep(0.02)

    def get(self, port, path, **headers):
        context = ssl.create_default_context(cafile=self.home / "cert.pem")
        request = urllib.request.Request(f"https://localhost:{port}{path}", headers=headers)
        return urllib.request.urlopen(request, timeout=START_LIMIT, context=context)

    def test_plays_and_holds_what_is_not_there_yet(self):
        with self.get(self.live, "/live/show/index.m3u8") as reply:
            playlist = next(line for line in reply.read().decode().splitlines() if line.startswith("source.m3u8"))
        with self.get(self.live, f"/live/show/{playlist}") as reply:
            text = reply.read().decode()
        hint = re.search(r'EXT-X-PRELOAD-HINT:TYPE=PART,URI="(\d+/source/(\d+)\.(\d+)\.m4s)"', text)
        glue = "&" if "?" in playlist else "?"
        with self.get(self.live, f"/live/show/{playlist}{glue}_HLS_msn={hint[2]}&_HLS_part={hint[3]}") as reply:
            self.assertIn(hint[1], reply.read().decode())
        with self.get(self.live, f"/live/show/{hint[1]}") as reply:
            part = reply.read()
        with self.get(self.live, f"/live/show/{hint[1]}") as reply:
            self.assertEqual(reply.read(), part)
            self.again(reply)
        command = ["ffprobe", "-v", "error", "-tls_verify", "0", "-show_entries", "stream=codec_name", "-of", "csv=p=0"]
        command.append(f"https://localhost:{self.live}/live/show/index.m3u8")
        probe = subprocess.run(command, capture_output=True, text=True, timeout=PROBE_LIMIT)
        self.assertIn("h264", probe.stdout, probe.stderr)

    def again(self, reply):
        """What the second answer for one part has to show."""

    def test_speaks_http_2(self):
        command = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_version} %{http_code}", "--cacert", self.home / "cert.pem"]
        command.append(f"https://localhost:{self.live}/watch/show")
        self.assertEqual(subprocess.run(command, capture_output=True, text=True).stdout, "2 200")

    def test_takes_offers(self):
        context = ssl.create_default_context(cafile=self.home / "cert.pem")
        headers = {"Content-Type": "application/sdp"}
        url = f"https://localhost:{self.live}/whip/another"
        request = urllib.request.Request(url, b"rubbish", headers, method="POST")
        with self.assertRaises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=START_LIMIT, context=context)
        self.assertEqual(refused.exception.headers["Content-Type"], "application/problem+json")
        self.assertEqual(refused.exception.code, 400)

    def test_the_operator_sees_what_happens_as_it_happens(self):
        with self.get(self.operator, "/api/v1/live", Authorization=f"Bearer {TOKEN}") as reply:
            seen = [json.loads(line[6:]) for line in (reply.readline() for _ in range(9)) if line.startswith(b"data: ")]
        self.assertEqual(seen[0]["rows"][0]["name"], "show")
        self.assertGreater(len(seen), 1)
        with self.get(self.operator, "/") as reply:
            self.assertIn(b"Headwater", reply.read())


class Nginx(Proxied, unittest.TestCase):
    @classmethod
    def start(cls):
        live, operator = free_port(), free_port()
        site = (ROOT / "config/proxy/nginx.conf").read_text()
        for old, new in [
            ("127.0.0.1:8080", cls.server.http.split("//")[1]),
            ("127.0.0.1:8081", cls.admin.split("//")[1]),
            ("/var/cache/nginx/headwater", str(cls.home / "cache")),
        ]:
            assert old in site, old
            site = site.replace(old, new)
        site = re.sub(r"/etc/letsencrypt/live/[^/]+/fullchain.pem", str(cls.home / "cert.pem"), site)
        site = re.sub(r"/etc/letsencrypt/live/[^/]+/privkey.pem", str(cls.home / "key.pem"), site)
        for port in (live, operator):
            site = site.replace("listen 443 ssl", f"listen 127.0.0.1:{port} ssl", 1)
        site = re.sub(r"server_name \S+;", "server_name localhost;", site)
        (cls.home / "site.conf").write_text(site)
        (cls.home / "nginx.conf").write_text(
            f"daemon off;\npid {cls.home}/pid;\nerror_log stderr;\nevents {{}}\n"
            f"http {{ access_log off; client_body_temp_path {cls.home}/body; proxy_temp_path {cls.home}/proxy;"
            f" fastcgi_temp_path {cls.home}/fastcgi; uwsgi_temp_path {cls.home}/uwsgi; scgi_temp_path {cls.home}/scgi;"
            " include site.conf; }\n"
        )
        # Its workers are another user's where it is root's.
        cls.home.chmod(0o755)
        nginx = shutil.which("nginx") or "/usr/sbin/nginx"
        cls.run_in_background(nginx, "-e", "stderr", "-p", str(cls.home), "-c", "nginx.conf")
        for port in (live, operator):
            cls.await_listener(port)
        return live, operator

    def again(self, reply):
        self.assertEqual(reply.headers["X-Cache"], "HIT")


class Caddy(Proxied, unittest.TestCase):
    @classmethod
    def start(cls):
        live, operator = free_port(), free_port()
        site = (ROOT / "config/proxy/Caddyfile").read_text()
        certificate = f"tls {cls.home}/cert.pem {cls.home}/key.pem"
        for old, new in [
            ("127.0.0.1:8080", cls.server.http.split("//")[1]),
            ("127.0.0.1:8081", cls.admin.split("//")[1]),
            ("live.example.org {", f"https://localhost:{live} {{\n\t{certificate}"),
            ("admin.example.org {", f"https://localhost:{operator} {{\n\t{certificate}"),
        ]:
            assert old in site, old
            site = site.replace(old, new)
        quiet = "{\n\tadmin off\n\tauto_https off\n}\n"
        (cls.home / "Caddyfile").write_text(quiet + site)
        cls.run_in_background("env", f"HOME={cls.home}", "caddy", "run", "--config", str(cls.home / "Caddyfile"))
        for port in (live, operator):
            cls.await_listener(port)
        return live, operator


if __name__ == "__main__":
    unittest.main()
