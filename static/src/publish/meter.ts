// How loud it is, ten times a second: 0 is silence, 1 clips.

export class Meter {
  private context: AudioContext | null = null;
  private analyser: AnalyserNode | null = null;
  private samples = new Float32Array(0);

  follow(stream: MediaStream | null): void {
    void this.context?.close();
    this.context = null;
    this.analyser = null;
    if (!stream || stream.getAudioTracks().length === 0) return;
    this.context = new AudioContext();
    this.analyser = this.context.createAnalyser();
    // 170 ms at 48 kHz: more than lies between two looks, so that nothing loud is missed.
    this.analyser.fftSize = 8192;
    this.samples = new Float32Array(this.analyser.fftSize);
    this.context.createMediaStreamSource(stream).connect(this.analyser);
  }

  get level(): number {
    if (!this.analyser) return 0;
    this.analyser.getFloatTimeDomainData(this.samples);
    let peak = 0;
    for (const sample of this.samples) peak = Math.max(peak, Math.abs(sample));
    // From -60 dB to 0 dB, as ears have it.
    return peak < 0.001 ? 0 : 1 + (20 * Math.log10(peak)) / 60;
  }
}
