"use strict";
// Asks the service as any client does, and shows what the answer says of itself.

const $ = (id) => document.getElementById(id);
const LEVELS = [100, 90, 80, 70, 60, 50, 40, 30, 20];
const RATIOS = [10, 20, 30, 40, 50, 60, 70, 80, 90, 100];
const PAST_MAX = 12;
const WATCH_MS = { busy: 250, idle: 1500 };

let running = null;      // what aborts the answer that comes
let others = 0;          // calls of other apps that this page made
let model = null;
let hasFailed = false;

// ---- small things

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("--")) made.style.setProperty(key, value);
    else made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

function time(ms) {
  if (ms === null || ms === undefined) return "–";
  if (ms >= 10000) return `${(ms / 1000).toFixed(1)} s`;
  if (ms >= 100) return `${Math.round(ms)} ms`;
  return `${ms.toFixed(1)} ms`;
}

function headers(app) {
  const said = { "content-type": "application/json" };
  if (app) said["x-app"] = app;
  if ($("key").value) said.authorization = `Bearer ${$("key").value}`;
  return said;
}

function question() {
  const context = $("context").value.trim();
  const asked = {
    messages: [{ role: "user", content: $("prompt").value.trim() }],
    slo: { ttft: $("ttft").value / 100, tpot: $("tpot").value / 100 },
    max_tokens: Number($("tokens").value),
  };
  if (context) asked.context = [context];
  return asked;
}

// ---- what is asked

function sayObjective() {
  for (const name of ["ttft", "tpot"]) $(`${name}-said`).textContent = `${$(name).value} %`;
  for (const button of document.querySelectorAll(".presets button")) {
    const fits = button.dataset.ttft === $("ttft").value && button.dataset.tpot === $("tpot").value;
    button.setAttribute("aria-pressed", fits);
  }
  const words = $("context").value.trim().split(/\s+/).filter(Boolean).length;
  $("source-length").textContent = words ? `· ${words} words` : "· none";
  const quoted = JSON.stringify({ ...question(), stream: true }).replaceAll("'", "'\\''");
  const token = $("key-field").hidden ? "" : ` \\\n  -H 'authorization: Bearer …'`;
  const app = $("app").value ? ` \\\n  -H 'x-app: ${$("app").value}'` : "";
  $("curl").textContent =
    `curl -N ${location.origin}/v1/chat/completions${token}${app} \\\n  -d '${quoted}'`;
  $("base").textContent = `${location.origin}/v1`;
}

// ---- what was done

function drawGrid() {
  const levels = model ? [...model.levels].sort((a, b) => b - a) : LEVELS;
  const grid = $("grid");
  const body = levels.map((level) => element("tr", {},
    element("th", { scope: "row" }, `${level} %`),
    ...RATIOS.map((ratio) => element("td", { "data-plan": `${level}/${ratio}` }))));
  const foot = element("tr", {}, element("td", { style: "background:none" }),
    ...RATIOS.map((ratio) => element("th", { scope: "col" }, `${ratio}`)));
  grid.querySelectorAll("tbody, tfoot").forEach((part) => part.remove());
  grid.append(element("tbody", {}, ...body), element("tfoot", {}, foot));
}

function showPlan(told) {
  const { level, prompt_ratio: ratio } = told.plan;
  const { before, after, cached } = told.prompt_tokens;
  for (const cell of document.querySelectorAll("[data-plan][aria-current]")) {
    cell.removeAttribute("aria-current");
    cell.setAttribute("data-past", "");
    cell.textContent = "";
  }
  const cell = document.querySelector(`[data-plan="${level}/${Math.round(ratio * 100)}"]`);
  if (cell) {
    cell.setAttribute("aria-current", "true");
    cell.append("●", element("span", { class: "hidden" }, ` chosen: level ${level} %`));
  }
  const read = after < before ? `${after} of ${before} tokens` : `all ${before} tokens`;
  const kept = cached ? `, ${cached} of them from the last conversation` : "";
  $("plan-said").textContent = `${level} % of the model reads ${read} of the text${kept}.`;
}

/// One track: what is measured, the wait in it, what is allowed, what was predicted.
function drawTrack(name, { measured, wait, allowed, predicted }) {
  const known = [measured, allowed, predicted].filter((ms) => ms > 0);
  const most = Math.max(...known, 1e-9) * 1.15;
  const parts = [];
  const share = (ms) => Math.min(ms / most, 1);
  if (measured > 0) {
    const late = allowed && measured > allowed;
    parts.push(element("span", { class: late ? "bar late" : "bar", "--v": share(measured) }));
    if (wait > 0) parts.push(element("span", { class: "bar wait", "--v": share(Math.min(wait, measured)) }));
  }
  if (predicted) parts.push(element("span", { class: "bound dashed", "--v": share(predicted) }));
  if (allowed) parts.push(element("span", { class: "bound", "--v": share(allowed) }));
  $(`${name}-track`).replaceChildren(...parts);
  const bound = allowed ? ` of ${time(allowed)}` : "";
  $(`${name}-value`).textContent = `${measured > 0 ? time(measured) : "…"}${bound}`;
}

