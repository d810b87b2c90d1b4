/** What a configuration says about an MQTT broker that is told of each generation. */
import { z } from 'zod';
import { describe, mapping, pattern, text } from './fields.ts';
import { identityExample, identityPath, parseIdentity, serviceCredentials } from './identity.ts';
import { type SchemaContext, withoutSecrets } from './mirror-schema.ts';
import { absolutePath, name } from './names.ts';
import type { Parsed } from './units.ts';

export interface AnnounceConfig {
  readonly name: string;
  /** `mqtt://host:port` or `mqtts://host:port`. */
  readonly url: string;
  readonly user: string | null;
  /** File that holds the password. */
  readonly passwordFile: string | null;
  /** PEM file of the CAs that may sign the broker's certificate; null: those that Node trusts. */
  readonly caFile: string | null;
  /** The name of this primary in the topics; null: the host name. */
  readonly primary: string | null;
  /** Of the message for each changed repository: its path is the payload. */
  readonly topic: string;
  /** Of the retained trace of the newest generation. */
  readonly traceTopic: string;
  readonly qos: 0 | 1;
}

const urlExample =
  'mqtts://HOST:PORT, or mqtt://HOST:PORT without encryption, and user and password as keys of their own';

function parseUrl(written: string): Parsed<string> {
  const url = URL.canParse(written) ? new URL(written) : undefined;
  const extra = url && url.username + url.password + url.search + url.hash + url.pathname.replace(/^\/$/, '');
  if (!url || !/^mqtts?:$/.test(url.protocol) || url.hostname === '' || extra !== '') {
    return { problem: `${describe(withoutSecrets(written))}, expected ${urlExample}` };
  }
  const port = url.port === '' ? (url.protocol === 'mqtts:' ? '8883' : '1883') : url.port;
  return { value: `${url.protocol}//${url.hostname}:${port}` };
}

/** Longest topic of MQTT, section 4.7.3, with room for what the fields stand for. */
const maxTopicBytes = 16_384;

/** A topic template with some of `fields` in braces. */
function topic(fields: readonly string[]) {
  const named = fields.map((field) => `{${field}}`).join(', ');
  const expected = `a topic of names, ${named}, without wildcards and not below $`;
  return text(expected, (written): Parsed<string> => {
    const bare = written.replaceAll(/\{([a-z]+)\}/g, (all, field: string) => (fields.includes(field) ? 'x' : all));
    // Wildcards are for subscribers, MQTT 3.1.1 section 4.7.1; what begins with $ is the broker's, section 4.7.2.
    const bad =
      bare === '' || /[+#{}\p{Cc}]|^\$|^\/|\/$|\/\//u.test(bare) || Buffer.byteLength(written) > maxTopicBytes;
    return bad ? { problem: `${describe(written)}, expected ${expected}` } : { value: written };
  });
}

export const announce = mapping('a broker', {
  name: name('a name'),
  url: text(urlExample, parseUrl),
  // MQTT 3.1.1, section 3.1.2.9, knows no password without a user: see below.
  user: pattern('a user name of 1 to 128 characters', /^[^\p{Cc}]{1,128}$/u).optional(),
  password: text(identityExample, parseIdentity).optional(),
  ca: absolutePath().optional(),
  primary: pattern('the name of this primary in topics, such as its host name', /^[^\p{Cc}+#/$]{1,253}$/u).optional(),
  topic: topic(['primary', 'branch', 'repo', 'arch', 'path']).prefault('rsync/{primary}/{branch}/{arch}'),
  trace_topic: topic(['primary']).prefault('lockstep/{primary}/generation'),
  qos: z
    .union([z.literal(0), z.literal(1)], { error: ({ input }) => `${describe(input)}, expected 0 or 1` })
    .prefault(0),
}).superRefine((written, context) => {
  if (written.password !== undefined && written.user === undefined)
    context.addIssue({ code: 'custom', path: ['password'], message: 'a password without user, expected both or none' });
  if (written.ca !== undefined && written.url.startsWith('mqtt:'))
    context.addIssue({ code: 'custom', path: ['ca'], message: 'a CA without encryption, expected an mqtts:// url' });
});

/** A broker as the other rooms read it; `named` is the primary's own name where it has one. */
export function toAnnounce(
  written: z.output<typeof announce>,
  named: string | null,
  context: SchemaContext,
): AnnounceConfig {
  const { password } = written;
  return {
    name: written.name,
    url: written.url,
    user: written.user ?? null,
    passwordFile: password === undefined ? null : identityPath(password, context.credentialsDirectory),
    caFile: written.ca ?? null,
    primary: written.primary ?? named,
    topic: written.topic,
    traceTopic: written.trace_topic,
    qos: written.qos,
  };
}

/** What is allowed and yet deserves a look. */
export function announceWarnings(brokers: readonly AnnounceConfig[], outsideService: boolean): string[] {
  return brokers.flatMap(({ name: broker, url, passwordFile }) => {
    const { protocol, hostname } = new URL(url);
    const far = !/^(?:localhost|127\..*|\[::1\])$/.test(hostname);
    return [
      ...(protocol === 'mqtt:' && passwordFile !== null && far
        ? [`announce ${broker}: the password goes over the network in plain text: use mqtts://`]
        : []),
      ...(outsideService && passwordFile?.startsWith(`${serviceCredentials}/`)
        ? [`announce ${broker}: ${passwordFile} was not looked at: systemd hands it over when the service starts`]
        : []),
    ];
  });
}
