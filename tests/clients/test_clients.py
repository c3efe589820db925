"""Broadcasters' own programs publish to a server; what comes out is read as a player reads it.

Run by scripts/test clients, or: HEADWATER=target/debug/headwater python3 -m unittest discover -s tests/clients
"""

import contextlib
import pathlib
import subprocess
import tempfile
import unittest

from headwater import ROOT, Headwater
from obs import Obs, end

SECRET = "correct-horse-battery-staple"
PICTURE = ["-f", "lavfi", "-i", "testsrc2=size=640x360:rate=30"]
TONE = ["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"]


@contextlib.contextmanager
def publisher(command):
    """Runs a program that publishes until the end of the block; it must still run then."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        yield
        early = process.poll()
        if early is not None:
            words = process.stdout.read().decode(errors="replace")[-2000:]
            raise AssertionError(f"{command[0]} ended early with {early}:\n{words}")
    finally:
        end(process)
        process.stdout.close()


def ffmpeg(*arguments):
    return ["ffmpeg", "-hide_banner", "-loglevel", "warning", "-nostdin", "-re", *arguments]


def medium(name):
    """A file of scripts/media."""
    made = subprocess.run([ROOT / "scripts/media", name], check=True, capture_output=True, text=True)
    return made.stdout.splitlines()[-1]


class Clients(unittest.TestCase):
    def setUp(self):
        self.server = self.enterContext(Headwater())
        self.url = f"{self.server.rtmp}/show"

    def assert_plays(self, *kinds):
        """The stream has just these kinds of track, is low latency, and decodes without a complaint or a gap."""
        streams = self.server.streams("show")
        self.assertEqual(sorted(streams), sorted(kinds), self.server.words())
        codecs = {"video": "h264", "audio": "aac"}
        for kind, stream in streams.items():
            self.assertEqual(stream["codec_name"], codecs[kind])
        self.assertIn("#EXT-X-PART:", self.server.media_playlist("show"))
        times, complaints = self.server.decode("show", 6)
        self.assertEqual(complaints, [])
        # The sound is a variant of its own too.
        tracks = len(kinds) + ("video" in kinds and "audio" in kinds)
        self.assertEqual((len(times), {kind for kind, _ in times}), (tracks, set(kinds)))
        for kind, all_times in times.items():
            steps = [later - earlier for earlier, later in zip(all_times, all_times[1:])]
            self.assertGreater(len(steps), 100, f"{kind}: too few frames in 6 s")
            self.assertGreater(min(steps), 0, f"{kind}: time does not go forward")
            self.assertLess(max(steps), 0.1, f"{kind}: a gap")
        return streams

    def test_obs_as_installed(self):
        """Keyframe interval 'auto': one each 250 frames, with B-frames."""
        self.obs("auto")

    def test_obs_with_two_second_keyframes_and_a_key(self):
        self.server = self.enterContext(Headwater("--config", self.configuration_with_key()))
        self.obs("2", key=f"show?key={SECRET}")
        self.assertNotIn(SECRET, self.server.words())

    def test_a_wrong_key_is_refused_and_the_broadcaster_told(self):
        self.server = self.enterContext(Headwater("--config", self.configuration_with_key()))
        url = f"{self.server.rtmp}/show?key=guess"
        refused = subprocess.run(ffmpeg("-i", medium("plain"), "-c", "copy", "-f", "flv", url), capture_output=True, text=True)
        self.assertNotEqual(refused.returncode, 0)
        self.assertRegex(refused.stderr, "(?i)server error: .*key")
        self.assertNotIn(SECRET, self.server.words() + refused.stderr)

    def configuration_with_key(self):
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        (folder / "headwater.toml").write_text(f'[[access.keys]]\nstream = "show"\nsecret = "{SECRET}"\n')
        return str(folder / "headwater.toml")

    def obs(self, keyframes, key="show"):
        with Obs(self.server.rtmp, key, keyframes) as obs:
            streams = self.assert_plays("video", "audio")
            self.assertEqual((streams["video"]["width"], streams["video"]["height"]), (640, 360))
            status = obs.status()
        self.assertTrue(status["outputActive"], status)
        self.assertFalse(status["outputReconnecting"], status)
        self.assertGreater(status["outputTotalFrames"], 60, status)

    def test_gstreamer_rtmp2sink(self):
        video = "videotestsrc is-live=true ! video/x-raw,format=I420,width=640,height=360,framerate=30/1 ! "
        video += "x264enc tune=zerolatency speed-preset=ultrafast bitrate=1000 key-int-max=60 ! h264parse ! mux."
        audio = "audiotestsrc is-live=true ! audio/x-raw,rate=48000,channels=2 ! avenc_aac ! aacparse ! mux."
        mux = f"flvmux streamable=true name=mux ! rtmp2sink location={self.url}"
        with publisher(["gst-launch-1.0", "-q", *f"{mux} {video} {audio}".split()]):
            self.assert_plays("video", "audio")

    def test_ffmpeg_copies_a_file(self):
        with publisher(ffmpeg("-stream_loop", "-1", "-i", medium("plain"), "-c", "copy", "-f", "flv", self.url)):
            self.assert_plays("video", "audio")

    def test_ffmpeg_copies_a_file_with_b_frames(self):
        with publisher(ffmpeg("-stream_loop", "-1", "-i", medium("bframes"), "-c", "copy", "-f", "flv", self.url)):
            streams = self.assert_plays("video", "audio")
        self.assertGreater(streams["video"]["has_b_frames"], 0)

    def test_ffmpeg_encodes_live_with_b_frames(self):
        encoder = ["-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-g", "60", "-pix_fmt", "yuv420p", "-c:a", "aac"]
        with publisher(ffmpeg(*PICTURE, "-re", *TONE, *encoder, "-f", "flv", self.url)):
            streams = self.assert_plays("video", "audio")
        self.assertGreater(streams["video"]["has_b_frames"], 0)

    def test_ffmpeg_mono_at_44100(self):
        with publisher(ffmpeg("-stream_loop", "-1", "-i", medium("mono-44k"), "-c", "copy", "-f", "flv", self.url)):
            streams = self.assert_plays("video", "audio")
        self.assertEqual((streams["audio"]["sample_rate"], streams["audio"]["channels"]), ("44100", 1))

    def test_audio_only(self):
        with publisher(ffmpeg("-stream_loop", "-1", "-i", medium("audio-only"), "-c", "copy", "-f", "flv", self.url)):
            self.assert_plays("audio")

    def test_video_only(self):
        with publisher(ffmpeg("-stream_loop", "-1", "-i", medium("video-only"), "-c", "copy", "-f", "flv", self.url)):
            self.assert_plays("video")


if __name__ == "__main__":
    unittest.main()
