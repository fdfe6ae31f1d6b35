'use strict';
// Turns the page's data into tables and charts. Text enters the page as text only, never as markup.

const data = JSON.parse(document.getElementById('data').textContent);
const $ = (id) => document.getElementById(id);

/** An element: attributes, `onclick` and the like, custom properties; children that are null are left out. */
function el(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else if (name.startsWith('--')) node.style.setProperty(name, value);
    else if (value != null && value !== false) node.setAttribute(name, value === true ? '' : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child != null));
  return node;
}

// Numbers as text. Absent is empty.
const percent = (share) => (share == null ? '' : (100 * share).toFixed(1));
const points = (share) => (share == null ? '' : (share < 0 ? '−' : '+') + Math.abs(100 * share).toFixed(1));
const count = (number) => (number == null ? '' : number.toLocaleString('en'));
const mean = (number) => (number == null ? '' : number.toFixed(1));
const chance = (p) => (p == null ? '' : p < 0.001 ? '< 0.001' : p.toFixed(3));
function time(ms) {
  if (ms == null) return '';
  if (ms < 9.995) return `${ms.toFixed(2)} ms`;
  if (ms < 99.95) return `${ms.toFixed(1)} ms`;
  return ms < 9995 ? `${ms.toFixed(0)} ms` : `${(ms / 1000).toFixed(1)} s`;
}
const energy = (mj) => time(mj).replace('ms', 'mJ').replace('s', 'J');
const us = (length) => time(length / 1000);
const range = (show, lo, hi) => (lo == null || hi == null ? '' : `${show(lo)} – ${show(hi)}`);
const seedCount = (number) => `${number} ${number === 1 ? 'seed' : 'seeds'}`;
const distinct = (values) => [...new Set(values)];

// ---- What is looked at: a device, and a skew ----
const sceneOf = (row) => JSON.stringify([row.device, row.latency_of, row.base_model]);
const scenes = distinct(data.metrics.map(sceneOf));
const alphas = distinct(data.metrics.map((row) => row.alpha));
const looked = { scene: scenes[0], alpha: alphas[0] };
const isLookedAt = (row) => sceneOf(row) === looked.scene && row.alpha === looked.alpha;
const views = [];
const redraw = () => views.forEach((view) => view());
const colour = (method) => data.colours[method] || '#888888';

function sceneName(scene) {
  const [device, latencyOf, baseModel] = JSON.parse(scene);
  return latencyOf === baseModel ? `${device} (${baseModel})` : `${device} (times of ${latencyOf}, answers of ${baseModel})`;
}

function picker(label, names, choose) {
  const select = el('select', { onchange: () => choose(select.selectedIndex) }, names.map((name) => el('option', {}, name)));
  return el('label', {}, label, select);
}

/** Radio buttons in a row. */
function choice(label, names, choose) {
  const group = `choice-${label.replace(/\W/g, '-')}`;
  const buttons = names.map((name, place) => {
    const input = el('input', { type: 'radio', name: group, checked: place === 0, onchange: () => choose(place) });
    return el('label', {}, input, el('span', {}, name));
  });
  return el('fieldset', { class: 'choice' }, el('legend', {}, label), el('span', {}, buttons));
}

const key = (entries) => el('ul', { class: 'key' }, entries.map(([mark, words]) => el('li', {}, el('i', mark), words)));

/** Values below a column of tracks. */
const scale = (values) => el('div', { class: 'row', 'aria-hidden': 'true' }, el('span', { class: 'name' }),
  el('span', { class: 'scale' }, values.map((value) => el('span', {}, value))));

