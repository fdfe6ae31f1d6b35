// First, before the page: notes every error and every request that was stopped.
window.wrong = [];
addEventListener('error', (event) => wrong.push(`error: ${event.message || 'a resource'}`), true);
addEventListener('unhandledrejection', (event) => wrong.push(`rejection: ${event.reason}`));
document.addEventListener('securitypolicyviolation', (event) => wrong.push(`request: ${event.blockedURI}`));
console.error = (...words) => wrong.push(`console: ${words.join(' ')}`);
// Then: uses the page.
(() => {
  const all = (query) => [...document.querySelectorAll(query)];
  const one = (query) => document.querySelector(query);
  const expect = (what, is, found) => { if (!is) wrong.push(`${what}: ${JSON.stringify(found)}`); };
  const tell = (node, kind) => node.dispatchEvent(new Event(kind, { bubbles: true }));
  const methods = () => all('#metrics-body tbody th').map((cell) => cell.textContent);

  // Tables: sorted by a header that is a button, filtered by words.
  const file = methods();
  expect('rows', file.length === 6 && file[0] === 'elastic-profile', file);
  const head = one('#metrics-body thead th');
  head.querySelector('button').click();
  expect('ascending', head.getAttribute('aria-sort') === 'ascending' && methods()[0] === '<b>oracle</b>', methods());
  head.querySelector('button').click();
  expect('descending', head.getAttribute('aria-sort') === 'descending' && methods()[0] === 'full', methods());
  const filter = one('#metrics-filter');
  filter.value = 'ORACLE 0.25';
  tell(filter, 'input');
  expect('filter', methods().length === 1 && one('#metrics-body [role=status]').textContent === '1 of 6 rows', methods());
  expect('names are no markup', all('b').every((node) => node.textContent !== 'oracle'));

  // What is looked at.
  const headline = one('#headline').textContent;
  all('#scene input')[1].click();
  expect('skew', one('#headline').textContent !== headline && one('#headline').textContent.includes('α 0.25'), headline);
  expect('goodput', all('#goodput-body thead th').length === 7 && all('#goodput-body tbody tr').length === 2, one('#goodput-body').textContent);
  const cell = one('#goodput-body td').textContent;
  all('#goodput-body input')[1].click();
  expect('another measure', one('#goodput-body td').textContent !== cell, cell);

  // Timeline.
  const slider = one('input[type=range]');
  slider.value = 5;
  tell(slider, 'input');
  expect('scrub', one('#timeline [role=status]').textContent.includes('(6 of 60, seed 0)'), one('#timeline [role=status]').textContent);
  expect('a bar for each method', all('#timeline .track').length === 2, all('#timeline .track').length);
  expect('bars say what they show', all('[role=img]').every((node) => node.getAttribute('aria-label').length > 20));
  all('#timeline input[type=radio]')[1].click();
  expect('a bar for each request', all('#timeline .track').length === 12, all('#timeline .track').length);

  // Themes.
  const ground = getComputedStyle(document.body).backgroundColor;
  one('#theme').click();
  expect('theme', getComputedStyle(document.body).backgroundColor !== ground, ground);

  // By keyboard, by ear, on a phone, without a network.
  const controls = all('a[href], button, input, select, summary, .scroll, pre').filter((node) => node.offsetParent);
  for (const node of controls) {
    node.focus();
    expect('focus', document.activeElement === node, node.outerHTML.slice(0, 120));
  }
  expect('controls', controls.length > 40, controls.length);
  expect('headers have a scope', all('th').every((node) => node.scope));
  expect('images have words', all('img').length > 0 && all('img').every((node) => node.alt));
  expect('fields have names', all('input, select').every((node) => node.labels.length || node.getAttribute('aria-label')));
  expect('fits', document.documentElement.scrollWidth <= innerWidth, [document.documentElement.scrollWidth, innerWidth]);
  const requests = performance.getEntriesByType('resource').map(({ name }) => name).filter((name) => !name.startsWith('data:'));
  expect('requests', requests.length === 0, requests);
  const found = document.createElement('pre');
  found.id = 'found';
  found.textContent = wrong.join('\n') || 'nothing wrong';
  document.body.append(found);
})();
