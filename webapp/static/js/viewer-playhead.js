// What lies over the curve below a viewer: the playhead at its frame, the threshold to be dragged,
// and clicks that go to another frame. It also says where on the screen which frames are.

export class Playhead {
  /**
   * chart: a figure.chart of charts.js whose x axis counts frames and whose y axis is the score.
   * on: {go(frame), limit(threshold), band({left, width, range})}.
   */
  constructor(chart, { on, signal }) {
    this.chart = chart;
    this.on = on;
    this.frame = 0;
    this.threshold = 0;
    this.listening = false;
    const body = chart.querySelector(".chart-body");
    this.line = part(body, "viewer-playhead");
    this.limit = part(body, "viewer-limit");
    this.limit.title = "Drag the threshold";
    this.limit.append(document.createElement("span"));
    this.drag(signal);
    chart.addEventListener("vadlab:figure", () => this.drawn(), { signal });
    if (chart.vadlab?.figure) this.drawn();
  }

  get plot() {
    return this.chart.vadlab.plot;
  }

  /** The two axes, once there is a drawing. */
  get axes() {
    const { xaxis, yaxis } = this.chart.vadlab?.plot?._fullLayout || {};
    return xaxis?._length && yaxis?._length ? { xaxis, yaxis } : null;
  }

  drawn() {
    if (!this.listening && this.plot.on) {
      this.listening = true;
      this.plot.on("plotly_afterplot", () => this.place());
      this.plot.on("plotly_click", ({ event, points }) => {
        const axis = points[0].xaxis;
        const left = this.plot.getBoundingClientRect().left + axis._offset;
        this.on.go(Math.round(axis.p2d(event.clientX - left)));
      });
    }
    this.place();
  }

  show(frame) {
    this.frame = frame;
    this.placeLine();
  }

  cut(threshold) {
    this.threshold = threshold;
    this.placeLimit();
  }

  place() {
    this.placeLine();
    this.placeLimit();
    const { axes } = this;
    if (!axes) return;
    const { left } = this.plot.getBoundingClientRect();
    this.on.band({
      left: left + axes.xaxis._offset,
      width: axes.xaxis._length,
      range: axes.xaxis.range.map(Number),
    });
  }

  placeLine() {
    const { axes } = this;
    const at = axes ? axes.xaxis.d2p(this.frame) : -1;
    this.line.hidden = !axes || at < 0 || at > axes.xaxis._length;
    if (this.line.hidden) return;
    this.line.style.transform = `translateX(${axes.xaxis._offset + at}px)`;
    this.line.style.top = `${axes.yaxis._offset}px`;
    this.line.style.height = `${axes.yaxis._length}px`;
  }

  placeLimit() {
    const { axes } = this;
    const at = axes ? axes.yaxis.d2p(this.threshold) : -1;
    this.limit.hidden = !axes || at < 0 || at > axes.yaxis._length;
    if (this.limit.hidden) return;
    this.limit.style.transform = `translateY(${axes.yaxis._offset + at}px)`;
    this.limit.style.left = `${axes.xaxis._offset}px`;
    this.limit.style.width = `${axes.xaxis._length}px`;
    this.limit.firstChild.textContent = this.threshold.toFixed(2);
  }

  /** With the pointer; the slider beside the video does the same for keys. */
  drag(signal) {
    const move = ({ clientY }) => {
      const { axes } = this;
      if (!axes) return;
      const top = this.plot.getBoundingClientRect().top + axes.yaxis._offset;
      const value = axes.yaxis.p2d(clientY - top);
      this.on.limit(Math.round(100 * Math.max(0, Math.min(1, value))) / 100);
    };
    const listen = (name, act) => this.limit.addEventListener(name, act, { signal });
    listen("pointerdown", (event) => {
      event.preventDefault();
      this.limit.setPointerCapture(event.pointerId);
    });
    listen("pointermove", (event) => {
      if (this.limit.hasPointerCapture(event.pointerId)) move(event);
    });
  }
}

function part(body, name) {
  const element = document.createElement("div");
  element.className = name;
  element.hidden = true;
  element.setAttribute("aria-hidden", "true");
  body.append(element);
  return element;
}
