"""One Headwater for one test: free ports, a data folder of its own, and what a viewer asks of it."""

import collections
import json
import os
import pathlib
import re
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("HEADWATER", str(ROOT / "target/debug/headwater"))
START_LIMIT = 10  # s from start to the line that names the last listener
PLAYLIST_LIMIT = 30  # s from a publisher's start to its first playlist: a segment, on a busy machine
# ffmpeg's HLS reader reads the init segment again after each reload of a live playlist, whoever serves it, and says so.
RELOADED = "Found duplicated MOOV Atom"
PROBE_LIMIT = 60  # s for ffprobe or ffmpeg to read a few segments of a live stream


class Headwater:
    """A running server. A context manager: leaving it sends SIGTERM and waits."""

    def __init__(self, *arguments, program=PROGRAM):
        self.arguments = arguments
        self.program = program

    def __enter__(self):
        self.home = tempfile.TemporaryDirectory(prefix="headwater-")
        home = pathlib.Path(self.home.name)
        self.log = home / "log"
        command = [self.program, "--http-listen", "127.0.0.1:0", "--rtmp-listen", "127.0.0.1:0"]
        command += ["--admin-listen", "127.0.0.1:0", "--data-dir", str(home / "data"), *self.arguments]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(command, cwd=home, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            self.http = self._listener("http")
            self.rtmp = self._listener("rtmp")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.home.cleanup()

    def playlist_url(self, name):
        return f"{self.http}/live/{name}/index.m3u8"

    def playlist(self, name):
        """The multivariant playlist, as soon as there is one."""
        deadline = time.monotonic() + PLAYLIST_LIMIT
        while True:
            try:
                with urllib.request.urlopen(self.playlist_url(name), timeout=PLAYLIST_LIMIT) as reply:
                    return reply.read().decode()
            except urllib.error.HTTPError as refusal:
                if refusal.code not in (404, 503) or time.monotonic() > deadline:
                    raise AssertionError(f"no playlist of {name}: {refusal}\n{self.words()}") from None
            time.sleep(0.2)

    def media_playlist(self, name):
        """The first rendition's playlist."""
        lines = self.playlist(name).splitlines()
        rendition = next(line for line in lines if line and not line.startswith("#"))
        with urllib.request.urlopen(f"{self.http}/live/{name}/{rendition}", timeout=PLAYLIST_LIMIT) as reply:
            return reply.read().decode()

    def streams(self, name):
        """What ffprobe finds behind the playlist: codec_type -> its stream."""
        self.playlist(name)
        command = ["ffprobe", "-v", "error", "-show_streams", "-of", "json", self.playlist_url(name)]
        probe = subprocess.run(command, capture_output=True, text=True, timeout=PROBE_LIMIT)
        assert probe.returncode == 0, f"ffprobe: {probe.stderr}\n{self.words()}"
        return {stream["codec_type"]: stream for stream in json.loads(probe.stdout)["streams"]}

    def decode(self, name, seconds):
        """Decodes so much of every variant: the times of their frames by media type and track, and the lines of any complaint."""
        command = ["ffprobe", "-v", "repeat+warning", "-read_intervals", f"%+{seconds}", "-of", "json"]
        command += ["-show_entries", "frame=media_type,stream_index,pts_time", self.playlist_url(name)]
        decoder = subprocess.run(command, capture_output=True, text=True, timeout=PROBE_LIMIT)
        assert decoder.returncode == 0, f"ffprobe: {decoder.stderr}\n{self.words()}"
        times = collections.defaultdict(list)
        for frame in json.loads(decoder.stdout)["frames"]:
            times[frame["media_type"], frame["stream_index"]].append(float(frame["pts_time"]))
        return times, [line for line in decoder.stderr.splitlines() if RELOADED not in line]

    def words(self):
        """The server's own last words, for a failing test's message."""
        return "headwater's log ends:\n" + self.log.read_text(errors="replace")[-3000:]

    def _listener(self, scheme):
        deadline = time.monotonic() + START_LIMIT
        while time.monotonic() < deadline and self.process.poll() is None:
            found = re.search(rf"\b{scheme} listening on ([a-z]+://[^\s\"\x1b]+)", self.log.read_text(errors="replace"))
            if found:
                return found[1].rstrip("/")
            time.sleep(0.02)
        raise AssertionError(f"no {scheme} listener after {START_LIMIT} s\n{self.words()}")