// ---- Summary ----
function summary() {
  const rows = data.metrics.filter(isLookedAt).sort((a, b) => (b.accuracy_at_slo ?? -1) - (a.accuracy_at_slo ?? -1));
  const pairs = data.paired.filter(isLookedAt);
  const first = rows.find((row) => pairs.length && row.method === pairs[0].method) || rows[0];
  $('summary').hidden = !first;
  if (!first) return;
  const interval = range(percent, first.accuracy_at_slo_lo, first.accuracy_at_slo_hi);
  $('headline').replaceChildren(
    el('b', {}, first.method), ' answers ', el('b', {}, `${percent(first.accuracy_at_slo)} %`),
    interval ? ` (${interval})` : ' (no interval)', ` of requests correctly within their SLO on ${first.device} at α ${first.alpha}`,
    ` — ${percent(first.accuracy)} % correctly at any time, ${percent(first.attainment)} % in time`,
    `; n = ${count(first.requests)} requests over ${seedCount(first.replications)}; ${first.provenance}.`);
  $('bars').replaceChildren(...rows.map(bar), scale(['0', '50', '100 %']), key([
    [{ class: 'line' }, 'accuracy, in time or not'], [{ class: 'line dashed' }, 'attainment, right or wrong']]),
  el('p', { class: 'faint small' }, 'Bars: accuracy@SLO in % of judged requests, whiskers its 95 % interval over seeds.'));
  $('gains').parentElement.hidden = !pairs.length;
  if (pairs.length) gains(pairs);
}

function bar(row) {
  const interval = range(percent, row.accuracy_at_slo_lo, row.accuracy_at_slo_hi);
  const label = `${row.method}: accuracy at SLO ${percent(row.accuracy_at_slo)} % (${interval || 'no interval'}), `
    + `accuracy ${percent(row.accuracy)} %, attainment ${percent(row.attainment)} %`;
  const tick = (kind, value) => (value == null ? null : el('span', { class: `tick ${kind}`, '--v': value }));
  return el('div', { class: 'row', '--c': colour(row.method) },
    el('span', { class: 'name' }, row.method),
    el('span', { class: 'track', role: 'img', 'aria-label': label, title: label },
      el('span', { class: 'bar', '--v': row.accuracy_at_slo ?? 0 }), tick('', row.accuracy), tick('dashed', row.attainment),
      interval ? el('span', { class: 'whisker', '--lo': row.accuracy_at_slo_lo, '--hi': row.accuracy_at_slo_hi }) : null),
    el('span', { class: 'value' }, percent(row.accuracy_at_slo), el('small', {}, interval)));
}

/** Gains as dots with intervals around a line at no difference: over items, and over seeds inside them. */
function gains(pairs) {
  $('gains-heading').textContent = `What ${pairs[0].method} gains over …`;
  const ends = pairs.flatMap((row) => [row.gain, row.gain_lo, row.gain_hi, row.gain_items_lo, row.gain_items_hi]).filter((value) => value != null);
  const most = Math.max(0.05, ...ends.map(Math.abs)) * 1.08;
  const spot = (gain) => 0.5 + gain / (2 * most);
  const rows = pairs.map((row) => {
    const interval = range(points, row.gain_lo, row.gain_hi);
    const ofItems = range(points, row.gain_items_lo, row.gain_items_hi);
    const label = `gain over ${row.against}: ${points(row.gain)} points (over seeds ${interval || 'no interval'}; over ${row.items} items `
      + `${ofItems || 'no interval'}), better under ${row.wins} of ${row.replications} seeds`;
    return el('div', { class: 'row', '--c': colour(row.against) },
      el('span', { class: 'name' }, row.against),
      el('span', { class: 'track', role: 'img', 'aria-label': label, title: label }, el('span', { class: 'zero' }),
        ofItems ? el('span', { class: 'whisker wide', '--lo': spot(row.gain_items_lo), '--hi': spot(row.gain_items_hi) }) : null,
        interval ? el('span', { class: 'whisker', '--lo': spot(row.gain_lo), '--hi': spot(row.gain_hi) }) : null,
        row.gain == null ? null : el('span', { class: 'dot', '--v': spot(row.gain) })),
      el('span', { class: 'value' }, points(row.gain), el('small', {}, ofItems)));
  });
  $('gains').replaceChildren(...rows, scale([-most, 0, most].map((end) => (end ? points(end) : '0'))), el('p', { class: 'faint small' },
    `Points of accuracy@SLO under the same seeds. Long whisker and numbers: 95 % interval over ${pairs[0].items} items; with ends: over `
      + `${seedCount(pairs[0].replications)}. Right of the line: better.`));
}

