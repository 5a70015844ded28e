// Plays a cine at its rate; a frame that has not come yet is waited for.

export class Player {
  playing = false;
  private due = 0;

  constructor(
    private readonly rate: () => number,
    private readonly step: () => boolean, // show the next frame if it is there
    private readonly told: (playing: boolean) => void,
  ) {}

  toggle(): void {
    if (this.playing) this.stop();
    else {
      this.playing = true;
      this.told(true);
      this.due = performance.now();
      requestAnimationFrame((now) => this.tick(now));
    }
  }

  stop(): void {
    if (!this.playing) return;
    this.playing = false;
    this.told(false);
  }

  private tick(now: number): void {
    if (!this.playing) return;
    if (now >= this.due && this.step()) this.due = Math.max(this.due + 1000 / this.rate(), now - 1000 / this.rate());
    requestAnimationFrame((next) => this.tick(next));
  }
}
