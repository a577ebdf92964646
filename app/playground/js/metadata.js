/**
 * The parameters that a produced picture carries: JSON in the PNG text `flux-controlnet`, or in the
 * EXIF UserComment of a JPEG or WebP (app/core/images/metadata.py writes them).
 *
 * Reads only the heads of chunks and the text itself, never the pixels. Any other file gives null.
 */

/** Which lists are read, with what each element must have. */
const LISTS = { controls: "type", loras: "name" };
const KEYWORD = "flux-controlnet";
const INFOTEXT_KEYWORD = "parameters";
const MAX_CHUNKS = 1000;
const MAX_TEXT = 1 << 20; // bytes
const EXIF_IFD = 0x8769;
const USER_COMMENT = 0x9286;
const ASCII_CODE = "ASCII\0\0\0"; // before the text of a UserComment

/**
 * @param {Blob} blob any file
 * @returns {Promise<?Object>} values by the API's names. A seed that JavaScript cannot represent is
 *   a string. Without `prompt` if the file has only its hash.
 */
export const parametersOf = async (blob) => {
  try {
    const head = latin1(await read(blob, 0, 12));
    const format = FORMATS.find(({ matches }) => matches(head));
    return format ? parsed(await format.texts(blob)) : null;
  } catch {
    return null; // a damaged or foreign file
  }
};

const parsed = ({ json, infotext }) => {
  if (!json) return null;
  const exact = json.replace(/"seed": ?(\d{16,})(?=\s*[,}])/g, '"seed": "$1"');
  const { parameters } = JSON.parse(exact);
  if (typeof parameters !== "object" || parameters === null) return null;
  const values = Object.fromEntries(Object.entries(parameters).filter(isRead));
  // A long prompt is only in the other text, before its last line and the LoRAs.
  const end = infotext?.lastIndexOf("\nSteps: ") ?? -1;
  if (!("prompt" in values) && end > 0) {
    const loras = new RegExp(`( <lora:[^>]*>){${values.loras?.length ?? 0}}$`);
    values.prompt = infotext.slice(0, end).replace(loras, "");
  }
  return values;
};

const isRead = ([name, value]) => {
  const main = LISTS[name];
  if (main) return Array.isArray(value) && value.every((each) => each?.[main]);
  return ["string", "number", "boolean"].includes(typeof value) && name !== "prompt_sha256";
};

/** `length` bytes from `start`; RangeError where the file ends earlier. */
const read = async (blob, start, length) => {
  const data = new Uint8Array(await blob.slice(start, start + length).arrayBuffer());
  if (data.length < length) throw new RangeError("the file is cut off");
  return data;
};

const view = (data) => new DataView(data.buffer, data.byteOffset, data.length);

/** Not by TextDecoder, whose latin1 is Windows-1252. */
const latin1 = (data) => Array.from(data, (byte) => String.fromCharCode(byte)).join("");

// ---- PNG

const pngTexts = async (blob) => {
  const found = {};
  let at = 8;
  for (let count = 0; count < MAX_CHUNKS && at + 12 <= blob.size; count += 1) {
    const head = await read(blob, at, 8);
    const [length, type] = [view(head).getUint32(0), latin1(head.subarray(4))];
    if (type === "IDAT") break; // the pixels; the server writes texts before them
    if (["tEXt", "iTXt"].includes(type) && length <= MAX_TEXT) {
      const [keyword, text] = pngText(type, await read(blob, at + 8, length));
      found[keyword] ??= text;
    }
    at += 12 + length;
  }
  return { json: found[KEYWORD], infotext: found[INFOTEXT_KEYWORD] };
};

/** [keyword, text]; a compressed iTXt, which the server does not write, has no text. */
const pngText = (type, data) => {
  const keywordEnd = data.indexOf(0);
  const keyword = latin1(data.subarray(0, keywordEnd));
  if (type === "tEXt") return [keyword, latin1(data.subarray(keywordEnd + 1))];
  const languageEnd = data.indexOf(0, keywordEnd + 3);
  const start = data.indexOf(0, languageEnd + 1) + 1;
  const compressed = data[keywordEnd + 1] !== 0;
  return [keyword, compressed ? undefined : new TextDecoder().decode(data.subarray(start))];
};

// ---- JPEG

const jpegTexts = async (blob) => {
  let at = 2;
  for (let count = 0; count < MAX_CHUNKS; count += 1) {
    const head = view(await read(blob, at, 4));
    const [marker, length] = [head.getUint16(0), head.getUint16(2)];
    if (marker < 0xff00 || marker === 0xffda) break; // the pixels
    if (marker === 0xffe1) {
      const json = userComment(await read(blob, at + 4, length - 2));
      if (json) return { json };
    }
    at += 2 + length;
  }
  return {};
};

// ---- WebP

const webpTexts = async (blob) => {
  let at = 12;
  for (let count = 0; count < MAX_CHUNKS && at + 8 <= blob.size; count += 1) {
    const head = await read(blob, at, 8);
    const [type, length] = [latin1(head.subarray(0, 4)), view(head).getUint32(4, true)];
    if (type === "EXIF" && length <= MAX_TEXT) {
      return { json: userComment(await read(blob, at + 8, length)) };
    }
    at += 8 + length + (length % 2);
  }
  return {};
};

// ---- EXIF

/** The ASCII UserComment of an EXIF block, with or without the prefix of a JPEG segment. */
const userComment = (block) => {
  const data = latin1(block.subarray(0, 6)) === "Exif\0\0" ? block.subarray(6) : block;
  const order = latin1(data.subarray(0, 2));
  if (order !== "II" && order !== "MM") return undefined;
  const [tiff, little] = [view(data), order === "II"];
  const details = field(tiff, tiff.getUint32(4, little), EXIF_IFD, little);
  const comment = details && field(tiff, details.value, USER_COMMENT, little);
  if (!comment) return undefined;
  const text = latin1(data.subarray(comment.value, comment.value + comment.count));
  return text.startsWith(ASCII_CODE) ? text.slice(ASCII_CODE.length) : undefined;
};

/** {count, value} of a tag in the directory at `offset`; value: a number or where the bytes are. */
const field = (tiff, offset, tag, little) => {
  const count = tiff.getUint16(offset, little);
  for (let at = offset + 2; at < offset + 2 + 12 * count; at += 12) {
    if (tiff.getUint16(at, little) === tag) {
      return { count: tiff.getUint32(at + 4, little), value: tiff.getUint32(at + 8, little) };
    }
  }
  return undefined;
};

const FORMATS = [
  { matches: (head) => head.startsWith("\x89PNG\r\n\x1a\n"), texts: pngTexts },
  { matches: (head) => head.startsWith("\xff\xd8"), texts: jpegTexts },
  { matches: (head) => /^RIFF[^]{4}WEBP/.test(head), texts: webpTexts },
];
