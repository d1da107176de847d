// Loaded before Plotly. Plotly styles some SVG elements (color bars, heat maps, bold text) with
// setAttribute("style", ...), which `style-src 'self'` refuses. The same text set through the CSSOM
// is allowed, so for SVG elements that one call is sent there. Nothing else changes.
(function () {
  "use strict";
  const original = Element.prototype.setAttribute;
  SVGElement.prototype.setAttribute = function (name, value) {
    if (name === "style") this.style.cssText = value;
    else original.call(this, name, value);
  };
})();
