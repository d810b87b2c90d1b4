/**
 * The script of the status page: it brings in what the server sends over `events`, element by element, and leaves alone what is
 * the same, so that focus, selection, what is unfolded and the place on the page stay. Without it the page reloads itself.
 */
export const pageScript = `
(() => {
const root = document.documentElement, $ = (id) => document.getElementById(id);
const icon = document.querySelector('link[rel=icon]');
let version = root.dataset.version, lostAt = null, source;
function sync(from, to) {
  if (from.nodeType !== 1) { if (from.data !== to.data) from.data = to.data; return; }
  for (const { name, value } of to.attributes)
    if (name !== 'open' && from.getAttribute(name) !== value) from.setAttribute(name, value);
  for (const { name } of [...from.attributes])
    if (name !== 'open' && name !== 'title' && !to.hasAttribute(name)) from.removeAttribute(name);
  // Its rows come one by one.
  if (from.id === 'mirrors') return;
  const byId = new Map([...from.children].filter((c) => c.id).map((c) => [c.id, c]));
  let at = from.firstChild;
  for (const next of [...to.childNodes]) {
    const old = next.id ? byId.get(next.id) : at && !at.id && at.nodeName === next.nodeName ? at : null;
    if (!old) { from.insertBefore(next, at); continue; }
    if (old === at) at = at.nextSibling; else from.insertBefore(old, at);
    sync(old, next);
  }
  while (at) { const gone = at; at = at.nextSibling; gone.remove(); }
}
function parse(html) {
  const template = document.createElement('template');
  template.innerHTML = html;
  return template.content.firstElementChild;
}
function apply({ page, title, icon: href, set, rows }) {
  if (page !== root.dataset.page) return location.reload();
  const focused = document.activeElement, made = new Map(), body = $('mirrors');
  for (const [id, html] of Object.entries(set)) {
    const next = parse(html), old = $(id);
    if (old) sync(old, next); else made.set(id, next);
  }
  if (rows) {
    let at = body.firstElementChild;
    for (const id of rows) {
      const row = made.get(id) ?? $(id);
      if (row === at) at = at.nextElementSibling; else if (row) body.insertBefore(row, at);
    }
    while (at) { const gone = at; at = at.nextElementSibling; gone.remove(); }
  }
  if (focused && focused !== document.activeElement && focused.isConnected) focused.focus({ preventScroll: true });
  document.title = title;
  icon.href = href;
}
function lost() {
  lostAt ??= new Date().toISOString().slice(11, 19);
  const note = $('lost');
  note.hidden = false;
  note.textContent = 'Not connected since ' + lostAt + ' UTC: what you see may be old. Trying again.';
  $('live').textContent = 'Not connected';
}
function open() {
  source = new EventSource('events?v=' + encodeURIComponent(version));
  source.onopen = () => { lostAt = null; $('lost').hidden = true; $('live').textContent = 'Live'; };
  source.addEventListener('page', (event) => { version = event.lastEventId; apply(JSON.parse(event.data)); });
  source.addEventListener('now', (event) => { $('now').textContent = event.data; });
  source.onerror = () => {
    lost();
    // After another answer than 200, as a web server gives for a daemon that is away, a browser does not try again.
    if (source.readyState === 2) setTimeout(open, 5000 + Math.random() * 5000);
  };
}
document.addEventListener('mouseover', ({ target }) => {
  if (target.localName === 'time') target.title = target.dateTime.replace('T', ' ').replace('Z', ' UTC');
});
open();
})();
`;
