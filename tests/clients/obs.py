#!/usr/bin/env python3
"""Runs a real OBS Studio without a display, publishing to an RTMP server, and says how OBS judged it.

    tests/clients/obs.py rtmp://127.0.0.1:1935/live demo --seconds 20 --keyframes 2 --screenshot obs.png

Prints one JSON object: obs-websocket's GetStreamStatus before the stream was stopped, and `started_after`, the
seconds from OBS's start to its first bytes. OBS gets a throw-away configuration folder and an X server of its own
(Xvfb); nothing of the user's own OBS is read or written. The picture is 640x360 at 30 frames a second, which
software rendering keeps up with on two cores.
"""

import argparse
import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time

from obs_websocket import ObsWebSocket

START_LIMIT = 60  # s until OBS streams: 2 s on an idle machine, ten times that on a busy one
STOP_LIMIT = 15  # s until OBS has said its farewell


class Obs:
    """One OBS, streaming. A context manager: leaving it stops the stream and ends OBS and its X server."""

    def __init__(self, server, key, keyframes="auto", bitrate=1200):
        self.server, self.key, self.keyframes, self.bitrate = server, key, keyframes, bitrate

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            home = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="obs-")))
            self.log = home / "obs.log"
            self.display = stack.enter_context(xvfb())
            self.port = free_port()
            self._configure(home)
            began = time.monotonic()
            stack.enter_context(self._process(home))
            self.websocket = self._connect()
            stack.callback(self.websocket.close)
            stack.callback(self._stop)
            self._wait(lambda: self.status()["outputBytes"] > 0, START_LIMIT, "OBS did not start to stream")
            self.started_after = round(time.monotonic() - began, 2)
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *exception):
        return self.stack.__exit__(*exception)

    def status(self):
        """GetStreamStatus: outputActive, outputReconnecting, outputBytes, outputTotalFrames, outputSkippedFrames, ..."""
        return self.websocket.request("GetStreamStatus")

    def screenshot(self, path):
        """OBS's window, as a PNG."""
        command = ["ffmpeg", "-loglevel", "error", "-y", "-f", "x11grab", "-i", self.display, "-frames:v", "1", path]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)

    def _configure(self, home):
        source = home / "picture.mp4"
        make_picture(source)
        for path, text in configuration(source, self).items():
            file = home / "obs-studio" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)

    @contextlib.contextmanager
    def _process(self, home):
        environment = os.environ | {
            "XDG_CONFIG_HOME": str(home),
            "XDG_RUNTIME_DIR": str(home),
            "DISPLAY": self.display,
            "QT_QPA_PLATFORM": "xcb",
            "LIBGL_ALWAYS_SOFTWARE": "1",
        }
        command = ["obs", "--startstreaming", "--multi", "--disable-shutdown-check", "--disable-updater"]
        command += ["--profile", "rig", "--collection", "rig", "--websocket_ipv4_only"]
        with open(self.log, "wb") as log:
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        try:
            self.process = process
            yield
        finally:
            end(process)

    def _connect(self):
        websocket = None

        def try_connect():
            nonlocal websocket
            # Refused, or closed during the upgrade, for as long as OBS is still loading its plug-ins.
            with contextlib.suppress(OSError):
                websocket = ObsWebSocket(self.port)
            return websocket

        self._wait(try_connect, START_LIMIT, "obs-websocket did not come up")
        return websocket

    def _stop(self):
        with contextlib.suppress(RuntimeError, OSError):
            self.websocket.request("StopStream")
            self._wait(lambda: not self.status()["outputActive"], STOP_LIMIT, "OBS did not stop the stream")

    def _wait(self, condition, limit, complaint):
        deadline = time.monotonic() + limit
        while not condition():
            if self.process.poll() is not None:
                complaint = f"OBS ended with {self.process.returncode}"
                deadline = 0
            if time.monotonic() > deadline:
                raise TimeoutError(f"{complaint}; its log ends:\n{self.log.read_text(errors='replace')[-3000:]}")
            time.sleep(0.2)


