/**
 * The request of the form as code: curl, Python with the client `segmind`, JavaScript with fetch.
 * Each snippet submits to v2, waits, and writes picture-0.jpeg, picture-1.jpeg, ... of all samples.
 * The key comes from the environment variable API_KEY; the snippet never holds it.
 *
 * @typedef {{origin: string, values: Object, picture: ?Picture, defaults?: Object}} Call
 *   picture: of api.js; with `href`, the snippet downloads the file from there first, for a sample.
 *   defaults: values of the API that need not be written.
 */

import { wireOf } from "./wire.js";

const MODEL = "flux-controlnet";
const NO_PICTURE = { kind: "file", name: "photo.jpg" };

/**
 * @param {"curl" | "python" | "javascript"} language
 * @returns {string} code that runs as it is
 */
export const snippet = (language, { origin, values: chosen, picture, defaults = {} }) => {
  const { values, uploads } = wireOf(chosen, picture ?? NO_PICTURE);
  const given = Object.entries(values).filter(
    ([name, value]) =>
      value !== undefined && value !== null && value !== "" && value !== defaults[name],
  );
  const files = uploads.map(({ name, title }) => ({ field: name, name: fileName(title) }));
  if (picture?.href) files[0].href = picture.href;
  return WRITERS[language](origin.replace(/\/+$/, ""), given, files);
};

/** A name in the current folder that no program takes for an option, a path or standard input. */
const fileName = (name) => {
  const base = (name || NO_PICTURE.name).split("/").pop().replace(/\p{Cc}/gu, "_");
  return base === "" || base.startsWith("-") ? `_${base}` : base;
};

// ---- curl

/** A word of the shell: nothing is special inside single quotes but the single quote. */
const shellWord = (text) => `'${String(text).replaceAll("'", "'\\''")}'`;

/** curl reads a file name up to a comma or semicolon unless it is in quotes. */
const curlFile = ({ field, name }) =>
  shellWord(`${field}=@"${name.replace(/[\\"]/g, "\\$&")}"`);

// No comments: an interactive zsh does not know them. No exclamation marks: an interactive bash
// reads them in double quotes as history. The subshell keeps `set -e` from ending the terminal.
const curl = (host, values, files) => {
  const text = (value) => (typeof value === "object" ? JSON.stringify(value) : value);
  const [file] = files;
  const parts = [
    ...files.map((one) => `-F ${curlFile(one)}`),
    ...values.map(([name, value]) => `--form-string ${shellWord(`${name}=${text(value)}`)}`),
  ];
  return lines(
    "(",
    "set -eu",
    `host=${shellWord(host)}`,
    'key="x-api-key: ${API_KEY:?is missing, run: export API_KEY=...}"',
    file?.href && `curl -sSf -o ${shellWord(file.name)} ${shellWord(file.href)}`,
    `answer=$(curl -sS "$host/v2/${MODEL}" -H "$key" \\`,
    `    ${parts.join(" \\\n    ")})`,
    `id=$(printf '%s\\n' "$answer" | sed -nE 's/.*"request_id": *"([^"]+)".*/\\1/p')`,
    `while [ -n "$id" ]; do`,
    `    answer=$(curl -sS "$host/v2/requests/$id" -H "$key")`,
    `    printf '%s\\n' "$answer" | grep -qE '"status": *"(QUEUED|PROCESSING)"' || break`,
    "    sleep 1",
    "done",
    `if printf '%s\\n' "$answer" | grep -qvE '"status": *"COMPLETED"'; then`,
    `    printf '%s\\n' "$answer" >&2`,
    "    exit 1",
    "fi",
    `printf '%s\\n' "$answer" | grep -oE '"url": *"[^"]+/[0-9]+\\.[a-z]+[?][^"]+' |`,
    `    sed -E 's/.*"//' | while read -r url; do`,
    `    name=picture-$(basename "\${url%%[?]*}")`,
    `    curl -sSf -o "$name" "$url"`,
    `    echo "$name"`,
    "done",
    ")",
  );
};

// ---- Python

/** JSON's escapes mean the same in a Python string. */
const pythonValue = (value) =>
  typeof value === "boolean" ? (value ? "True" : "False") : JSON.stringify(value);