// ---- Tables ----
/** A table that sorts by its headers and shows the rows that have every word of a search. */
function sortable(id, caption, columns, rows) {
  const body = el('tbody');
  const shown = rows.map((row) => {
    const cells = columns.map((column, place) => {
      const [text, small] = [column.show(row)].flat();
      const kind = { class: column.number ? 'number' : null, scope: place ? null : 'row' };
      return el(place ? 'td' : 'th', kind, text, small ? el('small', {}, `(${small})`) : null);
    });
    const line = el('tr', {}, cells);
    return { row, line, text: line.textContent.toLowerCase() };
  });
  let order = null;
  const said = el('span', { class: 'faint small', role: 'status' });
  const search = el('input', { type: 'search', id: `${id}-filter`, placeholder: 'words, all of them', oninput: fill });
  function fill() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const found = shown.filter(({ text }) => words.every((word) => text.includes(word)));
    if (order) found.sort((a, b) => compare(order.column.value(a.row), order.column.value(b.row)));
    body.replaceChildren(...found.map(({ line }) => line));
    said.textContent = `${found.length} of ${rows.length} rows`;
  }
  function compare(a, b) {
    if (a == null || b == null) return (a == null) - (b == null);
    return (a < b ? -1 : a > b ? 1 : 0) * (order.down ? -1 : 1);
  }
  const heads = columns.map((column) => {
    const head = el('th', { scope: 'col', 'aria-sort': 'none', class: column.number ? 'number' : null });
    head.append(el('button', { type: 'button', onclick: () => {
      const again = order && order.column === column;
      order = { column, down: again ? !order.down : Boolean(column.number) };
      for (const other of heads) other.setAttribute('aria-sort', 'none');
      head.setAttribute('aria-sort', order.down ? 'descending' : 'ascending');
      fill();
    } }, column.name));
    return head;
  });
  fill();
  return [
    el('div', { class: 'controls' }, el('label', { for: search.id }, 'Filter'), search, said),
    el('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': caption },
      el('table', {}, el('caption', { class: 'hidden' }, caption), el('thead', {}, el('tr', {}, heads)), body)),
  ];
}

const text = (name, field) => ({ name, value: (row) => row[field], show: (row) => String(row[field]) });
const number = (name, field, show) => ({ name, number: true, value: (row) => row[field], show: (row) => show(row[field]) });
const estimate = (name, field, show) => ({ name, number: true, value: (row) => row[field],
  show: (row) => [show(row[field]), range(show, row[`${field}_lo`], row[`${field}_hi`])] });
const ends = (name, field, show) => ({ name, number: true, value: (row) => row[`${field}_lo`],
  show: (row) => range(show, row[`${field}_lo`], row[`${field}_hi`]) });

/** A column for each measure that a row has. */
function measuresOf(rows) {
  const shows = { share: percent, ms: time, mJ: energy, count: mean };
  return data.measures.filter(([column]) => rows.some((row) => row[column] != null))
    .map(([column, name, unit]) => estimate(unit === 'share' ? `${name} %` : name, column, shows[unit]));
}

function tables() {
  const place = [number('α', 'alpha', String), text('device', 'device'), text('times of', 'latency_of'), text('answers of', 'base_model')];
  $('metrics-body').append(...sortable('metrics', 'Metrics of every cell', [
    text('method', 'method'), ...place.slice(0, 2), ...measuresOf(data.metrics), ends('over items', 'accuracy_at_slo_items', percent),
    number('items', 'items', count), number('seeds', 'replications', count), number('traces', 'traces', count),
    number('requests', 'requests', count), ...place.slice(2), text('provenance', 'provenance')], data.metrics));
  $('differences').hidden = !data.paired.length;
  $('differences-body').append(...sortable('differences', 'Paired differences', [
    text('method', 'method'), text('against', 'against'), ...place.slice(0, 2), estimate('gain, points', 'gain', points),
    ends('over items', 'gain_items', points), number('items', 'items', count),
    number('effect d_z', 'effect_dz', mean), number('seeds won', 'wins', count), number('of', 'replications', count),
    number('right alone', 'only_method', count), number('other alone', 'only_against', count), number('requests', 'requests', count),
    number('p', 'mcnemar_p', chance), number('p, Holm', 'mcnemar_p_holm', chance), ...place.slice(2)], data.paired));
}

