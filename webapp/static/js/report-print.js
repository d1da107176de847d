// Charts are drawn for the width of the window. On paper they take the width of the page: an SVG
// with a viewBox is scaled by the sheet (css/reports.css); without one it would be cut.

window.addEventListener("beforeprint", () => {
  for (const plot of document.querySelectorAll(".report .chart-plot")) {
    const { clientWidth: width, clientHeight: height } = plot;
    if (!width || !height) continue;
    plot.style.aspectRatio = `${width} / ${height}`;
    for (const svg of plot.querySelectorAll(".main-svg")) {
      svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    }
  }
});

window.addEventListener("afterprint", () => {
  for (const plot of document.querySelectorAll(".report .chart-plot")) {
    plot.style.aspectRatio = "";
    plot.querySelectorAll(".main-svg").forEach((svg) => svg.removeAttribute("viewBox"));
  }
});
