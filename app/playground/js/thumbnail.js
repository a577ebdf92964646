/** Small copies of pictures for the history. */

import { element } from "./dom.js";

const SIDE = 128; // pixels

/**
 * @param {Blob} picture
 * @returns {Promise<?Blob>} a JPEG of at most 128x128, on white; null if the browser cannot read it
 */
export const thumbnail = async (picture) => {
  try {
    const bitmap = await createImageBitmap(picture);
    const scale = Math.min(1, SIDE / Math.max(bitmap.width, bitmap.height));
    const width = Math.round(bitmap.width * scale) || 1;
    const height = Math.round(bitmap.height * scale) || 1;
    const canvas = element("canvas", { width, height });
    const context = canvas.getContext("2d");
    context.fillStyle = "white";
    context.fillRect(0, 0, width, height);
    context.imageSmoothingQuality = "high";
    context.drawImage(bitmap, 0, 0, width, height);
    bitmap.close();
    return await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.8));
  } catch {
    return null;
  }
};
