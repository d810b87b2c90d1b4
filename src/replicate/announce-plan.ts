/** Decides which MQTT messages tell of a generation: one for each repository that changed, then the retained trace. Pure. */

export interface AnnouncePlanInput {
  /** The name of this primary in the topics. */
  readonly primary: string;
  readonly topic: string;
  readonly traceTopic: string;
  readonly qos: 0 | 1;
  /** Paths of the repositories that changed. */
  readonly repositories: readonly string[];
  /** Content of the generation's trace file. */
  readonly trace: string;
}

export interface PlannedMessage {
  readonly topic: string;
  readonly payload: string;
  readonly qos: 0 | 1;
  readonly retain: boolean;
}

/**
 * The trace comes last and is always acknowledged (QoS 1): a broker handles a connection's messages in order (MQTT 3.1.1,
 * section 4.6), so the answer to it also says that those before it arrived.
 */
export function planAnnouncements(input: AnnouncePlanInput): PlannedMessage[] {
  const { primary, topic, traceTopic, qos, trace } = input;
  const changed = [...new Set(input.repositories)].map((path) => ({
    topic: topicOf(topic, { primary, ...fieldsOf(path) }),
    payload: path,
    qos,
    retain: false,
  }));
  return [...changed, { topic: topicOf(traceTopic, { primary }), payload: trace, qos: 1, retain: true }];
}

/**
 * A path as Alpine reads it, `<branch>/<repo>/<arch>`: the first component is the branch, the last one the architecture, what
 * lies between them the repository, which may have none or several.
 */
function fieldsOf(path: string): Readonly<Record<string, string>> {
  const parts = path.split('/');
  return {
    path,
    branch: parts.length > 1 ? (parts[0] ?? '') : '',
    repo: parts.slice(1, -1).join('/'),
    arch: parts.at(-1) ?? '',
  };
}

/** The template filled in. A field without a value leaves no empty level; wildcards cannot be published to. */
function topicOf(template: string, fields: Readonly<Record<string, string>>): string {
  const filled = template.replaceAll(/\{([a-z]+)\}/g, (_, field: string) =>
    (fields[field] ?? '').replaceAll(/[+#]/g, '_'),
  );
  return filled.split('/').filter(Boolean).join('/');
}
