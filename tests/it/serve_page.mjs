// Uses the page of `pliant serve` in a browser: arguments are the browser, the server's URL and a
// folder for the browser's own files. Prints what does not work. With PLIANT_SHOTS=DIR pictures of
// the page are left there.
import { spawn } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const [browser, url, profile] = process.argv.slice(2);
const shots = process.env.PLIANT_SHOTS;
const wrong = [];
const check = (what, holds) => { if (!holds) wrong.push(what); };

// The browser is told what to do in lines of JSON that end with a zero.
const chromium = spawn(browser, [
  "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--remote-debugging-pipe",
  `--user-data-dir=${profile}`, "about:blank",
], { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] });
const [to, from] = [chromium.stdio[3], chromium.stdio[4]];
let [rest, last, session] = ["", 0, undefined];
const [answers, events] = [new Map(), []];
from.on("data", (bytes) => {
  const messages = (rest + bytes).split("\0");
  rest = messages.pop();
  for (const message of messages.map((text) => JSON.parse(text))) {
    if (message.id) answers.get(message.id)?.(message);
    else events.push(message);
  }
});
function tell(method, params = {}) {
  const id = (last += 1);
  const answer = new Promise((resolve) => answers.set(id, resolve));
  to.write(`${JSON.stringify({ id, method, params, sessionId: session })}\0`);
  return answer.then(({ result, error }) => {
    if (error) throw new Error(`${method}: ${error.message}`);
    return result;
  });
}
async function evaluate(expression) {
  const { result, exceptionDetails: thrown } =
    await tell("Runtime.evaluate", { expression, awaitPromise: true, returnByValue: true });
  if (thrown) throw new Error(thrown.exception?.description ?? thrown.text);
  return result.value;
}
async function until(what, expression) {
  for (let turn = 0; turn < 400; turn += 1) {
    if (await evaluate(expression)) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  wrong.push(`never: ${what}`);
}
const size = (width, height, mobile) =>
  tell("Emulation.setDeviceMetricsOverride", { width, height, deviceScaleFactor: mobile ? 2 : 1, mobile });
const scheme = (value) =>
  tell("Emulation.setEmulatedMedia", { features: [{ name: "prefers-color-scheme", value }] });
async function shot(name) {
  if (!shots) return;
  mkdirSync(shots, { recursive: true });
  const { data } = await tell("Page.captureScreenshot", { captureBeyondViewport: true });
  writeFileSync(join(shots, `${name}.png`), Buffer.from(data, "base64"));
}
async function press(key, modifiers = 0) {
  const code = { Enter: 13, Escape: 27, Tab: 9, ArrowRight: 39 }[key];
  for (const type of ["rawKeyDown", "keyUp"]) {
    await tell("Input.dispatchKeyEvent", { type, key, code: key, windowsVirtualKeyCode: code, modifiers });
  }
}
const text = (id) => evaluate(`document.getElementById(${JSON.stringify(id)}).textContent`);

async function use() {
  const { targetInfos } = await tell("Target.getTargets");
  const page = targetInfos.find((target) => target.type === "page");
  ({ sessionId: session } = await tell("Target.attachToTarget", { targetId: page.targetId, flatten: true }));
  for (const domain of ["Page", "Runtime", "Network", "Log"]) await tell(`${domain}.enable`);
  await size(390, 844, true);
  await scheme("light");
  await tell("Page.navigate", { url });
  await until("ready", "document.getElementById('state')?.dataset.state === 'ready'");
  check("it fits a phone", await evaluate("document.documentElement.scrollWidth <= innerWidth"));
  await shot("phone-before");

  // By keyboard alone: from the prompt on, the sliders, Ctrl+Enter.
  await evaluate("document.getElementById('ttft').focus()");
  await press("ArrowRight");
  check("an arrow moves the slider", await text("ttft-said") === "45 %");
  await evaluate("document.getElementById('prompt').focus()");
  await press("Enter", 2);
  await until("an answer", "document.querySelectorAll('#past td.number').length > 0");
  check("the answer", (await text("answer")).startsWith("This text is canned."));
  check("the plan", (await evaluate("document.querySelectorAll('#grid [aria-current]').length")) === 1);
  check("the bars", await evaluate("document.querySelectorAll('#times .bar').length >= 2"));
  check("the bounds", await evaluate("document.querySelectorAll('#times .bound').length === 4"));
  check("the verdict", /objective|Later/.test(await text("verdict")));
  check("no longer busy", await evaluate("document.getElementById('answer').ariaBusy === 'false'"));
  check("it still fits", await evaluate("document.documentElement.scrollWidth <= innerWidth"));
  await shot("phone");

  // Every app calls; they are counted.
  await evaluate("document.getElementById('all').click()");
  await until("apps", "document.querySelectorAll('#apps .number').length >= 6");
  await until("all answered", "!document.getElementById('all').disabled");

  // Everything that can be used has a name.
  const unnamed = await evaluate(`[...document.querySelectorAll("button, input, select, textarea")]
    .filter((it) => !(it.labels?.length || it.textContent.trim() || it.ariaLabel)).map((it) => it.id)`);
  check(`names of ${unnamed}`, unnamed.length === 0);

  await size(1280, 900, false);
  await shot("wide-light");
  await scheme("dark");
  await shot("wide-dark");

  const requests = events.filter((event) => event.method === "Network.requestWillBeSent");
  const elsewhere = requests.map((event) => event.params.request.url)
    .filter((asked) => !asked.startsWith(url) && !asked.startsWith("data:"));
  check(`no request elsewhere: ${elsewhere}`, elsewhere.length === 0);
  const thrown = events.filter((event) => event.method === "Runtime.exceptionThrown"
    || (event.method === "Log.entryAdded" && event.params.entry.level === "error"));
  check(`no error: ${JSON.stringify(thrown)}`, thrown.length === 0);
}

try {
  await use();
} catch (error) {
  wrong.push(error.stack);
}
chromium.kill();
console.log(wrong.join("\n") || "nothing wrong");
