/** Writes the batches that wait, are held or were rejected, and the repositories, for the status page of operators. */
import { firstOf, html, table, type Tone, when } from './page-html.ts';
import { elementId, row } from './page-mirrors.ts';
import type { BatchStatus, RepositoryStatus, Status } from './status.ts';

const reasonsShown = 5;
const batchesShown = 20;
const repositoriesShown = 100;

const batchTones: Readonly<Record<BatchStatus['state'], Tone>> = {
  held: 'warn',
  rejected: 'bad',
  waiting: 'busy',
  published: 'good',
};
const batchOrder: readonly BatchStatus['state'][] = ['held', 'waiting', 'rejected'];

/** Those that were published are among the generations. */
export function batchesSection({ batches }: Status, nowMs: number): string {
  const open = batchOrder.flatMap((state) => batches.filter((batch) => batch.state === state));
  if (open.length === 0) {
    return '<section id="batches"><h2>Batches</h2>\n<p class="calm">None waits, none is held, none was rejected lately.</p></section>';
  }
  const { shown, more } = firstOf(open, batchesShown);
  const rows = shown.map((batch) =>
    row(elementId('b', batch.id), batchTones[batch.state], `<code>${html(batch.id)}</code>`, [
      html(batch.state),
      html(batch.builder),
      when(batch.updated_at, nowMs),
      reasonList(batch),
    ]),
  );
  const columns = [
    { title: 'Batch' },
    { title: 'State' },
    { title: 'Builder' },
    { title: 'Changed' },
    { title: 'Reasons' },
  ];
  const note = more > 0 ? `and ${more} more, see /status.json` : '';
  return `<section id="batches">${table({ id: 'batch', title: 'Batches that wait, are held or were rejected', note, columns }, rows.join('\n'))}</section>`;
}

function reasonList({ id, state, reasons }: BatchStatus): string {
  const { shown, more } = firstOf(reasons, reasonsShown);
  const items = shown.map((r) => `<li><b>${html(r.code)}</b> <code>${html(r.path)}</code> ${html(r.detail)}</li>`);
  const rest = more > 0 ? `<li>… and ${more} more</li>` : '';
  const list = items.length === 0 ? '' : `<ul>${items.join('')}${rest}</ul>`;
  const command =
    state === 'held'
      ? `<code>lockstepd preview ${html(id)}</code>, then <code>approve</code> or <code>reject</code>`
      : '';
  return `${list}${command}`;
}

export function repositoriesSection({ repositories }: Status): string {
  if (repositories.length === 0) {
    return '<section id="repositories"><h2>Repositories</h2>\n<p class="calm">None is published yet.</p></section>';
  }
  const wrongFirst = repositories.toSorted((a, b) => Number(a.key_state === 'valid') - Number(b.key_state === 'valid'));
  const { shown, more } = firstOf(wrongFirst, repositoriesShown);
  const rows = shown.map(repositoryRow);
  const columns = [
    { title: 'Repository' },
    { title: 'Changed in', number: true },
    { title: 'Packages', number: true },
    { title: 'Index, SHA-256' },
    { title: 'Key' },
  ] as const;
  const note = more > 0 ? `and ${more} more, see /status.json` : '';
  return `<section id="repositories">${table({ id: 'repository', title: 'Repositories', note, columns }, rows.join('\n'))}</section>`;
}

function repositoryRow(r: RepositoryStatus): string {
  const key = html(r.signed_by);
  const isTrusted = r.key_state === 'valid';
  return row(elementId('r', `${r.path}/${r.index}`), isTrusted ? 'good' : 'bad', html(`${r.path}/${r.index}`), [
    `generation ${r.generation}`,
    String(r.packages),
    `<code>${html(r.index_sha256.slice(0, 16))}</code>`,
    isTrusted ? key : `${key} <strong>not trusted any more: ${html(r.key_state)}</strong>`,
  ]);
}