const python = (host, values, files) => {
  const [file] = files;
  const read = ({ name }) =>
    `base64.b64encode(Path(${JSON.stringify(name)}).read_bytes()).decode()`;
  const { controls } = Object.fromEntries(values);
  const inList = files.filter(({ field }) => field.startsWith("controls"));
  return lines(
    "# pip install segmind; export API_KEY=...",
    file && "import base64",
    "import os",
    "from pathlib import Path",
    "",
    "import httpx",
    "from segmind import SegmindClient",
    "",
    file?.href && `sample = httpx.get(${JSON.stringify(file.href)}).raise_for_status()`,
    file?.href && `Path(${JSON.stringify(file.name)}).write_bytes(sample.content)`,
    "client = SegmindClient(",
    '    api_key=os.environ["API_KEY"],',
    `    base_url=${JSON.stringify(`${host}/v1`)},`,
    "    timeout=120,",
    ")",
    controls && `controls = ${JSON.stringify(controls)}`,
    ...inList.map((one) => `${one.field.replace(/\.(\w+)$/, '["$1"]')} = ${read(one)}`),
    "job = client.submit_async(",
    `    "${MODEL}",`,
    ...files.filter((one) => !inList.includes(one)).map((one) => `    ${one.field}=${read(one)},`),
    ...values.map(
      ([name, value]) => `    ${name}=${name === "controls" ? name : pythonValue(value)},`,
    ),
    ")",
    'for image in job.wait(timeout=3600)["images"]:',
    `    path = Path("picture-" + image["file_name"])`,
    `    path.write_bytes(httpx.get(image["url"], timeout=120).raise_for_status().content)`,
    "    print(path)",
  );
};

// ---- JavaScript

const javascript = (host, values, files) =>
  lines(
    files.some(({ href }) => !href)
      ? "// node 18 or newer: save as picture.mjs, then API_KEY=... node picture.mjs"
      : "// A browser, or node 18 or newer: save as picture.mjs, then API_KEY=... node picture.mjs",
    `const host = ${JSON.stringify(host)};`,
    'const inNode = typeof process === "object";',
    'const files = inNode && (await import("node:fs/promises"));',
    'const key = inNode ? process.env.API_KEY : prompt("API key");',
    'if (!key) throw new Error("API_KEY is missing");',
    "",
    "const call = async (path, options) => {",
    "  const response = await fetch(host + path, options);",
    "  const body = await response.json();",
    "  if (!response.ok) throw new Error(body.error);",
    "  return body;",
    "};",
    'const headers = { "x-api-key": key };',
    `const values = ${jsonText(values)};`,
    ...files.flatMap(readImage),
    `let job = await call("/v2/${MODEL}", {`,
    '  method: "POST",',
    '  headers: { ...headers, "content-type": "application/json" },',
    "  body: JSON.stringify(values),",
    "});",
    'while (job.status !== "COMPLETED") {',
    "  await new Promise((resolve) => setTimeout(resolve, 1000));",
    "  job = await call(`/v2/requests/${job.request_id}`, { headers });",
    "}",
    "for (const { url, file_name } of job.images) {",
    "  if (inNode) {",
    "    const response = await fetch(url);",
    "    await files.writeFile(`picture-${file_name}`, Buffer.from(await response.arrayBuffer()));",
    "    console.log(`picture-${file_name}`);",
    "  } else {",
    '    document.body.append(Object.assign(new Image(), { src: url, alt: file_name }));',
    "  }",
    "}",
  );

/** As base64: FormData would change the line breaks of the prompt. */
const readImage = ({ field, name, href }) =>
  href
    ? [
        `const sample = await (await fetch(${JSON.stringify(href)})).arrayBuffer();`,
        "const bytes = Array.from(new Uint8Array(sample));",
        `values.${field} = btoa(bytes.map((byte) => String.fromCharCode(byte)).join(""));`,
      ]
    : [`values.${field} = await files.readFile(${JSON.stringify(name)}, "base64");`];

const jsonText = (values) => JSON.stringify(Object.fromEntries(values), null, 2);

/** The lines that there are; null and undefined are left out, an empty text is an empty line. */
const lines = (...all) => `${all.filter((line) => typeof line === "string").join("\n")}\n`;

const WRITERS = { curl, python, javascript };
