import assert from 'node:assert/strict';
import test from 'node:test';
import * as fc from 'fast-check';
import {
  isComponentName,
  matchComponent,
  matchTemplate,
  parseTemplate,
  type Template,
  templatesOverlap,
} from '../../src/config/template.ts';

function template(text: string): Template {
  const parsed = parseTemplate(text);
  assert.ok('value' in parsed, `${text} is a template`);
  return parsed.value;
}

const plainName = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._+-]{0,8}$/);
const shortName = fc.constantFrom('main', 'edge', 'x86_64', 'noarch');

/** Templates of few names, so that two of them often have something in common. */
const anyTemplate = fc
  .tuple(
    fc.array(fc.oneof<fc.Arbitrary<string>[]>(shortName, fc.constant('*')), { minLength: 1, maxLength: 4 }),
    fc.option(fc.nat(3)),
  )
  .map(([names, arch]) => {
    if (arch !== null) names[arch % names.length] = '{arch}';
    return template(names.join('/'));
  });

test('the templates of the design take the paths that they are meant for', () => {
  const cases = [
    ['main/{arch}', 'main/x86_64', { arch: 'x86_64' }],
    ['main/{arch}', 'main/x86_64/sub', null],
    ['main/{arch}', 'main', null],
    ['main/{arch}', 'edge/x86_64', null],
    ['staging/*/*/{arch}', 'staging/gnome/47/aarch64', { arch: 'aarch64' }],
    ['staging/*/*/{arch}', 'staging/gnome/aarch64', null],
    ['extra-repos/systemd/*/{arch}', 'extra-repos/systemd/v25.12/armv7', { arch: 'armv7' }],
    ['v25.12/noarch', 'v25.12/noarch', { arch: null }],
    ['v25.12/noarch', 'v25x12/noarch', null],
    ['main/*', 'main/..', null],
    ['main/*', 'main/.', null],
    ['main/*', 'main/.hidden', null],
    ['main/*', 'main/-rf', null],
    ['main/*', 'main/', null],
    ['main/*', 'main/a\nb', null],
    ['main/*', '/main/a', null],
  ] as const;
  for (const [text, path, expected] of cases) {
    assert.deepEqual(matchTemplate(template(text), path), expected, `${text} on ${path}`);
  }
});

test('a template that could mean something else is refused', () => {
  const cases = [
    ['', 'is empty'],
    ['/main/{arch}', 'begins or ends with a slash'],
    ['main/{arch}/', 'begins or ends with a slash'],
    ['main//{arch}', 'has the component "", which is no plain name'],
    ['../{arch}', 'has the component "..", which is no plain name'],
    ['main/.git', 'has the component ".git", which is no plain name'],
    ['main/v{arch}', 'has "v{arch}", but * and {arch} stand for whole components'],
    ['main/**', 'has "**", but * and {arch} stand for whole components'],
    ['main/{Arch}', 'has "{Arch}", but * and {arch} stand for whole components'],
    ['{arch}/{arch}', 'has {arch} more than once'],
    [Array(17).fill('a').join('/'), 'has more than 16 components'],
  ] as const;
  for (const [text, what] of cases) {
    const problem = `${JSON.stringify(text)} ${what}, expected a path such as main/{arch} or staging/*/*/{arch}`;
    assert.deepEqual(parseTemplate(text), { problem });
  }
});

test('a path made from a template matches it, with its architecture, and level by level', () => {
  fc.assert(
    fc.property(anyTemplate, fc.array(plainName, { minLength: 4, maxLength: 4 }), (t, names) => {
      const path = t.components.map((c, index) => (c.kind === 'literal' ? c.value : (names[index] ?? '')));
      const arch = t.components.findIndex((c) => c.kind === 'arch');
      assert.deepEqual(matchTemplate(t, path.join('/')), { arch: arch < 0 ? null : (path[arch] ?? null) });
      assert.ok(t.components.every((c, index) => matchComponent(c, path[index] ?? '')));
      assert.equal(matchTemplate(t, [...path, 'more'].join('/')), null);
    }),
  );
});

test('whatever matches consists of as many plain names as the template has components', () => {
  fc.assert(
    fc.property(
      anyTemplate,
      fc.oneof(
        fc.string(),
        fc.array(fc.oneof(shortName, fc.string())).map((n) => n.join('/')),
      ),
      (t, path) => {
        if (matchTemplate(t, path) === null) return;
        const names = path.split('/');
        assert.equal(names.length, t.components.length);
        assert.ok(names.every(isComponentName));
      },
    ),
  );
});

test('two templates overlap exactly when one path matches both', () => {
  fc.assert(
    fc.property(anyTemplate, anyTemplate, (a, b) => {
      // The narrowest path of both: a literal wherever either has one.
      const path = a.components.map((left, index) => {
        const right = b.components[index];
        return left.kind === 'literal' ? left.value : right?.kind === 'literal' ? right.value : 'any';
      });
      const both = matchTemplate(a, path.join('/')) !== null && matchTemplate(b, path.join('/')) !== null;
      assert.equal(templatesOverlap(a, b), both);
      assert.equal(templatesOverlap(b, a), both);
    }),
  );
});