function showTimes(told, live) {
  const measured = told.measured ?? live;
  drawTrack("ttft", {
    measured: measured.ttft_ms, wait: told.queue_wait_ms,
    allowed: told.bounds.ttft_ms, predicted: told.predicted.ttft_ms,
  });
  drawTrack("tpot", {
    measured: measured.tpot_ms ?? 0, wait: 0,
    allowed: told.bounds.tpot_ms, predicted: told.predicted.tpot_ms,
  });
}

function showVerdict(told) {
  const verdict = $("verdict");
  if (told.met === null) return verdict.replaceChildren();
  const why = told.plan.feasible ? "" : " No plan was predicted to meet it: the least late was taken.";
  verdict.replaceChildren(told.met
    ? element("span", { class: "good" }, "✓ Within the objective.")
    : element("span", { class: "late-text" }, "✗ Later than allowed."), why);
}

function remember(asked, told) {
  const past = $("past");
  if (past.querySelector("[colspan]")) past.replaceChildren();
  const { level, prompt_ratio: ratio } = told.plan;
  const { before, after } = told.prompt_tokens;
  const share = (part) => `${Math.round(part * 100)} %`;
  past.prepend(element("tr", {},
    element("td", {}, `${share(asked.slo.ttft)}, ${share(asked.slo.tpot)}`),
    element("td", {}, `⟨${level} %, ${share(ratio)}⟩`),
    element("td", { class: "number" }, `${after} of ${before}`),
    element("td", { class: "number" }, time(told.measured.ttft_ms)),
    element("td", { class: "number" }, time(told.measured.tpot_ms)),
    element("td", { class: told.met ? "good" : "late-text" }, told.met ? "✓ met" : "✗ missed")));
  while (past.children.length > PAST_MAX) past.lastChild.remove();
}

function fail(message) {
  hasFailed = true;
  $("verdict").replaceChildren(element("span", { class: "late-text" }, message));
}

// ---- asking

/// The `data:` lines of a stream, as they come.
async function* lines(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    rest += value;
    for (let end = rest.indexOf("\n"); end >= 0; end = rest.indexOf("\n")) {
      const line = rest.slice(0, end).trimEnd();
      rest = rest.slice(end + 1);
      if (line.startsWith("data:")) yield line.slice(5).trim();
    }
  }
}

async function refusal(response) {
  const said = await response.json().catch(() => null);
  const after = response.headers.get("retry-after");
  const again = after ? ` Try again in ${after} s.` : "";
  return `${response.status}: ${said?.error?.message ?? response.statusText}.${again}`;
}

async function ask() {
  const asked = question();
  if (!asked.messages[0].content || running) return;
  running = new AbortController();
  hasFailed = false;
  const began = performance.now();
  const [answer, live] = [$("answer"), { ttft_ms: 0, tpot_ms: 0 }];
  $("go").disabled = true;
  $("stop").hidden = false;
  answer.replaceChildren();
  answer.setAttribute("aria-busy", "true");
  $("verdict").replaceChildren();
  let told = null, tokens = 0, first = 0;
  const clock = setInterval(() => {
    if (told && !first) showTimes(told, { ttft_ms: performance.now() - began, tpot_ms: 0 });
  }, 60);
  try {
    const response = await fetch("v1/chat/completions", {
      method: "POST", headers: headers($("app").value), signal: running.signal,
      body: JSON.stringify({ ...asked, stream: true, temperature: 0 }),
    });
    if (!response.ok) return fail(await refusal(response));
    for await (const line of lines(response)) {
      if (line === "[DONE]") break;
      const chunk = JSON.parse(line);
      if (chunk.error) { fail(chunk.error.message); break; }
      if (chunk.pliant) {
        told = chunk.pliant;
        if (!told.measured) showPlan(told);
        showTimes(told, live);
      }
      const piece = chunk.choices[0]?.delta.content;
      if (piece) {
        const now = performance.now();
        tokens += 1;
        first ||= now;
        live.ttft_ms = first - began;
        live.tpot_ms = tokens > 1 ? (now - first) / (tokens - 1) : 0;
        answer.append(piece);
        answer.scrollTop = answer.scrollHeight;
        if (told && !told.measured) showTimes(told, live);
      }
    }
    if (told?.measured) {
      showVerdict(told);
      remember(asked, told);
    }
  } catch (error) {
    fail(error.name === "AbortError" ? "Stopped." : "The service cannot be reached.");
  } finally {
    clearInterval(clock);
    running = null;
    answer.setAttribute("aria-busy", "false");
    $("go").disabled = false;
    $("stop").hidden = true;
    watch();
  }
}

