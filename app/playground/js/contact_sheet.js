/** A comparison as one PNG: the pictures with their strengths and stops, prompt and seed below. */

const CELL = 512; // pixels, the longer side of a picture
const GAP = 12;
const MARGIN = 24;
const FONT = 20;
const LINE = 28;
const AXIS = 150; // width of the column of strengths
const FOOTER_LINES = 5;
const MAX_PROMPT = 2000; // characters, more than the footer has room for
const [PAPER, INK, EMPTY] = ["#ffffff", "#1b1b22", "#eeeef2"];

/** @returns {Promise<Blob>} a PNG; a cell without a picture shows its state */
export const contactSheet = async (cells) => {
  const decode = ({ picture }) => picture && createImageBitmap(picture);
  const bitmaps = await Promise.all(cells.map(decode));
  const canvas = document.createElement("canvas");
  const context = canvas.getContext("2d");
  const size = layout(cells, bitmaps.find(Boolean) ?? { width: 1, height: 1 });
  const font = `${FONT}px system-ui, sans-serif`;
  context.font = font;
  const width = size.width - 2 * MARGIN;
  const footer = wrapped(footerText(cells), (text) => context.measureText(text).width, width);
  canvas.width = size.width;
  canvas.height = size.bottom + (footer.length + 1) * LINE + MARGIN;
  Object.assign(context, { font, textBaseline: "middle", fillStyle: PAPER });
  context.fillRect(0, 0, canvas.width, canvas.height);
  drawAxes(context, cells, size);
  cells.forEach((cell, index) => drawCell(context, cell, bitmaps[index], size));
  context.textAlign = "left";
  footer.forEach((line, index) => context.fillText(line, MARGIN, size.bottom + (index + 1) * LINE));
  bitmaps.forEach((bitmap) => bitmap?.close());
  return new Promise((resolve, reject) => {
    const done = (blob) => (blob ? resolve(blob) : reject(new Error("The sheet is too large.")));
    canvas.toBlob(done, "image/png");
  });
};

/** Where the cells are; all have the aspect ratio of `picture`. Never enlarges it. */
export const layout = (cells, picture) => {
  const scale = Math.min(1, CELL / Math.max(picture.width, picture.height));
  const cellWidth = Math.max(Math.round(picture.width * scale), 160);
  const cellHeight = Math.max(Math.round(picture.height * scale), 60);
  const columns = Math.max(...cells.map(({ column }) => column)) + 1;
  const rows = Math.max(...cells.map(({ row }) => row)) + 1;
  return {
    ...{ cellWidth, cellHeight },
    width: 2 * MARGIN + AXIS + columns * (cellWidth + GAP),
    bottom: MARGIN + LINE + GAP + rows * (cellHeight + GAP),
    left: (column) => MARGIN + AXIS + column * (cellWidth + GAP),
    top: (row) => MARGIN + LINE + GAP + row * (cellHeight + GAP),
  };
};

const drawAxes = (context, cells, { cellWidth, cellHeight, left, top }) => {
  context.fillStyle = INK;
  for (const { row, column, strength, stop } of cells) {
    context.textAlign = "center";
    const middle = left(column) + cellWidth / 2;
    if (row === 0) context.fillText(`stop ${stop}`, middle, MARGIN + LINE / 2, cellWidth);
    context.textAlign = "left";
    const centre = top(row) + cellHeight / 2;
    if (column === 0) context.fillText(`strength ${strength}`, MARGIN, centre, AXIS - GAP);
  }
};

const drawCell = (context, { row, column, state }, bitmap, size) => {
  const [x, y] = [size.left(column), size.top(row)];
  if (!bitmap) {
    context.fillStyle = EMPTY;
    context.fillRect(x, y, size.cellWidth, size.cellHeight);
    context.fillStyle = INK;
    context.textAlign = "center";
    const text = state === "stopped" ? "not sent" : state;
    context.fillText(text, x + size.cellWidth / 2, y + size.cellHeight / 2, size.cellWidth);
    return;
  }
  const scale = Math.min(size.cellWidth / bitmap.width, size.cellHeight / bitmap.height, 1);
  const [width, height] = [bitmap.width * scale, bitmap.height * scale];
  context.imageSmoothingQuality = "high";
  const [inset, drop] = [(size.cellWidth - width) / 2, (size.cellHeight - height) / 2];
  context.drawImage(bitmap, x + inset, y + drop, width, height);
};

const footerText = ([{ values }]) => {
  const names = ["seed", "cn_type", "steps", "guidance", "sampler", "scheduler", "profile"];
  const given = names.filter((name) => values[name] !== undefined);
  const loras = (values.loras ?? []).map(({ name, scale }) => `LoRA ${name} ${scale ?? 1}`);
  const facts = [...given.map((name) => `${name} ${values[name]}`), ...loras].join(" · ");
  return `${facts}\n${String(values.prompt ?? "").slice(0, MAX_PROMPT)}`;
};

/** How many letters of a text fit into the width, at least one. */
const fitting = (letters, measure, width) => {
  let count = letters.length;
  while (count > 1 && measure(letters.slice(0, count).join("")) > width) count -= 1;
  return count;
};

/**
 * Lines of at most `width`; the last one that is shown ends with … where the text goes on.
 * @param {(text: string) => number} measure
 */
export const wrapped = (text, measure, width, maxLines = FOOTER_LINES) => {
  const lines = [];
  for (const paragraph of text.split("\n")) {
    let rest = [...paragraph.replace(/\s+/g, " ").trim()];
    while (rest.length && lines.length <= maxLines) {
      const count = fitting(rest, measure, width);
      const space = rest.lastIndexOf(" ", count);
      const end = count < rest.length && space > 0 ? space : count;
      lines.push(rest.slice(0, end).join(""));
      rest = rest.slice(rest[end] === " " ? end + 1 : end);
    }
  }
  if (lines.length <= maxLines) return lines;
  const last = [...lines[maxLines - 1]];
  const end = fitting(last, (start) => measure(`${start}…`), width);
  return [...lines.slice(0, maxLines - 1), `${last.slice(0, end).join("")}…`];
};
