"""The Debian package: what is in it, and that it serves."""

import os
import pathlib
import re
import subprocess
import tempfile
import unittest
import urllib.request

from headwater import PROGRAM, ROOT, Headwater

BUILD_LIMIT = 300  # s: strips and compresses a program of some 60 MB


class Package(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="headwater-package-")
        command = [ROOT / "scripts/package", "--binary", PROGRAM, "--output", cls.folder.name]
        made = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_LIMIT)
        assert made.returncode == 0, made.stderr + made.stdout
        (cls.package,) = pathlib.Path(cls.folder.name).glob("headwater_*.deb")
        cls.root = pathlib.Path(cls.folder.name) / "root"
        subprocess.run(["dpkg-deb", "-R", cls.package, cls.root], check=True)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def field(self, name):
        command = ["dpkg-deb", "--field", self.package, name]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    def test_says_what_it_is_and_needs(self):
        version = re.search(r'^version = "(.*)"', (ROOT / "Cargo.toml").read_text(), re.M)[1]
        self.assertEqual((self.field("Package"), self.field("Version")), ("headwater", version))
        for needed in ("libc6", "libgstreamer1.0-0", "ca-certificates"):
            self.assertIn(needed, self.field("Depends"))
        self.assertEqual((self.root / "DEBIAN/conffiles").read_text(), "/etc/headwater/headwater.toml\n")
        listing = subprocess.run(["dpkg-deb", "-c", self.package], capture_output=True, text=True, check=True).stdout
        for line in listing.splitlines():
            self.assertRegex(line, r"^[d-][rwx-]{9} root/root ", "everything belongs to root")

    def test_has_a_service_that_systemd_understands(self):
        unit = self.root / "lib/systemd/system/headwater.service"
        # Systemd looks whether the program is there: the one in the package stands in for it.
        shown = pathlib.Path(self.folder.name) / "headwater.service"
        shown.write_text(unit.read_text().replace("/usr/bin/headwater", str(self.root / "usr/bin/headwater")))
        verified = subprocess.run(["systemd-analyze", "verify", shown], capture_output=True, text=True, timeout=60)
        ours = [line for line in verified.stderr.splitlines() if "headwater" in line]
        self.assertEqual((verified.returncode, ours), (0, []), verified.stderr)

    def test_its_scripts_are_scripts(self):
        for script in ("postinst", "prerm", "postrm"):
            self.assertTrue(os.access(self.root / "DEBIAN" / script, os.X_OK), script)
            subprocess.run(["sh", "-n", self.root / "DEBIAN" / script], check=True)

    def test_serves_with_the_configuration_that_comes_with_it(self):
        config = self.root / "etc/headwater/headwater.toml"
        self.assertNotRegex(config.read_text(), re.compile(r"^[a-z]", re.M), "what nobody set follows the defaults")
        program = str(self.root / "usr/bin/headwater")
        with Headwater("--config", str(config), program=program) as server:
            with urllib.request.urlopen(f"{server.http}/readyz", timeout=10) as reply:
                self.assertEqual(reply.read(), b"ready\n")
            with urllib.request.urlopen(f"{server.http}/", timeout=10) as reply:
                self.assertIn(b"Headwater", reply.read())


if __name__ == "__main__":
    unittest.main()
