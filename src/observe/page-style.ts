/** The style sheet of the status pages: light and dark after the reader's system, tables that become cards on a narrow screen. */
export const pageStyle = `
:root { color-scheme: light dark; --ink: #1b2430; --soft: #556270; --line: #dfe4ea; --back: #f4f6f8; --card: #fff; --hint: #eef1f4;
  --good: #17704a; --busy: #0b5cad; --warn: #9a4c00; --bad: #c02429; --idle: #556270; --link: #0b5cad; }
@media (prefers-color-scheme: dark) { :root { --ink: #e3e8ee; --soft: #9ba8b5; --line: #2c3540; --back: #11161b; --card: #191f26; --hint: #222a33;
  --good: #4cc38a; --busy: #6cb2ff; --warn: #f1a10d; --bad: #ff7b80; --idle: #9ba8b5; --link: #8cc2ff; } }
* { box-sizing: border-box; }
html { scroll-padding-top: 1rem; }
body { margin: 0; background: var(--back); color: var(--ink); font: 15px/1.45 system-ui, sans-serif; }
header, main, footer { max-width: 88rem; margin: 0 auto; padding: 0 1.25rem; }
.good { --tone: var(--good); } .busy { --tone: var(--busy); } .warn { --tone: var(--warn); } .bad { --tone: var(--bad); } .idle { --tone: var(--idle); }
a { color: var(--link); text-underline-offset: .2em; }
:focus-visible { outline: 3px solid var(--busy); outline-offset: 2px; border-radius: 3px; }
.skip { position: absolute; left: -99rem; padding: .5rem 1rem; background: var(--card); }
.skip:focus { left: 1rem; top: .5rem; z-index: 1; }
h1, h2, p, ul, ol { margin: 0; padding: 0; }
ul, ol { list-style: none; }
h2 { font-size: 1rem; font-weight: 650; }
small { color: var(--soft); font-size: .85em; }
code { font: .87em ui-monospace, monospace; overflow-wrap: anywhere; }
strong { color: var(--bad); font-weight: 600; }
time { white-space: nowrap; }
svg { fill: none; stroke-width: 1.5; }
header { padding-top: 1.75rem; padding-bottom: 1.25rem; border-top: 6px solid var(--tone); max-width: none; background: var(--card);
  border-bottom: 1px solid var(--line); margin-bottom: 1.5rem; }
header > * { max-width: 85.5rem; margin-left: auto; margin-right: auto; }
h1 { font-size: 1.75rem; line-height: 1.2; font-weight: 680; color: var(--tone); text-wrap: balance; }
header h2 { margin-top: 1rem; }
header p { margin-top: .3rem; color: var(--soft); }
header b { color: var(--ink); }
#lost { padding: .5rem .75rem; border: 1px solid var(--warn); border-radius: 6px; color: var(--warn); }
.bar { display: block; height: 8px; width: 100%; margin-top: .9rem; }
.bar rect { fill: var(--tone); }
.todo li { padding: .25rem 0 .25rem .75rem; border-left: 4px solid var(--tone); margin-top: .35rem; overflow-wrap: anywhere; }
.calm { color: var(--soft); }
#notes p { margin-bottom: .5rem; overflow-wrap: anywhere; }
#notes:not(:empty) { margin-bottom: 1.25rem; }
section { margin: 0 0 2rem; }
caption { text-align: left; padding-bottom: .5rem; }
caption p, .note { color: var(--soft); font-size: .87rem; }
.note { margin-bottom: .5rem; }
table { width: 100%; border-collapse: separate; border-spacing: 0; font-variant-numeric: tabular-nums; }
th, td { padding: .42rem .6rem; text-align: left; vertical-align: top; background: var(--card); border-top: 1px solid var(--line); }
tbody th, td:last-child { overflow-wrap: anywhere; }
thead th { color: var(--soft); background: none; border: 0; font-size: .8rem; font-weight: 550; padding-bottom: .3rem; vertical-align: bottom; }
tbody th { font-weight: 600; border-left: 4px solid var(--tone); }
.mirrors tbody th { min-width: 9.5rem; }
tbody tr:last-child > * { border-bottom: 1px solid var(--line); }
tbody small { font-weight: 400; white-space: nowrap; }
.mirrors td:nth-child(4), .mirrors td:nth-child(5) { white-space: nowrap; }
.mirrors strong { white-space: normal; }
.mirrors td:nth-child(2), .batch td:nth-child(2) { color: var(--tone); font-weight: 600; }
.mirrors td:nth-child(2)::before, .batch td:nth-child(2)::before { display: inline; content: var(--mark, "\\25cf") "\\a0"; color: inherit; font-size: 1em; }
table .busy td:nth-child(2) { --mark: "\\25b7"; } table .warn td:nth-child(2) { --mark: "\\25b2"; }
table .bad td:nth-child(2) { --mark: "\\2715"; } table .idle td:nth-child(2) { --mark: "\\25cb"; }
.mirrors td:has(svg) { white-space: nowrap; color: var(--soft); }
.mirrors svg { width: 64px; height: 15px; vertical-align: -2px; stroke: var(--busy); border-bottom: 1px solid var(--line); }
.batch li + li { margin-top: .2rem; }
details { background: var(--card); border: 1px solid var(--line); border-bottom-width: 0; }
details:first-of-type { border-radius: 6px 6px 0 0; }
details:last-of-type { border-bottom-width: 1px; border-radius: 0 0 6px 6px; }
summary { display: grid; grid-template-columns: 4.5rem 5.5rem 12rem 5.5rem minmax(8rem, 1fr) 21rem; gap: .75rem; align-items: center;
  padding: .5rem .75rem .5rem 1.75rem; cursor: pointer; font-variant-numeric: tabular-nums; position: relative; }
summary::before { content: "\\25b8"; position: absolute; left: .7rem; top: .5rem; color: var(--soft); }
details[open] > summary::before { content: "\\25be"; }
summary .by { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; color: var(--soft); }
summary .strip { grid-column: 5; }
summary:not(:has(.by)) .count { grid-column: 4; }
.strip { width: 100%; height: 18px; }
.reach.open { color: var(--warn); }
.u { stroke: var(--idle); } .v { stroke: var(--ink); } .p { stroke: var(--line); } .m { stroke: var(--good); }
.strip path { stroke-width: 2; vector-effect: non-scaling-stroke; } .strip .u, .strip .v { stroke-width: 6; } 
details > p, .fall { padding: 0 .75rem .6rem 1.75rem; max-width: 70rem; overflow-wrap: anywhere; }
p.warn { color: var(--warn); }
.fall li { display: grid; grid-template-columns: 12rem minmax(5rem, 1fr) 15rem; gap: .75rem; align-items: center; font-variant-numeric: tabular-nums; }
.fall li.warn span { color: var(--warn); }
.fall span:first-child { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.fall svg { width: 100%; height: 10px; background: var(--hint); border-radius: 2px; }
.fall rect { height: 100%; }
.fall .u { fill: var(--idle); } .fall .v { fill: var(--ink); } .fall .c { fill: var(--good); } .fall .s { fill: var(--good); fill-opacity: .35; }
.fall .w { fill: var(--warn); height: 2px; y: 4px; }
footer { padding-bottom: 2rem; color: var(--soft); font-size: .87rem; }
@media (min-width: 78.01rem) { .mirrors td:nth-child(10) { min-width: 12rem; } .n, .mirrors td:nth-child(n+3):nth-child(-n+7):not(:has(svg)), .repository td:nth-child(2), .repository td:nth-child(3),
  .generation td { text-align: right; } }
@media (max-width: 78rem) {
  header, main, footer { padding-left: .9rem; padding-right: .9rem; }
  header { padding-top: 1rem; }
  h1 { font-size: 1.4rem; }
  thead { position: absolute; clip-path: inset(50%); width: 1px; height: 1px; overflow: hidden; }
  table, tbody, caption { display: block; }
  tr { display: grid; grid-template-columns: repeat(auto-fill, minmax(8.5rem, 1fr)); gap: .3rem .75rem; padding: .6rem .8rem; background: var(--card);
    border: 1px solid var(--line); border-left: 4px solid var(--tone); }
  tr + tr { border-top-width: 0; }
  tbody tr:last-child > *, th, td { padding: 0; border: 0; background: none; }
  tbody th { grid-column: 1 / -2; border: 0; }
  td:empty, .mirrors .good td:nth-child(3), .mirrors:not(.public) .good td:nth-child(4), .public .good td:nth-child(6) { display: none; }
  td::before { display: block; color: var(--soft); font-size: .78rem; }
  .mirrors td:nth-child(3)::before { content: "Generation"; } .mirrors td:nth-child(4)::before { content: "Lag pushed"; }
  .mirrors td:nth-child(5)::before { content: "Lag observed"; } .mirrors td:nth-child(6)::before { content: "Last success"; }
  .mirrors td:nth-child(7)::before { content: "Next try"; } .mirrors td:nth-child(8)::before { content: "Worst lag, 24 h"; }
  .mirrors td:nth-child(9)::before { content: "Worst lag, 7 d"; } .mirrors td:nth-child(10) { grid-column: 1 / -1; }
  .public td:nth-child(4)::before { content: "Lag"; } .public td:nth-child(5)::before { content: "Last success"; }
  .public td:nth-child(6)::before { content: "Last check"; } .public td:nth-child(7)::before { content: "Worst lag, 24 h"; }
  .public td:nth-child(8)::before { content: "Worst lag, 7 d"; }
  .generation td:nth-child(3)::before { content: "Packages"; } .generation td:nth-child(4)::before { content: "On"; }
  .generation td:nth-child(5)::before { content: "Half in"; } .generation td:nth-child(6)::before { content: "90 % in"; }
  .generation td:nth-child(7)::before { content: "Last in"; }
  .batch td:last-child { grid-column: 1 / -1; }
  .repository td:nth-child(2)::before { content: "Changed in"; } .repository td:nth-child(3)::before { content: "Packages"; }
  .repository td:nth-child(4)::before { content: "Index, SHA-256"; } .repository td:nth-child(5)::before { content: "Key"; }
  summary { grid-template-columns: 1fr 1fr; gap: .2rem .75rem; }
  summary .strip, summary .reach { grid-column: 1 / -1; }
  summary:not(:has(.by)) .count { grid-column: auto; }
  .fall li { grid-template-columns: 1fr auto; gap: 0 .75rem; margin-bottom: .35rem; }
  .fall svg { grid-column: 1 / -1; grid-row: 2; }
}
`;