def configuration(source, obs):
    """The files below obs-studio/, by path. Keyframes 'auto' is what a newcomer has: simple output, nothing touched."""
    simple = obs.keyframes == "auto"
    output = "Simple" if simple else "Advanced"
    files = {
        "global.ini": f"""
            [General]
            FirstRun=true
            LastVersion=486539266
            EnableAutoUpdates=false
            [Basic]
            Profile=rig
            ProfileDir=rig
            SceneCollection=rig
            SceneCollectionFile=rig
            [OBSWebSocket]
            FirstLoad=false
            ServerEnabled=true
            ServerPort={obs.port}
            AlertsEnabled=false
            AuthRequired=false
            """,
        "basic/profiles/rig/basic.ini": f"""
            [General]
            Name=rig
            [Output]
            Mode={output}
            Reconnect=true
            RetryDelay=1
            MaxRetries=20
            [SimpleOutput]
            VBitrate={obs.bitrate}
            ABitrate=128
            StreamEncoder=x264
            [AdvOut]
            Encoder=obs_x264
            TrackIndex=1
            Track1Bitrate=128
            [Video]
            BaseCX=640
            BaseCY=360
            OutputCX=640
            OutputCY=360
            FPSType=0
            FPSCommon=30
            [Audio]
            SampleRate=48000
            ChannelSetup=Stereo
            """,
        "basic/profiles/rig/service.json": {
            "type": "rtmp_custom",
            "settings": {"server": obs.server, "key": obs.key, "use_auth": False},
        },
        "basic/scenes/rig.json": scenes(source),
    }
    if not simple:
        encoder = {"bitrate": obs.bitrate, "rate_control": "CBR", "keyint_sec": int(obs.keyframes), "preset": "veryfast"}
        files["basic/profiles/rig/streamEncoder.json"] = encoder
    return {path: ini(value) if isinstance(value, str) else json.dumps(value) for path, value in files.items()}


def ini(text):
    return "\n".join(line.strip() for line in text.strip().splitlines()) + "\n"


def scenes(source):
    picture = {
        "id": "ffmpeg_source",
        "name": "Picture",
        "mixers": 255,
        "volume": 1.0,
        "settings": {"is_local_file": True, "local_file": str(source), "looping": True, "hw_decode": False},
    }
    item = {"name": "Picture", "id": 1, "visible": True, "pos": {"x": 0.0, "y": 0.0}, "scale": {"x": 1.0, "y": 1.0}}
    scene = {"id": "scene", "name": "Scene", "settings": {"id_counter": 1, "custom_size": False, "items": [item]}}
    return {
        "name": "rig",
        "current_scene": "Scene",
        "current_program_scene": "Scene",
        "scene_order": [{"name": "Scene"}],
        "sources": [scene, picture],
    }


def make_picture(path):
    """Twenty seconds of a moving picture with a counter, and a tone with a beep each second."""
    command = ["ffmpeg", "-loglevel", "error", "-f", "lavfi", "-i", "testsrc2=size=640x360:rate=30"]
    command += ["-f", "lavfi", "-i", "sine=frequency=440:beep_factor=4:sample_rate=48000", "-t", "20"]
    command += ["-c:v", "libx264", "-preset", "ultrafast", "-g", "30", "-c:a", "aac", "-ac", "2", str(path)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


@contextlib.contextmanager
def xvfb():
    """An X server on a display that was free; yields its name."""
    read, write = os.pipe()
    command = ["Xvfb", "-displayfd", str(write), "-screen", "0", "1280x800x24", "-nolisten", "tcp"]
    process = subprocess.Popen(command, pass_fds=[write], stderr=subprocess.DEVNULL)
    os.close(write)
    try:
        with os.fdopen(read) as pipe:
            number = pipe.readline().strip()
        if not number:
            raise RuntimeError("Xvfb did not start")
        yield f":{number}"
    finally:
        end(process)


def end(process):
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("server", help="for example rtmp://127.0.0.1:1935/live")
    parser.add_argument("key", help="the stream key, as one types it into OBS")
    parser.add_argument("--seconds", type=float, default=10, help="how long to stream (default 10)")
    parser.add_argument("--keyframes", default="auto", help="auto (OBS's default, 250 frames), or seconds")
    parser.add_argument("--bitrate", type=int, default=1200, help="video, kbit/s (default 1200)")
    parser.add_argument("--screenshot", help="PNG of OBS's window, taken before the end")
    options = parser.parse_args()
    with Obs(options.server, options.key, options.keyframes, options.bitrate) as obs:
        time.sleep(options.seconds)
        if options.screenshot:
            obs.screenshot(options.screenshot)
        status = obs.status() | {"started_after": obs.started_after}
    json.dump(status, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
