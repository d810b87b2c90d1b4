/** Chooses how the bytes that a mirror holds are compared: at the mirror itself, else as its users get them. */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import type { MirrorConfig } from '../config/mirror-schema.ts';
import { errnoOf, TransportError } from '../errors.ts';
import type { CheckOptions, ContentCheck, KnownFile } from '../replicate/content.ts';
import { createRcloneCheck } from '../replicate/rclone-content.ts';
import { createRsyncCheck } from '../replicate/rsync-content.ts';
import { createSftpCheck } from '../replicate/sftp-content.ts';
import { download } from '../system/download.ts';
import { hashFile } from '../system/read-paced.ts';
import { urlOf } from './scrub-sources.ts';

const stallMs = 30_000;

/** A disk that rots is seen at the mirror; over HTTP a cache may hide it. That is the way where the account may not read. */
export function createContentCheck({ transport, url, bytesPerSecond }: MirrorConfig): ContentCheck {
  switch (transport.type) {
    case 'directory':
      return directoryCheck(transport.path);
    case 'rsync':
    case 'sftp': {
      const { host, port, user, identity, hostKeys, path } = transport;
      const options = { target: { host, port, user, identity, hostKeys }, path, stallMs: transport.stallMs };
      const check = transport.type === 'rsync' ? createRsyncCheck(options) : createSftpCheck(options);
      return url === null ? check : orOverHttp(check, httpCheck(url));
    }
    case 'rclone':
      return createRcloneCheck({ ...transport, bytesPerSecond });
    case 'trigger':
    case 'pull':
      // The schema asks for a URL: nothing else shows what such a mirror holds.
      if (url === null) throw new RangeError('a mirror that pulls without a URL');
      return { ...httpCheck(url), close: () => Promise.resolve() };
    default:
      return transport satisfies never;
  }
}

/** True where a look takes turns with the pushes: rrsync lets in one run at a time. */
export function takesTurns({ transport }: MirrorConfig): boolean {
  return transport.type === 'rsync';
}

/** True when the account may not do what was asked, whatever is tried again. */
export function isRefused(error: unknown): error is TransportError {
  return error instanceof TransportError && (error.reason === 'option_refused' || error.reason === 'permission');
}

function directoryCheck(root: string): ContentCheck {
  return {
    differing: (_sourceRoot, files, { pace, signal }) =>
      digestsDiffer(files, async ({ path }) => {
        try {
          return (await hashFile(join(root, path), { pace, signal })).sha256;
        } catch (error) {
          if (errnoOf(error) === 'ENOENT') return null;
          throw error;
        }
      }),
    close: async () => {},
  };
}

function httpCheck(url: string): Pick<ContentCheck, 'differing'> {
  return {
    differing: (_sourceRoot, files, { pace, signal }) =>
      digestsDiffer(files, async ({ path, size }) => {
        const hash = createHash('sha256');
        for await (const chunk of download(urlOf(url, path), { maxBytes: size + 1, stallMs, signal })) {
          hash.update(chunk);
          await pace(chunk.length);
        }
        return hash.digest('hex');
      }),
  };
}

async function digestsDiffer(
  files: readonly KnownFile[],
  digest: (file: KnownFile) => Promise<string | null>,
): Promise<ReadonlySet<string>> {
  const differing = new Set<string>();
  for (const file of files) if ((await digest(file)) !== file.sha256) differing.add(file.path);
  return differing;
}

function orOverHttp(check: ContentCheck, http: Pick<ContentCheck, 'differing'>): ContentCheck {
  let refused = false;
  return {
    ...check,
    differing: async (sourceRoot: string, files: readonly KnownFile[], options: CheckOptions) => {
      if (!refused) {
        try {
          return await check.differing(sourceRoot, files, options);
        } catch (error) {
          if (!isRefused(error)) throw error;
          refused = true;
        }
      }
      return http.differing(sourceRoot, files, options);
    },
  };
}
