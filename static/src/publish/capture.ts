// What is sent: a camera, a screen, or a screen with the camera in its corner, and a microphone.

export type Source = 'camera' | 'screen' | 'both' | 'none';

export interface Wishes {
  source: Source;
  camera: string;
  microphone: string;
  /** Of the picture, in pixels. */
  height: number;
}

/** What is captured; `stop()` lets go of every device. */
export interface Capture {
  stream: MediaStream;
  stop: () => void;
}

export async function capture(wishes: Wishes): Promise<Capture> {
  const taken: MediaStreamTrack[] = [];
  const stop = () => taken.forEach((track) => track.stop());
  try {
    const tracks: MediaStreamTrack[] = [];
    const keep = (stream: MediaStream) => {
      taken.push(...stream.getTracks());
      return stream;
    };
    const size = { height: { ideal: wishes.height }, width: { ideal: Math.round((wishes.height * 16) / 9) } };
    const screen =
      wishes.source === 'screen' || wishes.source === 'both'
        ? keep(await navigator.mediaDevices.getDisplayMedia({ video: { ...size, frameRate: { ideal: 30 } }, audio: true }))
        : null;
    const wantsCamera = wishes.source === 'camera' || wishes.source === 'both';
    const video = wantsCamera ? { ...size, frameRate: { ideal: 30 }, ...exact(wishes.camera) } : false;
    const audio = wishes.microphone === 'none' ? false : { ...exact(wishes.microphone), echoCancellation: false, channelCount: { ideal: 2 } };
    const devices = video || audio ? keep(await navigator.mediaDevices.getUserMedia({ video, audio })) : null;
    const camera = devices?.getVideoTracks()[0];
    const shown = screen?.getVideoTracks()[0];
    if (shown && camera) {
      const both = composed(shown, camera, wishes.height);
      taken.push(both.track);
      tracks.push(both.track);
    } else if (shown ?? camera) {
      tracks.push((shown ?? camera) as MediaStreamTrack);
    }
    const sounds = [...(devices?.getAudioTracks() ?? []), ...(screen?.getAudioTracks() ?? [])];
    const sound = sounds.length > 1 ? mixed(sounds) : sounds[0];
    if (sound) tracks.push(sound);
    return { stream: new MediaStream(tracks), stop };
  } catch (error) {
    stop();
    throw error;
  }
}

/** The devices there are, once the visitor has let us see them. */
export async function devices(): Promise<{ cameras: MediaDeviceInfo[]; microphones: MediaDeviceInfo[] }> {
  const all = await navigator.mediaDevices.enumerateDevices();
  return { cameras: all.filter((d) => d.kind === 'videoinput'), microphones: all.filter((d) => d.kind === 'audioinput') };
}

function exact(id: string): { deviceId?: { exact: string } } {
  return id === '' ? {} : { deviceId: { exact: id } };
}

/** The screen with the camera in its corner, drawn anew for every picture. */
function composed(screen: MediaStreamTrack, camera: MediaStreamTrack, height: number): { track: MediaStreamTrack } {
  const canvas = document.createElement('canvas');
  canvas.height = height;
  canvas.width = Math.round((height * 16) / 9);
  const pen = canvas.getContext('2d');
  const players = [screen, camera].map((track) => {
    const video = document.createElement('video');
    video.muted = true;
    video.srcObject = new MediaStream([track]);
    void video.play();
    return video;
  });
  const [back, front] = players;
  const draw = () => {
    if (screen.readyState === 'ended' || !pen || !back || !front) return;
    fit(pen, back, 0, 0, canvas.width, canvas.height);
    const width = canvas.width / 4;
    const margin = canvas.width / 64;
    fit(pen, front, canvas.width - width - margin, canvas.height - (width * 9) / 16 - margin, width, (width * 9) / 16);
    back.requestVideoFrameCallback(draw);
  };
  draw();
  // A screen that does not change gives no new pictures; viewers need some all the same.
  const clock = window.setInterval(draw, 100);
  const [track] = canvas.captureStream(30).getVideoTracks();
  if (!track) throw new Error('this browser cannot put two pictures together');
  screen.addEventListener('ended', () => clearInterval(clock));
  return { track };
}

function fit(pen: CanvasRenderingContext2D, video: HTMLVideoElement, x: number, y: number, width: number, height: number): void {
  const { videoWidth, videoHeight } = video;
  if (videoWidth === 0) return;
  const scale = Math.min(width / videoWidth, height / videoHeight);
  const [w, h] = [videoWidth * scale, videoHeight * scale];
  pen.fillRect(x, y, width, height);
  pen.drawImage(video, x + (width - w) / 2, y + (height - h) / 2, w, h);
}

function mixed(tracks: MediaStreamTrack[]): MediaStreamTrack | undefined {
  const context = new AudioContext();
  const out = context.createMediaStreamDestination();
  for (const track of tracks) context.createMediaStreamSource(new MediaStream([track])).connect(out);
  return out.stream.getAudioTracks()[0];
}
