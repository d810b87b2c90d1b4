/** The text of an instant. Pure. */

/** An RFC 3339 instant in UTC with whole seconds, as status and trace show it. */
export function toInstant(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`;
}
