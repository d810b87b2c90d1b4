/** The style sheet of the status page: light and dark after the reader's system, tables that become cards on a narrow screen. */
export const pageStyle = `
:root { color-scheme: light dark; --ink: #1d2530; --soft: #5d6b7a; --line: #dde3ea; --back: #f5f7f9; --card: #fff;
  --good: #18794e; --warn: #a35200; --bad: #c62a2f; --idle: #5d6b7a; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e9ef; --soft: #96a3b1; --line: #2b343f; --back: #12171d; --card: #1a2129;
  --good: #4cc38a; --warn: #f1a10d; --bad: #ff6369; --idle: #96a3b1; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main, footer { max-width: 72rem; margin: 0 auto; padding: 0 1rem; }
header { margin: 2rem 0 1.5rem; padding: 1.1rem 1.3rem; background: var(--card); border: 1px solid var(--line);
  border-left: 5px solid var(--tone); border-radius: 8px; }
h1 { margin: 0; font-size: 1.5rem; line-height: 1.25; font-weight: 650; }
header p { margin: .25rem 0 0; color: var(--soft); }
h2 { margin: 0 0 .5rem; font-size: 1rem; font-weight: 650; }
section { margin: 0 0 1.75rem; }
table { width: 100%; border-collapse: separate; border-spacing: 0; background: var(--card); border: 1px solid var(--line);
  border-radius: 8px; font-variant-numeric: tabular-nums; }
th, td { padding: .55rem .8rem; text-align: left; vertical-align: top; overflow-wrap: anywhere; }
th { color: var(--soft); font-size: .8rem; font-weight: 550; white-space: nowrap; }
td { border-top: 1px solid var(--line); }
small { color: var(--soft); font-size: .85em; }
td small { white-space: nowrap; }
td:first-child { min-width: 10rem; }
code { font: .87em ui-monospace, monospace; }
a { color: inherit; text-underline-offset: .2em; }
time { white-space: nowrap; }
strong { color: var(--bad); font-weight: 600; }
ul { margin: 0; padding: 0; list-style: none; }
.good { --tone: var(--good); } .warn { --tone: var(--warn); } .bad { --tone: var(--bad); } .idle { --tone: var(--idle); }
.pill { color: var(--tone); font-weight: 600; white-space: nowrap; }
.pill::before { content: ""; display: inline-block; width: .55em; height: .55em; margin-right: .45em; border-radius: 50%;
  background: var(--tone); }
footer { padding-bottom: 2rem; color: var(--soft); font-size: .87rem; }
@media (max-width: 48rem) {
  header { margin-top: 1rem; }
  thead { position: absolute; clip-path: inset(50%); width: 1px; height: 1px; overflow: hidden; }
  table, tbody, tr, td { display: block; }
  tr + tr { border-top: 1px solid var(--line); }
  tr { padding: .5rem 0; }
  td { display: flex; gap: .75rem; padding: .15rem .9rem; border: 0; }
  td::before { content: attr(data-of); flex: 0 0 7rem; color: var(--soft); font-size: .85rem; }
  td:empty { display: none; }
}
`;
