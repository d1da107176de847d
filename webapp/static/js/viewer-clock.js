// The one clock of a viewer: which frame of a video is on the screen, and how to get to another.
//
// A frame's number is the time of the picture times the frame rate, asked of the browser for every
// picture that it shows. Without a video, or with one that cannot be played, frames are stepped
// through alone.

export class Clock {
  /**
   * video: may be null. on: {frame(n), state(), size(width, height), broken()}, called when the
   * picture on the screen is another one, playing begins or ends, and so on.
   */
  constructor(video, { frame, count, fps, signal, on }) {
    this.video = video;
    this.frame = this.wanted = frame;
    this.count = count;
    this.fps = fps;
    this.signal = signal;
    this.on = on;
  }

  /** Once whoever listens is ready to. */
  start() {
    if (this.video) this.watch();
    else this.show(this.wanted);
  }

  get canPlay() {
    return Boolean(this.video && !this.video.error && this.video.readyState > 0 && this.fps > 0);
  }

  get isPlaying() {
    return this.canPlay && !this.video.paused && !this.video.ended;
  }

  /** Where a step starts: what is seen while it plays, else what was last asked for. */
  get now() {
    return this.isPlaying ? this.frame : this.wanted;
  }

  /** To a frame. While the video is still on its way to one, only the last wish counts. */
  go(frame) {
    this.wanted = this.within(frame);
    if (!this.canPlay) {
      this.show(this.wanted);
      return;
    }
    this.video.pause();
    if (!this.video.seeking) this.seek();
  }

  toggle() {
    if (!this.canPlay) return;
    if (this.isPlaying) this.video.pause();
    else this.video.play().catch(() => this.on.state()); // stopped before it began
  }

  within(frame) {
    return Math.max(0, Math.min(this.count - 1, frame));
  }

  seek() {
    this.sought = this.wanted;
    this.video.currentTime = (this.wanted + 0.5) / this.fps; // the middle, so rounding is no matter
  }

  show(frame) {
    this.frame = this.within(frame);
    if (this.isPlaying) this.wanted = this.frame;
    this.on.frame(this.frame);
  }

  watch() {
    const { video, signal } = this;
    const listen = (name, act) => video.addEventListener(name, act, { signal });
    if (video.requestVideoFrameCallback) {
      const shown = (_, picture) => {
        if (signal.aborted) return;
        this.show(Math.round(picture.mediaTime * this.fps));
        video.requestVideoFrameCallback(shown);
      };
      video.requestVideoFrameCallback(shown);
    } else {
      const shown = () => {
        if (signal.aborted) return;
        if (this.isPlaying) this.show(Math.floor(video.currentTime * this.fps + 0.01));
        requestAnimationFrame(shown);
      };
      requestAnimationFrame(shown);
    }
    listen("seeked", () => {
      if (this.sought !== this.wanted) this.seek();
      else if (video.paused) this.show(this.wanted);
    });
    for (const name of ["play", "pause", "ended"]) listen(name, () => this.on.state());
    listen("error", () => this.broken());
    listen("loadedmetadata", () => this.begin());
    if (video.error) this.broken();
    else if (video.readyState > 0) this.begin();
  }

  begin() {
    if (!this.fps) this.fps = this.count / this.video.duration;
    this.on.size(this.video.videoWidth, this.video.videoHeight);
    this.go(this.wanted);
  }

  broken() {
    this.on.broken();
    this.show(this.wanted);
  }
}
