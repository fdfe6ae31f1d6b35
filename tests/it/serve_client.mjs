// The `openai` package of npm as an app uses it: argument 1 is the base URL. Prints what does not
// work. Run in a folder where the package is installed.
import { createRequire } from "node:module";

const require = createRequire(`${process.cwd()}/`);
const OpenAI = require("openai").default ?? require("openai");

const MODEL = "smollm2-135m-instruct";
const messages = [{ role: "user", content: "What is a ferry?" }];
const client = new OpenAI({ baseURL: process.argv[2], apiKey: "sk-any", maxRetries: 0 });
const wrong = [];
const check = (what, holds) => { if (!holds) wrong.push(what); };

const answer = await client.chat.completions.create({ model: MODEL, messages, max_tokens: 6 });
check("text", answer.choices[0].message.content === "This text is canned. No model");
check("report", answer.pliant.plan.level <= 100);

const stream = await client.chat.completions.create({
  model: MODEL, messages, max_tokens: 6, stream: true, stream_options: { include_usage: true },
});
let [text, usage] = ["", null];
for await (const chunk of stream) {
  text += chunk.choices[0]?.delta?.content ?? "";
  usage = chunk.usage ?? usage;
}
check("streamed text", text === "This text is canned. No model");
check("usage", usage?.completion_tokens === 6);

const names = [];
for await (const model of client.models.list()) names.push(model.id);
check("models", names.includes(`${MODEL}@20`));

const fault = await client.chat.completions.create({ model: MODEL, messages, top_p: 7 })
  .catch((error) => error);
check("fault", fault.status === 400 && fault.param === "top_p");

const stopped = await client.chat.completions.create({
  model: MODEL, messages, max_tokens: 200, stream: true,
});
for await (const _ of stopped) break;

console.log(wrong.join("\n") || "nothing wrong");