// ---- Goodput ----
const NO_OUTCOMES = 'No outcomes are stored in this folder, so nothing is known of single requests. `pliant run` writes them to '
  + 'outcomes/ (outcomes = "first-seed" or "all" in the experiment file); run the experiment again, then make this page.';

function goodput() {
  const body = $('goodput-body');
  if (!data.goodput.length) return body.append(el('p', { class: 'note' }, NO_OUTCOMES));
  const measures = [['accuracy_at_slo', 'judged'], ['attainment', 'requests'], ['accuracy', 'judged']]
    .map(([field, of]) => [data.measures.find(([column]) => column === field)[1], field, of]);
  const shown = { measure: measures[0], by: 'app' };
  const box = el('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'Goodput' });
  const note = el('p', { class: 'faint small' });
  body.append(el('div', { class: 'controls' },
    choice('Measure', measures.map(([name]) => name), (place) => { shown.measure = measures[place]; draw(); }),
    choice('By', ['app', 'SLO'], (place) => { shown.by = ['app', 'slo'][place]; draw(); })), box, note);
  function draw() {
    const rows = data.goodput.filter((row) => isLookedAt(row) && row.class === shown.by);
    const [name, field, of] = shown.measure;
    const columns = distinct(rows.map((row) => row.name));
    const find = (method, column) => rows.find((row) => row.method === method && row.name === column);
    const heads = columns.map((column) => {
      const row = rows.find((other) => other.name === column);
      const slo = shown.by === 'app' ? row.slo : '';
      return el('th', { scope: 'col' }, column, el('small', {}, `${slo} n = ${count(row[of])}`.trim()));
    });
    const cell = (found) => el('td', { '--v': found?.[field] ?? 0 }, percent(found?.[field]),
      el('small', {}, range(percent, found?.[`${field}_lo`], found?.[`${field}_hi`])));
    const lines = distinct(rows.map((row) => row.method)).map((method) => el('tr', {}, el('th', { scope: 'row' }, method),
      columns.map((column) => cell(find(method, column)))));
    box.replaceChildren(el('table', { class: 'heat' }, el('caption', { class: 'hidden' }, `${name} by ${shown.by}, %`),
      el('thead', {}, el('tr', {}, el('th', { scope: 'col' }, 'method'), heads)), el('tbody', {}, lines)));
    const seeds = rows.length ? Math.max(...rows.map((row) => row.seeds)) : 0;
    note.textContent = `${name} in %, from the most relaxed SLO ⟨TTFT, TPOT⟩ to the tightest. ` + (seeds > 1
      ? `Means over the ${seeds} seeds whose outcomes are stored, with 95 % bootstrap intervals.`
      : 'One seed’s requests, n of them, with 95 % Wilson intervals: these speak of this trace, not of other seeds.');
  }
  views.push(draw);
}

// ---- Timeline ----
const [PHASES, WINDOW] = [['queue', 'decide', 'compress', 'switch', 'prefill', 'decode'], 12];
const at = (column, place) => (Array.isArray(column) ? column[place] : column);

function timeline() {
  const body = $('timeline-body');
  if (!data.timeline.length) return body.append(el('p', { class: 'note' }, NO_OUTCOMES));
  let scene, method, place = 0, onlyOne = true;
  const canvas = el('canvas', { 'aria-hidden': 'true' });
  const slider = el('input', { type: 'range', min: 0, value: 0, 'aria-label': 'Request', oninput: () => show(Number(slider.value)) });
  const methods = el('select', { onchange: () => { method = scene.methods[methods.selectedIndex]; draw(); } });
  const [kept, said, why] = [el('p', { class: 'faint' }), el('p', { role: 'status' }), el('code')];
  const rows = el('div', { class: 'fall' });
  const isLate = (nth) => !(at(method.state, nth) & 1);
  const step = (by) => {
    for (let next = place + by; next >= 0 && next < scene.id.length; next += by) if (isLate(next)) return show(next);
  };
  body.append(
    kept, el('p', { class: 'faint' }, 'Each request, and how much of its tightest bound it used: above the line it missed its SLO. Drag, or move the slider with the arrow keys.'),
    el('div', { class: 'controls' }, el('label', {}, 'Method', methods),
      choice('Show', ['one request', 'one method'], (nth) => { onlyOne = nth === 0; draw(); }),
      el('button', { type: 'button', onclick: () => step(-1) }, '‹ missed before'),
      el('button', { type: 'button', onclick: () => step(1) }, 'next missed ›')),
    canvas, slider, key([['good', 'met, right'], ['wrong', 'met, wrong'], ['late', 'missed']].map(([kind, words]) => [{ '--c': `var(--${kind})` }, words])), said, rows, el('p', { class: 'faint small' }, 'Why this plan: ', why),
    key([...PHASES.map((phase) => [{ '--c': `var(--${phase})` }, phase]), [{ class: 'line' }, 'bound of the first token'],
      [{ class: 'line dashed' }, 'bound of the last']]));
  const drag = (event) => show(Math.floor(event.offsetX / canvas.clientWidth * scene.id.length));
  canvas.addEventListener('pointerdown', (event) => { canvas.setPointerCapture(event.pointerId); drag(event); });
  canvas.addEventListener('pointermove', (event) => { if (event.buttons) drag(event); });
  const show = (next) => { place = Math.min(Math.max(next, 0), scene.id.length - 1); draw(); };
  function strip() {
    const [width, height] = [canvas.clientWidth || 600, canvas.clientHeight || 88];
    const dense = window.devicePixelRatio || 1;
    [canvas.width, canvas.height] = [width * dense, height * dense];
    const pen = canvas.getContext('2d');
    pen.scale(dense, dense);
    const style = getComputedStyle(document.documentElement);
    const each = width / scene.id.length;
    scene.id.forEach((_, nth) => {
      const ratio = Math.max(...uses(method, nth).map(({ used, bound }) => used / bound));
      const kind = isLate(nth) ? 'late' : (at(method.state, nth) & 6) === 2 ? 'wrong' : 'good';
      pen.fillStyle = style.getPropertyValue(`--${kind}`);
      pen.fillRect(nth * each, height * (1 - Math.min(ratio, 2) / 2), Math.max(each * 0.8, 0.7), height);
    });
    pen.fillStyle = style.getPropertyValue('--ink');
    pen.fillRect(0, height / 2, width, 1);
    pen.fillRect((place + 0.5) * each - 1, 0, 2, height);
  }
  const until = (run, nth, phases) => PHASES.slice(0, phases).reduce((sum, phase) => sum + at(run[phase], nth), 0);
  /** What a request used of each thing that its SLO bounds: µs, and of energy µJ. */
  function uses(run, nth) {
    const gaps = at(scene.output_tokens, nth) - 1;
    const energy = (until(run, nth, 6) - at(run.queue, nth)) * at(run.power_mw, nth) / 1000;
    return [['TTFT', 'ttft_bound_us', until(run, nth, 5), us], ['TPOT', 'tpot_bound_us', gaps && at(run.decode, nth) / gaps, us],
      ['end to end', 'e2e_bound_us', until(run, nth, 6), us], ['energy', 'energy_bound_uj', energy, (uj) => `${(uj / 1000).toFixed(1)} mJ`]]
      .map(([name, bound, used, show]) => ({ name, bound: at(scene[bound], nth), used, show })).filter(({ bound }) => bound);
  }
  function fall(name, run, nth, current) {
    const bits = at(run.state, nth);
    const gaps = at(scene.output_tokens, nth) - 1;
    const last = at(scene.e2e_bound_us, nth) || (at(scene.tpot_bound_us, nth) && until(run, nth, 5) + gaps * at(scene.tpot_bound_us, nth));
    const ends = [at(scene.ttft_bound_us, nth), last];
    const answer = bits & 2 ? (bits & 4 ? 'right' : 'wrong') : 'not judged';
    const kind = bits & 1 ? (bits & 4 ? 'good' : bits & 2 ? 'wrong' : '') : 'late';
    const over = uses(run, nth).filter((use) => use.used > use.bound).map((use) => `${use.name} +${use.show(use.used - use.bound)}`);
    const verdict = bits & 1 ? 'SLO met' : over.join(', ') || 'SLO missed';
    let end = 0;
    const phases = PHASES.map((phase) => ({ phase, length: at(run[phase], nth), from: (end += at(run[phase], nth)) - at(run[phase], nth) }))
      .filter(({ length }) => length);
    const label = `${name}: ${phases.map(({ phase, length }) => `${phase} ${us(length)}`).join(', ')}; ${answer}, ${verdict}`;
    const track = el('span', { class: 'track', role: 'img', 'aria-label': label, title: label });
    const paint = (span) => track.replaceChildren(
      ...phases.map(({ phase, from, length }) => el('span', { '--c': `var(--${phase})`, '--a': from / span, '--w': length / span })),
      ...ends.map((bound, last) => (bound ? el('i', { class: last ? 'bound dashed' : 'bound', '--v': bound / span }) : '')));
    const answers = run.answer_percent ? `, ${at(run.answer_percent, nth)} %` : '';
    const plan = `⟨${at(run.level_percent, nth)} %, ${at(run.prompt_thousandths, nth) / 10} %${answers}⟩`;
    return { end: Math.max(end, ...ends), paint, row: el('div', { class: 'row', 'aria-current': current || null },
      el('span', { class: 'name' }, name), track,
      el('span', { class: 'value' }, `${plan} `, el('b', { class: kind }, `${answer}, ${verdict}`))) };
  }
  function draw() {
    if (!scene) return;
    [slider.max, slider.value] = [scene.id.length - 1, place];
    strip();
    const slo = scene.slos[at(scene.slo, place)];
    slider.setAttribute('aria-valuetext', `request ${scene.id[place]}, ${scene.apps[at(scene.app, place)]}`);
    said.textContent = `Request ${scene.id[place]} (${place + 1} of ${scene.id.length}, seed ${scene.seed}): ${scene.apps[at(scene.app, place)]} ${slo}, `
      + `arrived ${clock(at(method.arrival_ms || scene.arrival_ms, place))} after the start; ${scene.datasets[at(scene.dataset, place)]} ${at(scene.item, place)}, `
      + `${count(at(scene.prompt_tokens, place))} prompt tokens, ${at(scene.output_tokens, place)} to generate; `
      + `${uses(method, place).map((use) => `${use.name} within ${use.show(use.bound)}`).join(', ')}.`;
    why.textContent = `pliant policy explain DIR --request ${scene.id[place]} --method ${method.name} --device ${scene.device} --alpha ${scene.alpha} --seed ${scene.seed}`;
    const first = Math.min(Math.max(place - WINDOW / 2, 0), Math.max(scene.id.length - WINDOW, 0));
    const falls = onlyOne
      ? scene.methods.map((run) => fall(run.name, run, place, run === method))
      : scene.id.slice(first, first + WINDOW).map((id, nth) => fall(`${scene.apps[at(scene.app, first + nth)]} ${id}`, method, first + nth, first + nth === place));
    const span = Math.max(...falls.map(({ end }) => end)) * 1.02;
    falls.forEach(({ paint }) => paint(span));
    const instants = [0, 0.25, 0.5, 0.75, 1].map((share) => (share ? us(share * span) : 'arrival'));
    rows.replaceChildren(...falls.map(({ row }) => row), scale(instants));
  }
  views.push(() => {
    const next = data.timeline.find(isLookedAt);
    body.hidden = !next;
    if (!next) return;
    scene = next;
    method = scene.methods.find((run) => run.name === method?.name) || scene.methods[0];
    methods.replaceChildren(...scene.methods.map((run) => el('option', { selected: run === method }, run.name)));
    kept.textContent = scene.requests > scene.id.length ? `The first ${count(scene.id.length)} of ${count(scene.requests)} requests.` : '';
    show(place);
  });
  addEventListener('resize', draw);
}

function clock(ms) {
  const minutes = Math.floor(ms / 60000);
  return minutes < 1 ? time(ms) : minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

// ---- Provenance ----
function list(entries) {
  return el('dl', {}, entries.filter(([, value]) => value != null && value.length !== 0).map(([name, value]) => [el('dt', {}, name), el('dd', {}, [value].flat().map((line, nth) => (nth ? [el('br'), line] : line)))]));
}

/** What a profile states, the rest left out. */
const words = (...stated) => stated.filter(Boolean).join(', ');
const counted = (count, unit) => count && `${count} ${unit}`;

function provenance() {
  const { inputs, devices, answers } = data.provenance;
  const badge = (kind) => el('span', { class: `badge ${kind === 'modelled' ? 'wrong' : 'good'}` }, kind);
  const cards = devices.map((device) => el('div', { class: 'card' }, el('h3', {}, `Times on ${device.name}`),
    list([['processor', words(device.hardware.cpu, counted(device.hardware.cores, 'cores'))], ['memory', device.hardware.memory_bytes ? `${(device.hardware.memory_bytes / 2 ** 30).toFixed(1)} GiB` : 'not stated'],
      ['runtime', words([device.runtime.name, device.runtime.version].filter(Boolean).join(' '), counted(device.runtime.threads, 'threads'), device.runtime.precision)]]),
    device.parts.map(({ what, provenance: { kind, ...rest } }) => el('details', {}, el('summary', {}, `${what} `, badge(kind)), list(Object.entries(rest))))));
  const tables = answers.map((table) => el('div', { class: 'card' },
    el('h3', {}, `Answers of ${table.base_model}, ${table.family}, ${table.compressor} `, badge('measured')),
    list([['complete', table.complete ? 'yes' : 'no: part of the planned rows'], ['measured', `${table.date}, commit ${table.commit}`], ['command', table.command],
      ['items', Object.entries(table.datasets).map(([name, of]) => `${name}: ${of.estimate} to estimate with, ${of.replay} to replay`)]]),
    el('details', {}, el('summary', {}, 'Prompt, scorer, weights'), list([['prompt', table.prompt_template], ['shots', table.shots], ['scorer', table.scorer],
      ['weights', table.model_source], ['sha256', table.model_sha256], ['split', table.split], ['notes', table.notes]]))));
  const changed = inputs.filter(({ now }) => now !== 'same').length;
  $('provenance-body').append(...cards, ...tables);
  if (!inputs.length) return;
  $('provenance-body').append(el('h3', {}, 'Input files'), el('p', { class: changed ? 'note' : 'faint' }, changed
    ? `${changed} of ${inputs.length} inputs are no longer what the run read; profiles above and figures below are as they are now.`
    : 'Every input is byte for byte what the run read.'),
  ...sortable('inputs', 'Input files', [text('file', 'path'), text('now', 'now'), text('SHA-256 at the run', 'sha256')], inputs));
}

// ---- The page ----
function theme() {
  const root = document.documentElement;
  const isDark = () => (root.dataset.theme || (matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light')) === 'dark';
  $('theme').addEventListener('click', () => { root.dataset.theme = isDark() ? 'light' : 'dark'; redraw(); });
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', redraw);
  views.push(() => { $('theme').textContent = isDark() ? 'Light' : 'Dark'; });
}

function origin() {
  const { executor, seeds, first_seed: firstSeed, commit, sources_modified: modified, pliant } = data.manifest;
  $('origin').textContent = [executor && `executor ${executor}`, seeds && `${seedCount(seeds)} from ${firstSeed}`,
    commit && `commit ${commit.slice(0, 12)}${modified ? ' with changes' : ''}`, pliant && `pliant ${pliant}`].filter(Boolean).join(' · ');
  $('failures').append(...data.failures.map((run) => el('p', { class: 'note' }, el('b', {}, `${run.method} did not finish`),
    ` (α ${run.alpha}, ${run.device}, seed ${run.seed}): ${run.error}`)));
  $('manifest-text').textContent = data.manifest_text;
  $('figures').hidden = !$('figures').querySelector('details');
}

$('scene').append(
  picker('Device', scenes.map(sceneName), (place) => { looked.scene = scenes[place]; redraw(); }),
  choice('Skew α', alphas.map(String), (place) => { looked.alpha = alphas[place]; redraw(); }));
for (const id of ['scene', 'goodput', 'timeline', 'metrics']) $(id).hidden = !data.metrics.length;
views.push(summary);
for (const part of [theme, origin, goodput, timeline, tables, provenance]) part();
redraw();
for (const link of document.querySelectorAll('nav a')) link.hidden = $(link.hash.slice(1)).hidden;
