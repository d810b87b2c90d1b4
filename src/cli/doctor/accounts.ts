/** The accounts of this machine, and what the bits of a file allow each of them. Pure. */

export interface Account {
  readonly name: string;
  readonly uid: number;
  /** Of its groups, the main one first. */
  readonly gids: readonly number[];
  readonly home: string;
  /** Login shell; empty: not known. */
  readonly shell: string;
}

/** What stat(2) says of a path, or why it says nothing. */
export type PathFacts =
  | {
      readonly path: string;
      readonly kind: 'directory' | 'file' | 'link' | 'other';
      readonly uid: number;
      readonly gid: number;
      /** Permission bits. */
      readonly mode: number;
      readonly dev: number;
    }
  | { readonly path: string; readonly kind: 'absent' | 'unseen' };

export type SeenPath = Extract<PathFacts, { readonly uid: number }>;

/** Permission bits of one class in a mode. */
export const access = { read: 4, write: 2, search: 1 } as const;

/** True when an account may do all of `bits` with the file, by its owner, group and mode. Root may do everything. */
export function permits(account: Pick<Account, 'uid' | 'gids'>, file: SeenPath, bits: number): boolean {
  if (account.uid === 0) return true;
  const shift = file.uid === account.uid ? 6 : account.gids.includes(file.gid) ? 3 : 0;
  return ((file.mode >> shift) & bits) === bits;
}

/** Reads passwd(5) and group(5). */
export function parseAccounts(passwd: string, group: string): Account[] {
  const members = group.split('\n').flatMap((line) => {
    const [, , gid, names = ''] = line.split(':');
    return gid === undefined || gid === '' ? [] : names.split(',').map((name) => ({ name, gid: Number(gid) }));
  });
  return passwd.split('\n').flatMap((line) => {
    const [name = '', , uid, gid, , home = '/', shell = ''] = line.split(':');
    if (name === '' || uid === undefined || gid === undefined) return [];
    const more = members.filter((member) => member.name === name).map((member) => member.gid);
    return [{ name, uid: Number(uid), gids: [Number(gid), ...more], home, shell: shell.trim() }];
  });
}

/** The account with this id; one that is not in the list has only its number. */
export function accountOf(accounts: readonly Account[], uid: number, gid = uid): Account {
  return (
    accounts.find((account) => account.uid === uid) ?? { name: `uid ${uid}`, uid, gids: [gid], home: '/', shell: '' }
  );
}

/** `0640` */
export function modeText(mode: number): string {
  return (mode & 0o7777).toString(8).padStart(4, '0');
}
