// Calls of OpenAI's client for JavaScript: `node openai_client.cjs BASE_URL KEY PICTURE`. Prints what
// they gave as JSON.
const fs = require("node:fs");
const OpenAI = require("openai");

async function main() {
  const [baseURL, apiKey, file] = process.argv.slice(2);
  const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
  const image = () => OpenAI.toFile(fs.createReadStream(file), "a.png", { type: "image/png" });
  const fields = { prompt: "an astronaut", cn_type: "canny", steps: 15, seed: 5 };
  const sized = { size: "128x64", n: 2, response_format: "url", output_format: "webp" };
  const edited = await client.images.edit({ image: await image(), ...fields });
  const linked = await client.images.edit({ image: [await image()], ...fields, ...sized });
  const generated = await client.images.generate({ ...fields, image: fs.readFileSync(file, "base64") });
  const refused = await client.images.generate({ prompt: "an astronaut" }).catch((error) => error);
  const models = [];
  for await (const model of client.models.list()) models.push(model.id);
  const { status, param, type } = refused;
  console.log(JSON.stringify({ edited, linked, generated, models, refused: { status, param, type } }));
}

main();
