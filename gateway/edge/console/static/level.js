// A loudness meter for a stream, by its root mean square.

const FLOOR_DB = -60;

export class LevelMeter {
  #context = new AudioContext();
  #analyser;
  #samples;
  #meter;
  #frame;

  constructor(stream, meter) {
    this.#meter = meter;
    this.#analyser = this.#context.createAnalyser();
    this.#analyser.fftSize = 1024;
    this.#samples = new Float32Array(this.#analyser.fftSize);
    this.#context.createMediaStreamSource(stream).connect(this.#analyser);
    this.#draw();
  }

  close() {
    cancelAnimationFrame(this.#frame);
    this.#meter.value = 0;
    this.#context.close();
  }

  #draw() {
    this.#analyser.getFloatTimeDomainData(this.#samples);
    const power = this.#samples.reduce((sum, sample) => sum + sample * sample, 0);
    const level_db = 10 * Math.log10(power / this.#samples.length + 1e-12);
    this.#meter.value = Math.max(0, 1 - level_db / FLOOR_DB);
    this.#frame = requestAnimationFrame(() => this.#draw());
  }
}
