/** One session of the embedded SFTP server: requests in, files touched, answers out, in order. */
import { posix } from 'node:path';
import type { Duplex } from 'node:stream';
import { errnoOf, messageOf } from '../errors.ts';
import type { OpenFile } from './files.ts';
import { applyAttributes, type ConfinedFiles, type DirectoryEntry } from './ssh-server-files.ts';
import {
  attributes,
  encodePacket,
  FieldReader,
  PacketSplitter,
  packet,
  status,
  text,
  uint32,
  uint64,
} from './ssh-sftp-wire.ts';

const extensions: readonly (readonly [string, string])[] = [
  ['posix-rename@openssh.com', '1'],
  ['fsync@openssh.com', '1'],
  ['statvfs@openssh.com', '2'],
  ['limits@openssh.com', '1'],
];
const maxHandles = 256;
const maxDataBytes = 255 * 1024;
const namesPerAnswer = 100;

type Handle =
  | { readonly kind: 'file'; readonly file: OpenFile }
  | { readonly kind: 'directory'; readonly entries: DirectoryEntry[] };

/** A request that cannot be served as it stands. */
class Refusal extends Error {
  readonly status: number;

  constructor(code: number, message: string) {
    super(message);
    this.name = 'Refusal';
    this.status = code;
  }
}

/** Answers one request after the other, in their order, until the client ends; pauses the client while it works. */
export async function serveSession(channel: Duplex, files: ConfinedFiles): Promise<void> {
  const handles = new Map<string, Handle>();
  const splitter = new PacketSplitter();
  let nextHandle = 0;
  const keep = (handle: Handle): Buffer => {
    const name = String(nextHandle++);
    handles.set(name, handle);
    return text(name);
  };
  try {
    for await (const chunk of channel) {
      for (const bytes of splitter.push(chunk as Buffer)) {
        channel.write(await answer(bytes, files, handles, keep));
      }
    }
  } finally {
    for (const handle of handles.values()) if (handle.kind === 'file') await handle.file.close();
  }
}

async function answer(
  bytes: Buffer,
  files: ConfinedFiles,
  handles: Map<string, Handle>,
  keep: (handle: Handle) => Buffer,
): Promise<Buffer> {
  const fields = new FieldReader(bytes.subarray(1));
  const type = bytes[0] ?? 0;
  if (type === packet.init) {
    return encodePacket(packet.version, uint32(3), ...extensions.flat().map((one) => text(one)));
  }
  const id = uint32(fields.uint32());
  try {
    const [answerType, ...rest] = await serve(type, fields, files, handles, keep);
    return encodePacket(answerType, id, ...rest);
  } catch (error) {
    const code = error instanceof Refusal ? error.status : statusOf(errnoOf(error));
    return encodePacket(packet.status, id, uint32(code), text(messageOf(error)), text(''));
  }
}

type Reply = readonly [type: number, ...fields: Buffer[]];
const done: Reply = [packet.status, uint32(status.ok), text(''), text('')];

async function serve(
  type: number,
  fields: FieldReader,
  files: ConfinedFiles,
  handles: Map<string, Handle>,
  keep: (handle: Handle) => Buffer,
): Promise<Reply> {
  const fileOf = (name: string): OpenFile => {
    const handle = handles.get(name);
    if (handle?.kind !== 'file') throw new Refusal(status.failure, 'no such handle');
    return handle.file;
  };
  if ((type === packet.open || type === packet.opendir) && handles.size >= maxHandles) {
    throw new Refusal(status.failure, 'too many open handles');
  }
  switch (type) {
    case packet.open: {
      const [path, flags, { permissions = 0o666 }] = [fields.text(), fields.uint32(), fields.attributes()];
      return [packet.handle, keep({ kind: 'file', file: await files.open(path, flags, permissions) })];
    }
    case packet.opendir:
      return [packet.handle, keep({ kind: 'directory', entries: await files.list(fields.text()) })];
    case packet.close: {
      const name = fields.text();
      const handle = handles.get(name);
      handles.delete(name);
      if (handle?.kind === 'file') await handle.file.close();
      return done;
    }
    case packet.read: {
      const [file, offset, length] = [fileOf(fields.text()), fields.uint64(), fields.uint32()];
      const data = Buffer.allocUnsafe(Math.min(length, maxDataBytes));
      const { bytesRead } = await file.read(data, 0, data.length, offset);
      if (bytesRead === 0) throw new Refusal(status.eof, 'end of file');
      return [packet.data, text(data.subarray(0, bytesRead))];
    }
    case packet.write: {
      const [file, offset, data] = [fileOf(fields.text()), fields.uint64(), fields.bytes()];
      for (let written = 0; written < data.length; ) {
        written += (await file.write(data, written, data.length - written, offset + written)).bytesWritten;
      }
      return done;
    }
    case packet.fstat: {
      const { size, mode, atimeMs, mtimeMs } = await fileOf(fields.text()).stat();
      const [atimeSeconds, mtimeSeconds] = [Math.floor(atimeMs / 1000), Math.floor(mtimeMs / 1000)];
      return [packet.attrs, attributes({ size, permissions: mode, atimeSeconds, mtimeSeconds })];
    }
    case packet.stat:
    case packet.lstat:
      return [packet.attrs, attributes(await files.stat(fields.text()))];
    case packet.setstat:
      await files.setAttributes(fields.text(), fields.attributes());
      return done;
    case packet.fsetstat:
      await applyAttributes(fileOf(fields.text()), fields.attributes());
      return done;
    case packet.readdir: {
      const handle = handles.get(fields.text());
      if (handle?.kind !== 'directory') throw new Refusal(status.failure, 'no such handle');
      const some = handle.entries.splice(0, namesPerAnswer);
      if (some.length === 0) throw new Refusal(status.eof, 'end of directory');
      const names = some.flatMap((one) => [text(one.name), text(one.name), attributes(one.attributes)]);
      return [packet.name, uint32(some.length), ...names];
    }
    case packet.mkdir:
      await files.makeDirectory(fields.text(), fields.attributes().permissions ?? 0o777);
      return done;
    case packet.rmdir:
      await files.removeDirectory(fields.text());
      return done;
    case packet.remove:
      await files.remove(fields.text());
      return done;
    case packet.realpath: {
      const path = text(posix.normalize(`/${fields.text()}`));
      return [packet.name, uint32(1), path, path, attributes({})];
    }
    case packet.extended:
      return serveExtended(fields, files, fileOf);
    default:
      throw new Refusal(status.unsupported, 'not supported');
  }
}

async function serveExtended(
  fields: FieldReader,
  files: ConfinedFiles,
  fileOf: (name: string) => OpenFile,
): Promise<Reply> {
  switch (fields.text()) {
    case 'posix-rename@openssh.com':
      await files.rename(fields.text(), fields.text());
      return done;
    case 'fsync@openssh.com':
      await fileOf(fields.text()).sync();
      return done;
    case 'statvfs@openssh.com':
      return [packet.extendedReply, ...(await files.space(fields.text())).map(uint64)];
    case 'limits@openssh.com':
      return [packet.extendedReply, ...[256 * 1024, maxDataBytes, maxDataBytes, maxHandles].map(uint64)];
    default:
      throw new Refusal(status.unsupported, 'not supported');
  }
}

/** As OpenSSH's sftp-server maps them. */
function statusOf(code: string | undefined): number {
  if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'ELOOP' || code === 'EBADF') return status.noSuchFile;
  if (code === 'EPERM' || code === 'EACCES') return status.permissionDenied;
  return status.failure;
}
