/** Path templates of repositories (literal names, `*` and `{arch}`): which paths below an inbox may hold a repository. */
import type { Parsed } from './units.ts';

export type TemplateComponent =
  | { readonly kind: 'literal'; readonly value: string }
  /** `*`: any one path component. */
  | { readonly kind: 'any' }
  /** `{arch}`: any one path component, which is the architecture of the repository's packages. */
  | { readonly kind: 'arch' };

export interface Template {
  readonly text: string;
  readonly components: readonly TemplateComponent[];
}

/** What one path component of a repository may be called; neither `.` nor `..`, nor anything hidden, nor an option. */
const componentName = /^[A-Za-z0-9][A-Za-z0-9._+-]{0,254}$/;
const maxDepth = 16;

export const templateExample = 'a path such as main/{arch} or staging/*/*/{arch}';

/** True for a name that a `*` or an `{arch}` matches. */
export function isComponentName(name: string): boolean {
  return componentName.test(name);
}

/** Reads a template: 1 to 16 components, each a literal, `*` or `{arch}`; `{arch}` at most once. */
export function parseTemplate(text: string): Parsed<Template> {
  const refuse = (what: string): { problem: string } => ({
    problem: `${JSON.stringify(text)} ${what}, expected ${templateExample}`,
  });
  if (text === '') return refuse('is empty');
  if (text.startsWith('/') || text.endsWith('/')) return refuse('begins or ends with a slash');
  const components: TemplateComponent[] = [];
  for (const name of text.split('/')) {
    if (name === '*') components.push({ kind: 'any' });
    else if (name === '{arch}') components.push({ kind: 'arch' });
    else if (isComponentName(name)) components.push({ kind: 'literal', value: name });
    else if (/[*{}]/.test(name))
      return refuse(`has ${JSON.stringify(name)}, but * and {arch} stand for whole components`);
    else return refuse(`has the component ${JSON.stringify(name)}, which is no plain name`);
  }
  if (components.length > maxDepth) return refuse(`has more than ${maxDepth} components`);
  if (components.filter((c) => c.kind === 'arch').length > 1) return refuse('has {arch} more than once');
  return { value: { text, components } };
}

/** The architecture in `path` (relative, `/` between components; null when the template has no `{arch}`), or null for no match. */
export function matchTemplate(template: Template, path: string): { readonly arch: string | null } | null {
  const names = path.split('/');
  if (names.length !== template.components.length) return null;
  let arch: string | null = null;
  for (const [index, component] of template.components.entries()) {
    const name = names[index] ?? '';
    if (!matchComponent(component, name)) return null;
    if (component.kind === 'arch') arch = name;
  }
  return { arch };
}

export function matchesAny(templates: readonly Template[], path: string): boolean {
  return templates.some((template) => matchTemplate(template, path) !== null);
}

/** True when one path component fits; for a walk that goes down level by level. */
export function matchComponent(component: TemplateComponent, name: string): boolean {
  return component.kind === 'literal' ? component.value === name : isComponentName(name);
}

/** True when some path matches both. */
export function templatesOverlap(a: Template, b: Template): boolean {
  if (a.components.length !== b.components.length) return false;
  return a.components.every((left, index) => {
    const right = b.components[index];
    return left.kind !== 'literal' || right?.kind !== 'literal' || left.value === right.value;
  });
}
