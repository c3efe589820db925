"""The Kubernetes manifests: that their parts fit each other, and the server."""

import pathlib
import re
import subprocess
import tempfile
import textwrap
import unittest
import urllib.request

from headwater import PROGRAM, ROOT, Headwater

MANIFESTS = (ROOT / "config/kubernetes/headwater.yaml").read_text()


class Kubernetes(unittest.TestCase):
    def config(self, folder):
        """The configuration in the manifests, in a file."""
        found = re.search(r"^  headwater\.toml: \|\n((?:    .*\n|\n)+)", MANIFESTS, re.M)
        file = pathlib.Path(folder) / "headwater.toml"
        file.write_text(textwrap.dedent(found[1]))
        return file

    def test_the_configuration_is_one(self):
        with tempfile.TemporaryDirectory() as folder:
            command = [PROGRAM, "check", "--diff", "--config", self.config(folder)]
            environment = {"HEADWATER_DATA_DIR": folder}
            for name, value in re.findall(r"name: (HEADWATER_\w+)\n\s+value: (.*)", MANIFESTS):
                value = value.strip("'").replace("$(NODE_ADDRESS)", "192.0.2.1")
                environment[name] = folder if name == "HEADWATER_DATA_DIR" else value
            for name in re.findall(r"name: (HEADWATER_\w+)\n\s+valueFrom", MANIFESTS):
                environment[name] = "0123456789abcdef"
            checked = subprocess.run(command, capture_output=True, text=True, env=environment)
            self.assertEqual(checked.returncode, 0, checked.stderr)
            for option in ("public_addresses", "metrics_token", "trusted_proxies"):
                self.assertIn(option, checked.stdout)

    def test_probes_ask_what_is_answered(self):
        paths = set(re.findall(r"httpGet: \{ path: (\S+),", MANIFESTS))
        self.assertEqual(paths, {"/healthz", "/readyz"})
        with Headwater() as server:
            for path in paths:
                with urllib.request.urlopen(server.http + path, timeout=10) as reply:
                    self.assertEqual(reply.status, 200)

    def test_ports_that_are_named_are_there(self):
        ports = set(re.findall(r"\{ name: ([\w-]+), containerPort:", MANIFESTS))
        used = set(re.findall(r"targetPort: ([\w-]+)", MANIFESTS)) | set(re.findall(r"- \{ port: ([\w-]+)", MANIFESTS))
        used |= set(re.findall(r", port: ([a-z-]+) \}$", MANIFESTS, re.M))
        self.assertEqual(used - ports, set())

    def test_a_drain_may_finish(self):
        seconds = {
            "grace": r"terminationGracePeriodSeconds: (\d+)",
            "pause": r'command: \[sleep, "(\d+)"\]',
            "drain": r'drain = "(\d+)s"',
        }
        grace, pause, drain = (int(re.search(pattern, MANIFESTS)[1]) for pattern in seconds.values())
        self.assertGreater(grace, pause + drain + 10)

    def test_everything_is_of_one_name(self):
        for labels in re.findall(r"(?:matchLabels|labels|selector): \{ ([^}]*) \}", MANIFESTS):
            self.assertRegex(labels, r"^(app.kubernetes.io/name: headwater|kubernetes.io/metadata.name: monitoring)$")


if __name__ == "__main__":
    unittest.main()
