/** A status page as parts that can be compared and replaced one by one, and the difference between two of them. Pure. */

export interface PageModel {
  /** Plain text. */
  readonly title: string;
  /** The address of the icon: how it stands, seen from another tab. */
  readonly icon: string;
  /** The elements of the page by their ids, in order. */
  readonly sections: ReadonlyMap<string, string>;
  /** The rows of the table of mirrors by their ids, in order: they are many and change one at a time. */
  readonly rows: ReadonlyMap<string, string>;
}

/** What turns one page into another: how the server tells a browser. */
export interface PageUpdate {
  readonly title: string;
  readonly icon: string;
  /** HTML of elements that are new or changed, by id. */
  readonly set: Readonly<Record<string, string>>;
  /** The ids of all rows, when rows came, went or changed places. */
  readonly rows?: readonly string[];
}

/** Null when nothing changed. `before` null: everything. */
export function updateBetween(before: PageModel | null, after: PageModel): PageUpdate | null {
  const old = before === null ? new Map<string, string>() : new Map([...before.sections, ...before.rows]);
  const set = [...after.sections, ...after.rows].filter(([id, html]) => old.get(id) !== html);
  const [rows, oldRows] = [[...after.rows.keys()], before === null ? null : [...before.rows.keys()]];
  const moved = oldRows === null || rows.length !== oldRows.length || rows.some((id, i) => id !== oldRows[i]);
  const { title, icon } = after;
  if (set.length === 0 && !moved && before?.title === title && before.icon === icon) return null;
  return { title, icon, set: Object.fromEntries(set), ...(moved && { rows }) };
}
