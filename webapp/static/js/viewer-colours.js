// The two colour scales of the viewer: scores 0 to 1 in inferno, differences -1 to 1 with white at
// zero. Both are fixed, so that a colour means the same in every frame, video and run.

// Inferno (van der Walt and Smith, CC0) as polynomials of degree 6 (Zucker, CC0), lowest first.
const INFERNO = [
  [0.000219, 0.106513, 11.602493, -41.703996, 77.162936, -71.319428, 25.131126],
  [0.001651, 0.563956, -3.972854, 17.436399, -33.402359, 32.626064, -12.242669],
  [-0.019481, 3.932712, -15.942394, 44.354145, -81.807309, 73.20952, -23.070325],
];
const CUT = 0.1; // its darkest tenth cannot be told from a shadow

/** [256 * 3] bytes: the colour of each score. */
export const SCORES = Uint8ClampedArray.from({ length: 768 }, (_, i) => {
  const x = CUT + ((1 - CUT) * Math.floor(i / 3)) / 255;
  return 255 * INFERNO[i % 3].reduceRight((sum, c) => sum * x + c, 0);
});

const LESS = [16, 88, 168]; // B is higher: blue; A is higher: orange, told apart by any eye
const MORE = [196, 78, 12];

/** [511 * 3] bytes: the colour of each difference of two score bytes, -255 first. */
export const DIFFERENCES = Uint8ClampedArray.from({ length: 1533 }, (_, i) => {
  const value = (Math.floor(i / 3) - 255) / 255;
  const end = (value < 0 ? LESS : MORE)[i % 3];
  return 255 + (end - 255) * Math.abs(value);
});
const FAINTEST = 0.35; // of a difference of nothing: white enough to be told from no map

/** How opaque a difference is, 0 to 255. */
export function differenceAlpha(difference, opacity) {
  return opacity * (255 * FAINTEST + (1 - FAINTEST) * Math.abs(difference));
}

/** Fill a canvas of 256 x 1 with a scale. */
export function paintScale(canvas, colours) {
  const context = canvas.getContext("2d");
  const image = context.createImageData(256, 1);
  const last = colours.length / 3 - 1;
  for (let i = 0; i < 256; i++) {
    const at = 3 * Math.round((i * last) / 255);
    image.data.set([...colours.subarray(at, at + 3), 255], 4 * i);
  }
  context.putImageData(image, 0, 0);
}
