// The playhead on the curve below a viewer: a line at its frame, and a click goes to another one.

export class Playhead {
  /** chart: a figure.chart of charts.js whose x axis counts frames. */
  constructor(chart, go, signal) {
    this.chart = chart;
    this.go = go;
    this.frame = 0;
    this.listening = false;
    this.line = document.createElement("div");
    this.line.className = "viewer-playhead";
    this.line.hidden = true;
    chart.querySelector(".chart-body").append(this.line);
    chart.addEventListener("vadlab:figure", () => this.drawn(), { signal });
    if (chart.vadlab?.figure) this.drawn();
  }

  get plot() {
    return this.chart.vadlab.plot;
  }

  drawn() {
    if (!this.listening && this.plot.on) {
      this.listening = true;
      this.plot.on("plotly_afterplot", () => this.place());
      this.plot.on("plotly_click", ({ event, points }) => {
        const axis = points[0].xaxis;
        const left = this.plot.getBoundingClientRect().left + axis._offset;
        this.go(Math.round(axis.p2d(event.clientX - left)));
      });
    }
    this.place();
  }

  show(frame) {
    this.frame = frame;
    this.place();
  }

  place() {
    const axis = this.plot?._fullLayout?.xaxis;
    const rows = this.plot?._fullLayout?.yaxis;
    const at = axis?.d2p ? axis.d2p(this.frame) : -1;
    this.line.hidden = !axis?._length || at < 0 || at > axis._length;
    if (this.line.hidden) return;
    this.line.style.transform = `translateX(${axis._offset + at}px)`;
    this.line.style.top = `${rows._offset}px`;
    this.line.style.height = `${rows._length}px`;
  }
}
