// A click on a point whose customdata is an address of this server goes there.

document.addEventListener("vadlab:figure", (event) => {
  const { plot } = event.target.vadlab;
  if (plot.dataset.links) return;
  plot.dataset.links = "yes";
  plot.on("plotly_click", ({ points }) => {
    const address = points[0]?.customdata;
    if (typeof address === "string" && address.startsWith("/")) location.assign(address);
  });
});
