"""The admin API is held against its own OpenAPI document: schemathesis makes calls out of it, good and bad, and judges
the answers.

Run by scripts/test clients, or: python3 -m unittest test_admin_api in this folder, with schemathesis of requirements.txt
in target/python. ADMIN_API_EXAMPLES: cases for each call, 12 unless told; a run by hand takes hundreds.
"""

import contextlib
import json
import os
import pathlib
import re
import subprocess
import tempfile
import threading
import unittest
import urllib.error
import urllib.request

from headwater import ROOT, Headwater

PYTHON = ROOT / "target/python/bin/python"
TOKEN = "a-token-for-schemathesis-alone"
KEY = "a-key-for-publishers-alone"
STREAM, ENDED = "show", "ended"
EXAMPLES = os.environ.get("ADMIN_API_EXAMPLES", "12")
RUN_LIMIT = int(os.environ.get("ADMIN_API_LIMIT", "300"))  # s; 40 with 12 examples on two idle cores
EXIT_LIMIT = 20  # s from a drain to the server's end
# They never end; tests/admin_api.rs listens to them.
ENDLESS = "^/api/v1/(events|live)$"
FLAGS = [
    "--admin-token", TOKEN, "--webrtc-listen", "127.0.0.1:0",
    # All the wrong tokens come from one address; who guesses is tested elsewhere.
    "--access-failed-keys", "1000000",
    "--transcode-rungs", '["90p:150k"]', "--transcode-mode", "rung", "--transcode-preset", "ultrafast",
]  # fmt: skip
CLIP = ["-f", "lavfi", "-i", "testsrc2=size=160x90:rate=10", "-f", "lavfi", "-i", "sine=frequency=440"]


class Publisher:
    """Publishes a small picture again whenever the server has closed the publisher, as an encoder that reconnects."""

    def __init__(self, url):
        self.command = ["ffmpeg", "-v", "error", "-re", *CLIP, "-c:v", "libx264", "-preset", "ultrafast", "-g", "10"]
        self.command += ["-c:a", "aac", "-f", "flv", url]
        self.over = threading.Event()
        self.process = None
        self.lock = threading.Lock()

    def __enter__(self):
        self.thread = threading.Thread(target=self._publish, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *exception):
        with self.lock:
            self.over.set()
            if self.process:
                self.process.kill()
        self.thread.join()

    def _publish(self):
        while not self.over.is_set():
            with self.lock:
                if self.over.is_set():
                    return
                self.process = subprocess.Popen(
                    self.command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
                )
            self.process.wait()
            self.over.wait(0.2)


class AdminApi(unittest.TestCase):
    def setUp(self):
        if not PYTHON.exists():
            self.fail(
                f"{PYTHON} is missing: scripts/test clients puts schemathesis there, from PyPI or a mirror of it "
                "(tests/clients/requirements.txt)"
            )
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        # A key that calls cannot revoke, so that streams which were ended can come back.
        (folder / "headwater.toml").write_text(f'[[access.keys]]\nstream = "*"\nsecret = "{KEY}"\n')
        self.server = self.enterContext(Headwater("--config", str(folder / "headwater.toml"), *FLAGS))
        self.admin = self.server.listener("admin")

    def call(self, method, path, body=None):
        """Status and body of one call as the operator."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        request = urllib.request.Request(self.admin + path, data=data, headers=headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refusal:
            return refusal.code, refusal.read().decode()

    def test_every_answer_is_as_the_document_says(self):
        """All calls but those that never end, in every phase; streams are kicked and ended many times meanwhile."""
        self.enterContext(Publisher(f"{self.server.rtmp}/{STREAM}?key={KEY}"))
        self.enterContext(Publisher(f"{self.server.rtmp}/{ENDED}?key={KEY}"))
        self.server.playlist(STREAM)
        for body in ({"stream": "show-*", "label": "Ann"}, {"grant": "play", "label": "Bob"}):
            self.assertEqual(self.call("POST", "/api/v1/keys", body)[0], 201)
        reports = ROOT / "target/test-logs/admin-api"
        reports.mkdir(parents=True, exist_ok=True)
        command = [str(PYTHON), "-m", "schemathesis.cli", "run", f"{self.admin}/api/v1/openapi.json"]
        command += ["--header", f"Authorization: Bearer {TOKEN}", "--no-color"]
        # The call that ends the server is made alone, below.
        command += ["--exclude-path-regex", ENDLESS, "--exclude-operation-id", "postDrain"]
        command += ["--max-examples", EXAMPLES, "--seed", "1", "--generation-database", "none"]
        command += ["--phases", "examples,coverage,fuzzing,stateful", "--continue-on-failure", "--request-timeout", "15"]
        command += ["--report", "har", "--report-har-path", str(reports / "calls.har")]
        environment = {**os.environ, "SCHEMATHESIS_HOOKS": "admin_api_hooks", "ADMIN_API_STREAM": STREAM}
        environment["ADMIN_API_ENDED"] = ENDED
        environment["PYTHONPATH"] = str(pathlib.Path(__file__).parent)
        run = subprocess.run(command, cwd=reports, env=environment, capture_output=True, text=True, timeout=RUN_LIMIT)
        (reports / "run.log").write_text(run.stdout + run.stderr)
        print(run.stdout[run.stdout.find("= SUMMARY") :] or run.stdout[-2000:])
        self.assertEqual(run.returncode, 0, f"{run.stdout[-12000:]}{run.stderr[-2000:]}\n{self.server.words()}")
        cases = re.search(r"(\d+) generated", run.stdout)
        self.assertIsNotNone(cases, run.stdout[-2000:])
        self.assertGreater(int(cases[1]), 500)
        self.assertEqual(self.call("GET", "/api/v1/version")[0], 200, "it serves on")
        self.assertNotIn("panicked", self.server.words())

    def test_the_call_that_ends_the_server(self):
        with self.assertRaises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(urllib.request.Request(self.admin + "/api/v1/drain", method="POST"), timeout=10)
        self.assertEqual(refused.exception.code, 401)
        self.assertEqual(self.call("POST", "/api/v1/drain?now=1")[0], 400)
        self.assertEqual(self.call("PUT", "/api/v1/drain")[0], 405)
        self.assertEqual(self.call("POST", "/api/v1/drain"), (202, ""))
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.server.process.wait(EXIT_LIMIT)
        self.assertEqual(self.server.process.returncode, 0, self.server.words())


if __name__ == "__main__":
    unittest.main()
