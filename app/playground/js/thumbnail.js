/** Small copies of pictures for the history. */

import { element } from "./dom.js";

const SIZE = { resizeWidth: 128, resizeQuality: "high" };

/** @returns {Promise<?Blob>} a JPEG, 128 pixels wide; null if the browser cannot read it */
export const thumbnail = async (picture) => {
  try {
    const bitmap = await createImageBitmap(picture, SIZE);
    const { width, height } = bitmap;
    const canvas = element("canvas", { width, height });
    canvas.getContext("2d").drawImage(bitmap, 0, 0);
    return await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.8));
  } catch {
    return null;
  }
};
