/** What a request will cost, before it is sent; shown only for keys with a budget. */

const MULTIPLE = 16;
const PIXELS_OF_A_UNIT = 1024 * 1024;
const UNKNOWN = [1024, 1024];
const MAX_SIDE = 4096;

const rounded = (side) => Math.ceil(side / MULTIPLE) * MULTIPLE;

/** The size of the result. input: see estimate. @returns {number[]} */
export const sizeOf = (valueOf, input, maxPixels = MAX_SIDE ** 2) => {
  if (!valueOf("use_input_img_dimension"))
    return [valueOf("custom_width"), valueOf("custom_height")];
  const [width, height] = input ?? UNKNOWN;
  const share = Math.sqrt(maxPixels / (width * height));
  const scale = Math.min(1, MAX_SIDE / Math.max(width, height), share);
  return [Math.floor(width * scale), Math.floor(height * scale)];
};

/** As models.evaluations.control_factor: the control with the widest window costs nothing. */
const controlFactor = (share, valueOf) => {
  const [strength, start, stop] = ["cn_strength", "cn_start", "cn_stop"].map(valueOf);
  const widths = [{ strength, start, stop }, ...(valueOf("controls") ?? [])]
    .filter((control) => control.strength > 0)
    .map((control) => control.stop - control.start)
    .sort((one, other) => other - one);
  return 1 + share * widths.slice(1).reduce((sum, width) => sum + width, 0);
};

/**
 * @param {number[]|null} input width and height of the picture, null if they are not known
 * @returns {number} credits; exact, but for samplers whose evaluations do not grow evenly
 */
export const estimate = (schema, valueOf, input) => {
  const { minimum, maximum } = schema.fields.find((field) => field.name === "steps");
  const [fewest, most] = schema.evaluations[valueOf("sampler")];
  const share = (valueOf("steps") - minimum) / (maximum - minimum);
  const evaluations = Math.round(fewest + share * (most - fewest));
  const [width, height] = sizeOf(valueOf, input, schema.maxPixels);
  const units =
    (rounded(width) * rounded(height) * evaluations * valueOf("samples")) / PIXELS_OF_A_UNIT;
  return units * controlFactor(schema.controlShare, valueOf) * schema.creditsPerWorkUnit;
};

export const creditsText = (amount) =>
  amount.toLocaleString("en", { maximumFractionDigits: amount < 100 ? 1 : 0 });
