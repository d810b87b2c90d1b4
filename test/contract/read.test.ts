import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { TransportError } from '../../src/errors.ts';
import { kinds } from './far.ts';

for (const kind of kinds) {
  test(`${kind.name}: one file is read whole, or is null when it is not there or too long`, async (t) => {
    if (kind.missing !== undefined) return t.skip(kind.missing);
    await using far = await kind.open();
    if (far.lacks?.pace) return t.skip('nothing can be read there but by a listing');
    const place = far.place('read');
    mkdirSync(join(place.root, 'main'));
    const bytes = Buffer.alloc(100_000, 'ab');
    writeFileSync(join(place.root, 'main/index'), bytes);
    writeFileSync(join(place.root, 'top'), '');
    const transport = place.transport();
    const read = (path: string, limit = 1_000_000): Promise<Buffer | null> => {
      if (!transport.read) throw new Error('reads nothing');
      return transport.read(path, limit, { signal: new AbortController().signal });
    };
    try {
      if (!far.lists) {
        const refused = (e: unknown): boolean => e instanceof TransportError && e.reason === 'option_refused';
        await assert.rejects(read('main/index'), refused);
        return;
      }
      assert.deepEqual(await read('main/index'), bytes);
      assert.deepEqual(await read('top'), Buffer.alloc(0));
      assert.equal(await read('absent'), null);
      assert.equal(await read('main/absent'), null);
      assert.equal(await read('no/such/place'), null);
      assert.equal(await read('main/index', 99_999), null);
    } finally {
      await transport.close();
    }
  });
}