/// Every app asks the same, each with its own objective.
async function askAll() {
  const apps = [...$("app").options].map((option) => option.value).filter(Boolean);
  const { slo, ...asked } = question();
  $("all").disabled = true;
  others = apps.length;
  watch();
  await Promise.all(apps.map((app) => fetch("v1/chat/completions", {
    method: "POST", headers: headers(app), body: JSON.stringify(asked),
  }).then((response) => response.text()).catch(() => null).finally(() => { others -= 1; })));
  $("all").disabled = false;
  watch();
}

// ---- watching

function showState(told) {
  const state = $("state");
  state.dataset.state = told.state;
  const with_ = told.model ? ` · ${told.model.id} · ${told.model.executor} on ${told.model.device}` : "";
  const resident = told.resident_level ? ` · ${told.resident_level} % resident` : "";
  state.textContent = told.state + with_ + resident;
  if (told.model && model?.id !== told.model.id) {
    model = told.model;
    drawGrid();
  }
  const known = [...$("app").options].map((option) => option.value);
  for (const app of told.apps_known) {
    if (!known.includes(app) && app !== "default") $("app").append(element("option", {}, app));
  }
}

function showQueue(told) {
  const calls = [told.running, ...told.queue].filter(Boolean);
  const row = (call) => element("li", { class: call === told.running ? "running" : null },
    element("span", { class: "place", "aria-hidden": "true" }, call === told.running ? "▸" : `${call.position}`),
    element("span", {}, call.app || "default",
      element("span", { class: "hidden" }, call === told.running ? " is answered" : ` waits, ${call.position}`)),
    element("span", {}, call.level
      ? `⟨${call.level} %, ${Math.round(call.prompt_ratio * 100)} %⟩ · ${call.output_tokens} tokens`
      : `${time(call.age_ms)}`));
  const rows = calls.slice(0, 8).map(row);
  if (calls.length > 8) rows.push(element("li", {}, "", element("span", { class: "faint" }, `and ${calls.length - 8} more`)));
  if (!rows.length) rows.push(element("li", {}, element("span", { class: "place" }, "·"), element("span", { class: "faint" }, "Nobody waits.")));
  $("queue").replaceChildren(...rows);
}

function showApps(told) {
  const rows = Object.entries(told.apps).filter(([, app]) => app.calls).map(([name, app]) => {
    const judged = app.met + app.missed;
    const share = judged ? app.met / judged : 0;
    const gone = Object.values(app.left).reduce((sum, count) => sum + count, 0);
    return element("tr", {}, element("td", {}, name || "default"),
      element("td", { class: "number" }, gone ? `${app.finished} of ${app.calls}` : `${app.finished}`),
      element("td", {}, ...(judged ? [
        element("span", { class: "meter", "aria-hidden": "true" }, element("i", { "--v": share })),
        `${Math.round(share * 100)} %`] : ["–"])));
  });
  const none = element("tr", {}, element("td", { colspan: 3, class: "faint" }, "none has called yet"));
  $("apps").replaceChildren(...(rows.length ? rows : [none]));
}

let next = 0;
async function watch() {
  clearTimeout(next);
  try {
    const response = await fetch("v1/service", { headers: headers("") });
    if (response.status === 401) {
      $("key-field").hidden = false;
      $("state").textContent = "asks for a token";
      sayObjective();
    } else if (response.ok) {
      const told = await response.json();
      showState(told);
      showQueue(told);
      showApps(told);
    }
  } catch {
    $("state").dataset.state = "failed";
    $("state").textContent = "cannot be reached";
  }
  clearTimeout(next);
  const pace = running || others ? WATCH_MS.busy : WATCH_MS.idle;
  if (!document.hidden) next = setTimeout(watch, pace);
}

// ---- the page

$("ask").addEventListener("submit", (event) => { event.preventDefault(); ask(); });
$("ask").addEventListener("input", sayObjective);
$("stop").addEventListener("click", () => running?.abort());
$("all").addEventListener("click", askAll);
$("key").addEventListener("change", watch);
for (const button of document.querySelectorAll(".presets button")) {
  button.addEventListener("click", () => {
    for (const name of ["ttft", "tpot"]) $(name).value = button.dataset[name];
    sayObjective();
  });
}
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); ask(); }
  if (event.key === "Escape") running?.abort();
});
document.addEventListener("visibilitychange", () => { if (!document.hidden) watch(); });
$("theme").addEventListener("click", () => {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const now = document.documentElement.dataset.theme ?? (dark ? "dark" : "light");
  document.documentElement.dataset.theme = now === "dark" ? "light" : "dark";
});

drawGrid();
sayObjective();
showQueue({ running: null, queue: [] });
showApps({ apps: {} });
for (const name of ["ttft", "tpot"]) $(`${name}-value`).textContent = "–";
watch();
