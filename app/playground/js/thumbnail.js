/** Small copies of pictures for the history. */

const SIDE = 128; // pixels

/**
 * @param {Blob} picture
 * @returns {Promise<?Blob>} a JPEG of at most 128x128, on white; null if the browser cannot read it
 */
export const thumbnail = async (picture) => {
  try {
    const bitmap = await createImageBitmap(picture);
    const scale = Math.min(1, SIDE / Math.max(bitmap.width, bitmap.height));
    const canvas = document.createElement("canvas");
    canvas.width = Math.max(1, Math.round(bitmap.width * scale));
    canvas.height = Math.max(1, Math.round(bitmap.height * scale));
    const context = canvas.getContext("2d");
    context.fillStyle = "white";
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.imageSmoothingQuality = "high";
    context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    bitmap.close();
    return await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.8));
  } catch {
    return null;
  }
};
