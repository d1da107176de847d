// The one clock of a viewer: which frame of a video is on the screen, and how to get to another.
//
// A frame's number is the time of the picture times the frame rate, asked of the browser for every
// picture that it shows. Without a video, or with one that cannot be played, frames are stepped
// through and played alone.

const USUAL_FPS = 25; // to play maps at where nobody knows the rate
const EARLY = 0.125; // of a frame; see `frameAt`

export class Clock {
  /**
   * video: may be null. on: {frame(n), state(), size(width, height), broken()}, called when the
   * picture on the screen is another one, playing begins or ends, and so on.
   */
  constructor(video, { frame, count, fps, speed, signal, on }) {
    this.video = video;
    this.frame = this.wanted = frame;
    this.count = count;
    this.fps = fps;
    this.signal = signal;
    this.on = on;
    this.isBroken = false;
    this.runsAlone = false;
    this.setSpeed(speed);
  }

  /** Once whoever listens is ready to. */
  start() {
    if (this.video) this.watch();
    else this.show(this.wanted);
  }

  get hasFilm() {
    const { video } = this;
    return Boolean(video && !this.isBroken && !video.error && video.readyState > 0 && this.fps > 0);
  }

  get isPlaying() {
    return this.hasFilm ? !this.video.paused && !this.video.ended : this.runsAlone;
  }

  /** Where a step starts, and what a link names: what is seen while it plays, else what was last
   * asked for. */
  get now() {
    return this.isPlaying ? this.frame : this.wanted;
  }

  setSpeed(speed) {
    this.speed = speed;
    if (!this.video) return;
    this.video.defaultPlaybackRate = speed; // it holds over a reload of the file, too
    this.video.playbackRate = speed;
  }

  /** To a frame. While the video is still on its way to one, only the last wish counts. */
  go(frame) {
    this.wanted = this.within(frame);
    if (!this.hasFilm) {
      this.stopAlone();
      this.show(this.wanted);
      return;
    }
    this.video.pause();
    if (!this.video.seeking) this.seek();
  }

  toggle() {
    if (this.hasFilm) {
      if (this.isPlaying) this.video.pause();
      else this.video.play().catch(() => this.on.state()); // stopped before it began
    } else if (!this.video || this.isBroken) {
      if (this.runsAlone) this.stopAlone();
      else this.runAlone();
    }
  }

  /** Without a film: the frames one after the other, at its rate. */
  runAlone() {
    const rate = this.fps || USUAL_FPS;
    let at = this.wanted < this.count - 1 ? this.wanted : 0;
    let before = null;
    this.runsAlone = true;
    this.on.state();
    const tick = (now) => {
      if (!this.runsAlone || this.signal.aborted) return;
      if (before !== null) at += ((now - before) / 1000) * rate * this.speed;
      before = now;
      if (Math.floor(at) !== this.frame) this.show(Math.floor(at));
      if (at < this.count - 1) requestAnimationFrame(tick);
      else this.stopAlone();
    };
    requestAnimationFrame(tick);
  }

  stopAlone() {
    if (!this.runsAlone) return;
    this.runsAlone = false;
    this.on.state();
  }

  within(frame) {
    return Math.max(0, Math.min(this.count - 1, frame));
  }

  /**
   * The frame of a picture by its time. Firefox gives the first picture after a seek the time that was
   * sought, the middle of its frame, which must not be rounded up to the next.
   */
  frameAt(mediaTime) {
    return Math.round(mediaTime * this.fps - EARLY);
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
        this.show(this.frameAt(picture.mediaTime));
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
    // What was shown last and what the film stopped at may be a picture apart: it settles on the
    // one that was named.
    listen("pause", () => {
      if (this.hasFilm && !video.ended && !video.seeking) this.seek();
    });
    listen("error", () => this.broken());
    listen("loadedmetadata", () => this.begin());
    if (video.error) this.broken();
    else if (video.readyState > 0) this.begin();
  }

  begin() {
    if (!this.video.videoWidth) {
      this.broken(); // sound alone, or a picture in a codec that this browser leaves out
      return;
    }
    if (!this.fps) this.fps = this.count / this.video.duration;
    this.on.size(this.video.videoWidth, this.video.videoHeight);
    this.go(this.wanted);
  }

  broken() {
    this.isBroken = true;
    this.on.broken();
    this.show(this.wanted);
  }
}
